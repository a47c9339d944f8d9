"""A teacher's browser at a course's server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from playwright.sync_api import Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
ANSWERED = 60_000


@contextmanager
def browser_at(page: httpx.Client, language: str = "nl-NL", width: int = 1280) -> Iterator[Page]:
    """A teacher's browser at the course's server.

    Args:
        page: a client that is let in.
        language: of the browser.
        width: of its window, in pixels.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page(
            extra_http_headers={"Authorization": page.headers["Authorization"]},
            locale=language,
            viewport={"width": width, "height": 844},
        )
        opened.set_default_timeout(ANSWERED)
        yield opened
        browser.close()
