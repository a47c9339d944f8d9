"""Fixtures of the tests of the pages: one hub for all, browsers that are let in, and Chromium."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, sync_playwright

# pytest's importlib mode puts no test folder on the path.
sys.path.insert(0, str(Path(__file__).parent))

from portal_site import Pages, choose, give_key, start_pages, stop_pages

CHROMIUM = Path("/usr/bin/chromium")
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


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
