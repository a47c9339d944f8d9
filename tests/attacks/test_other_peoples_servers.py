"""A student who is logged in and tries the servers of others, with the browser's own cookies. The control is the person
whose server it is, with the same request."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

pytestmark = [pytest.mark.attack, pytest.mark.integration, pytest.mark.timeout(900)]

COURSE = "course-ai-in-je-vak"
XSRF = "decodeURIComponent((document.cookie.match(/_xsrf=([^;]+)/) || [])[1] || '')"


def seen(page: Page, address: str) -> int:
    """The status with which the browser's own session gets a page."""
    tab = page.context.new_page()
    try:
        answer = tab.goto(address)
        assert answer is not None
        return answer.status
    finally:
        tab.close()


@pytest.fixture(scope="module")
def teacher(running_site: Any, notebooks: Any) -> Any:
    """The teacher's browser, with the course's formgrader open."""
    browser = notebooks["sanne"].page.context.browser
    page = browser.new_context(locale="nl-NL").new_page()
    page.context.set_default_timeout(240_000)
    page.goto(running_site.login_link())
    page.get_by_role("button", name="Docent").click()
    page.get_by_role("link", name="Uitdelen en nakijken").click()
    page.wait_for_url("**/formgrader/**")
    yield page
    page.context.close()


def origin(running_site: Any, name: str) -> str:
    return f"http://{name}.{running_site.site.hub.host}"


def test_a_student_does_not_reach_another_students_server(running_site: Any, notebooks: Any) -> None:
    address = f"{origin(running_site, 'jelmer')}/user/jelmer/api/contents"
    assert seen(notebooks["jelmer"].page, address) == 200
    assert seen(notebooks["sanne"].page, address) == 403


def test_a_student_does_not_reach_the_gradebook(running_site: Any, notebooks: Any, teacher: Page) -> None:
    address = f"{origin(running_site, COURSE)}/user/{COURSE}/formgrader/api/assignments"
    assert seen(teacher, address) == 200
    assert seen(notebooks["sanne"].page, address) == 403


def test_a_teacher_of_a_course_does_not_reach_a_students_server(
    running_site: Any, notebooks: Any, teacher: Page
) -> None:
    address = f"{origin(running_site, 'jelmer')}/user/jelmer/api/contents"
    assert seen(notebooks["jelmer"].page, address) == 200
    assert seen(teacher, address) == 403


def from_the_hub(running_site: Any, page: Page, method: str, path: str) -> int:
    """The status of a request to the hub's API, made by a page of the hub with the browser's session and XSRF token."""
    tab = page.context.new_page()
    try:
        tab.goto(f"{running_site.address}/hub/token")
        return int(
            tab.evaluate(
                "async ([method, path]) => (await fetch("
                f"path + '?_xsrf=' + encodeURIComponent({XSRF}), {{method}})).status",
                [method, path],
            )
        )
    finally:
        tab.close()


def test_a_student_does_not_stop_another_students_server(running_site: Any, notebooks: Any) -> None:
    path = "/hub/api/users/jelmer"
    assert from_the_hub(running_site, notebooks["jelmer"].page, "GET", path) == 200
    assert from_the_hub(running_site, notebooks["sanne"].page, "GET", path) in (403, 404)
    assert from_the_hub(running_site, notebooks["sanne"].page, "DELETE", path + "/server") in (403, 404)
    address = f"{origin(running_site, 'jelmer')}/user/jelmer/api/contents"
    assert seen(notebooks["jelmer"].page, address) == 200


def test_a_page_on_ones_own_server_cannot_use_a_visitors_session_elsewhere(running_site: Any, notebooks: Any) -> None:
    """Servers have origins of their own: script on one reads nothing of another, whatever cookies the browser sends."""
    read = (
        "async (address) => { try { const answer = await fetch("
        f"address + '?_xsrf=' + encodeURIComponent({XSRF}), {{credentials: 'include'}});"
        "return answer.status + (await answer.text()).slice(0, 9); }"
        "catch (error) { return 'refused by the browser'; } }"
    )
    own = notebooks["sanne"].page
    said = own.evaluate(read, "/user/sanne/api/contents")
    assert said.startswith("200"), said
    for address in (f"{running_site.address}/hub/home", f"{origin(running_site, 'jelmer')}/user/jelmer/api/contents"):
        assert own.evaluate(read, address) == "refused by the browser"
