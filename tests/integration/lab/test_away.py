"""What a lab says while its server cannot be reached, and when it can be again; in a real browser, without a hub."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright
from walled_lab import OFF, TOKEN, Lab

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

API = re.compile(r"/api(/|\?|$)")
SEEN = 60_000


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(lab: Lab, chromium: Browser) -> Iterator[Page]:
    with lab.served(offer=OFF, MEM_LIMIT="1") as (address, _):
        opened = chromium.new_page(locale="nl-NL")
        opened.on("console", lambda message: print(message.type, message.text))  # noqa: T201  for a failed test's report
        opened.set_default_timeout(SEEN)
        opened.goto(f"{address}/lab?token={TOKEN}")
        expect(opened.locator("#jp-main-statusbar")).to_be_visible(timeout=SEEN)
        yield opened
        opened.close()


def test_a_server_that_is_gone_altogether_leaves_nothing_to_load_for_saying_so(lab: Lab, chromium: Browser) -> None:
    with lab.served(offer=OFF, MEM_LIMIT="1") as (address, walled):
        page = chromium.new_page(locale="nl-NL")
        page.goto(f"{address}/lab?token={TOKEN}")
        expect(page.locator("#jp-main-statusbar")).to_be_visible(timeout=SEEN)
        walled.terminate()
        expect(page.locator(".leerlab-away").filter(has_text="De verbinding is even weg.")).to_be_visible(timeout=SEEN)
        page.close()


def test_while_it_is_away_nobody_is_asked_anything_and_it_tells_when_it_is_back(page: Page) -> None:
    toast = page.locator(".leerlab-away").filter(has_text="De verbinding is even weg.")
    page.route(API, lambda route: route.abort())
    expect(toast).to_be_visible(timeout=SEEN)
    assert page.locator("dialog.jp-Dialog").count() == 0
    page.unroute(API)
    expect(page.get_by_text("De verbinding is er weer.")).to_be_visible(timeout=SEEN)
    expect(toast).to_have_count(0)
    assert page.locator("dialog.jp-Dialog").count() == 0


@pytest.mark.slow
@pytest.mark.parametrize("status", [502, 503])
def test_an_answer_of_a_proxy_is_no_answer_of_the_server(page: Page, status: int) -> None:
    page.route(API, lambda route: route.fulfill(status=status, body="away"))
    if status == 503:
        expect(page.get_by_text("De verbinding is even weg.")).to_be_visible(timeout=SEEN)
    page.wait_for_timeout(5000)
    assert page.locator("dialog.jp-Dialog").count() == 0
    page.unroute(API)


def test_a_server_that_was_stopped_is_told_once_with_the_way_to_the_reason(page: Page) -> None:
    def stopped(route: Route) -> None:
        route.fulfill(status=424, body="not running")

    page.route(API, stopped)
    dialog = page.locator("dialog.jp-Dialog").filter(has_text="Je werkplek draait niet meer")
    expect(dialog).to_be_visible(timeout=SEEN)
    page.unroute(API)
    with page.expect_navigation():
        dialog.get_by_role("button", name="Naar die pagina").click()
