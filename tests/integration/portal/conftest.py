"""Fixtures of the tests of the pages: one hub for all, browsers that are let in, and Chromium."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

# pytest's importlib mode puts no test folder on the path.
sys.path.insert(0, str(Path(__file__).parent))

from portal_site import Pages, choose, give_key, start_pages, stop_pages

from hub_config.login import keys

DESKTOP = {"width": 1280, "height": 900}
CHROMIUM = Path("/usr/bin/chromium")
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
# Playwright's own five seconds are soon over on a busy machine.
expect.set_options(timeout=30_000)


@pytest.fixture(scope="session")
def pages() -> Iterator[Pages]:
    """One hub for all tests of this folder; a person's server may be running or not."""
    running = start_pages(Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp")))
    try:
        yield running
    finally:
        stop_pages(running)


@pytest.fixture
def visitor(pages: Pages) -> Iterator[Callable[..., httpx.Client]]:
    """Makes browsers that are admitted, and logged in when a name is given."""
    made: list[httpx.Client] = []

    def make(name: str = "", language: str = "nl") -> httpx.Client:
        browser = pages.browser(language=language)
        made.append(browser)
        assert give_key(browser, pages.key()).status_code == 302
        if name:
            assert choose(browser, name).status_code == 302
        return browser

    yield make
    for browser in made:
        browser.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, one for all tests of a module: while Playwright is open, async tests cannot run."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def axe() -> str:
    tools = os.environ.get("LEERLAB_TEST_TOOLS", "")
    script = Path(tools, "node_modules/axe-core/axe.min.js")
    assert tools and script.is_file(), "LEERLAB_TEST_TOOLS does not hold axe-core"
    return script.read_text()


@pytest.fixture(scope="module")
def screenshots() -> Path:
    build = os.environ.get("LEERLAB_BUILD") or Path(__file__).resolve().parents[3] / "build"
    folder = Path(build) / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def person(chromium: Browser, pages: Pages) -> Iterator[Callable[..., Page]]:
    """Opens a browser of a person's own that has come to the portal."""
    contexts: list[BrowserContext] = []

    def log_in(name: str, **options: Any) -> Page:
        context = chromium.new_context(**{"locale": "nl-NL", "viewport": DESKTOP, **options})
        context.set_default_timeout(30_000)
        contexts.append(context)
        page = context.new_page()
        page.goto(keys.link(pages.address, pages.key()))
        page.click(f"button[value={name}]")
        page.wait_for_url(f"{pages.portal}/")
        return page

    yield log_in
    for context in contexts:
        context.close()
