"""People at a browser that stands where the operator is, and comes to the site by TLS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deploy import DOMAIN, Operator
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = "/usr/bin/chromium"
expect.set_options(timeout=180_000)


@contextmanager
def browser_of(site: Operator) -> Iterator[Browser]:
    """Chromium in the operator's network namespace."""
    start = site.folder / "chromium"
    start.write_text(f'#!/bin/sh\nexec ip netns exec {site.network.operator} {CHROMIUM} "$@"\n')
    start.chmod(0o700)
    arguments = [
        "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync",
        f"--host-resolver-rules=MAP {DOMAIN} {site.hub.address}, MAP *.{DOMAIN} {site.hub.address}",
    ]  # fmt: skip
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(start), args=arguments)
        yield browser
        browser.close()


@dataclass
class Visitor:
    """Somebody at a browser, as the steps of the journeys know them."""

    page: Page
    name: str
    site: Operator
    folder: Path
    taken: list[str] = field(default_factory=list)

    @classmethod
    def new(cls, browser: Browser, name: str, site: Operator) -> Visitor:
        # Chromium has a list of its own of whom to trust; who signed is looked at in `log_in`.
        context = browser.new_context(locale="nl-NL", viewport={"width": 1280, "height": 900}, ignore_https_errors=True)
        context.set_default_timeout(180_000)
        return cls(context.new_page(), name, site, site.folder)

    def shows(self, step: str) -> None:
        """Keep a picture of what this person sees now."""
        self.taken.append(step)
        self.page.screenshot(path=self.folder / f"{self.name.lower()}-{len(self.taken):02d}-{step}.png")

    def log_in(self) -> None:
        """At the provider, by its own page, to the portal."""
        answer = self.page.goto(f"https://{DOMAIN}/")
        assert answer is not None
        shown = answer.security_details()
        assert shown is not None and shown["protocol"].startswith("TLS 1."), shown
        assert shown["issuer"] == "Test authority"
        link, greeting = (
            self.page.get_by_role("link", name="Inloggen met SURFconext"),
            self.page.get_by_role("heading", name=f"Dag {self.name}"),
        )
        link.or_(greeting).first.wait_for()
        if greeting.count():
            return  # whoever is logged in stays so, as on a site that was restored with its secrets
        link.click()
        choice = self.page.get_by_role("link", name=self.name)
        # The provider remembers who came before.
        choice.or_(greeting).first.wait_for()
        if choice.count():
            choice.click()
        greeting.wait_for()
