"""A save that begins while another one goes on: the learner is not stopped by a question about a changed file."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect
from steps import START, idle, open_assignment

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.timeout(300)]
CHANGED = re.compile("Bestand gewijzigd|File Changed", re.I)
AUTOSAVE_SECONDS = 10
# The lab waits ten times as long as its last save took, on a busy machine some seconds.
HELD_SECONDS = 6 * AUTOSAVE_SECONDS


def type_into_first_cell(page: Page, text: str) -> None:
    cell = page.locator(".jp-CodeCell").first
    cell.scroll_into_view_if_needed()
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+End")
    page.keyboard.type(text)


def test_a_save_waits_for_the_one_before_it(running_site: Any, person: Any) -> None:
    """The answer to the last question of a save by hand is held up until the lab has begun to save by itself.

    Without our extension the second save asks while the first is held up, sees what the first wrote, and takes it for
    somebody else's change.
    """
    sanne = person("Sanne")
    page = sanne.page
    page.goto(running_site.login_link())
    page.get_by_role("button", name="Sanne").click()
    open_assignment(sanne)
    idle(page)
    asked: list[str] = []

    def slow(route: Route) -> None:
        what = "write" if route.request.method == "PUT" else "ask" if "hash=1" in route.request.url else ""
        if what:
            asked.append(what)
        if asked == ["ask", "write", "ask"]:
            asked.append("held")
            page.wait_for_timeout(1000 * HELD_SECONDS)
            asked.append("let go")
        route.continue_()

    page.route("**/api/contents/**", slow)
    type_into_first_cell(page, "\n# eerste")
    page.keyboard.press("Control+S")
    page.wait_for_timeout(1500)
    type_into_first_cell(page, "\n# tweede")
    for _ in range(2 * HELD_SECONDS):
        if len(asked) >= 8:
            break
        page.wait_for_timeout(1000)
    page.unroute("**/api/contents/**")
    assert asked[:8] == ["ask", "write", "ask", "held", "let go", "ask", "write", "ask"], asked
    expect(page.locator(".jp-Dialog").filter(has_text=CHANGED)).to_have_count(0)
    expect(page.locator(".lm-DockPanel-tabBar .lm-mod-current.jp-mod-dirty")).to_have_count(0, timeout=START)
