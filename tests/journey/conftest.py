"""People in Debian's Chromium, in Dutch, on a desktop; every step leaves a screenshot as build output."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

CODE = Path(__file__).resolve().parents[2]
# pytest's importlib mode puts no test folder on the path: the steps, and the provider that people log in at.
sys.path[:0] = [str(CODE / "tests/journey"), str(CODE / "tests/integration/login")]
from root_site import site_of_root  # noqa: E402

DESKTOP, PHONE = ViewportSize(width=1280, height=900), ViewportSize(width=390, height=844)
CHROMIUM = "/usr/bin/chromium"
# A page on a busy machine; five seconds, Playwright's own, is for pages that are alone.
expect.set_options(timeout=120_000)
# Chromium's own sandbox needs a user namespace that a container may not give; the pages are our own. The rest keeps it
# from calling home; what it calls all the same is no page's doing, and never looked up.
CHROMIUMS_OWN = ("accounts.google.com", "content-autofill.googleapis.com", "update.googleapis.com", "*.gvt1.com")
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=" + ", ".join(f"MAP {host} ~NOTFOUND" for host in CHROMIUMS_OWN),
)  # fmt: skip


# Not for the session: while Playwright is open its event loop runs in this thread, and async tests cannot.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser; each person gets a profile of their own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(params=["started-by-a-user", pytest.param("started-by-root", marks=pytest.mark.root)])
def login_link(request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """Gives addresses with a fresh one-time key, of a site that an ordinary account or root has started."""
    if request.param == "started-by-a-user":
        yield request.getfixturevalue("running_site").login_link
    else:
        yield from site_of_root("rootjourney")


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Where screenshots go: `$LEERLAB_BUILD/screenshots`, or `build/screenshots` in the tree."""
    build = os.environ.get("LEERLAB_BUILD") or Path(__file__).resolve().parents[2] / "build"
    folder = Path(build) / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass
class Person:
    """Somebody at a browser.

    Args:
        page: the tab.
        name: demo person's name as the login page shows it.
        folder: where screenshots go.
    """

    page: Page
    name: str
    folder: Path
    taken: list[str] = field(default_factory=list)

    def shows(self, step: str) -> None:
        """Keep a picture of what this person sees now."""
        self.taken.append(step)
        who = self.name.lower().replace(" ", "-")
        self.page.screenshot(path=self.folder / f"{who}-{len(self.taken):02d}-{step}.png")

    def shows_portal(self, step: str) -> None:
        """Pictures of one of our own pages: on a desktop and a phone, in English and, at the end, in Dutch."""
        for language in ("en", "nl"):
            self.page.locator(f".languages a[hreflang={language}]").click()
            expect(self.page.locator(f"html[lang={language}]")).to_have_count(1)
            for size in (PHONE, DESKTOP):
                self.page.set_viewport_size(size)
                sideways = self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
                assert sideways <= 0, f"{step} in {language} is {sideways} pixels too wide for {size}"
                self.shows(f"{step}-{language}-{size['width']}")

    def log_in(self, link: str) -> None:
        """Open the link that `leerlab up` printed, and choose the person."""
        self.page.goto(link)
        self.page.get_by_role("button", name=self.name).click()
        self.page.get_by_role("heading", name="Mijn cursussen").wait_for()


def new_person(browser: Browser, name: str, folder: Path) -> Person:
    """A person with a browser profile of their own, in Dutch."""
    context = browser.new_context(locale="nl-NL", viewport=DESKTOP)
    context.set_default_timeout(120_000)
    return Person(context.new_page(), name, folder)


@pytest.fixture
def person(browser: Browser, screenshots: Path) -> Iterator[Callable[[str], Person]]:
    """Makes people; their browser profiles are closed after the test, with a last picture of what each of them saw."""
    people: list[Person] = []

    def make(name: str) -> Person:
        people.append(new_person(browser, name, screenshots))
        return people[-1]

    yield make
    for one in people:
        one.shows("aan-het-eind")
        one.page.context.close()
