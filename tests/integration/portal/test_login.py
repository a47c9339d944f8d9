"""The demo login on a real hub behind a real proxy: who gets in, and who does not."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from portal_site import Pages, choose, give_key, start_pages, stop_pages, token_of

pytestmark = pytest.mark.integration
Visitor = Callable[..., httpx.Client]
FOREIGN = "evil.localhost"


@pytest.fixture(scope="module")
def foreign_pages() -> Iterator[Pages]:
    """The same site under the name that is foreign to the first one: its list names it."""
    running = start_pages(Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp")), domain=FOREIGN)
    try:
        yield running
    finally:
        stop_pages(running)


@pytest.fixture(scope="module")
def open_pages() -> Iterator[Pages]:
    """A site whose settings say that others can reach it."""
    running = start_pages(Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp")), bind="0.0.0.0")
    try:
        yield running
    finally:
        stop_pages(running)


def home(browser: httpx.Client) -> str:
    """The text of the page where somebody comes after logging in."""
    return browser.get("/hub/home", follow_redirects=True).text


def test_a_one_time_key_and_a_choice_lead_to_the_courses(visitor: Visitor, pages: Pages) -> None:
    browser = visitor("sanne")
    text = home(browser)
    assert "Mijn cursussen" in text and "AI in je vak" in text and "Je volgt deze cursus" in text
    assert ["sanne", "login", "sanne", {"kind": "demo"}] in pages.records()


def test_groups_come_from_the_settings_and_decide_what_a_person_sees(visitor: Visitor) -> None:
    assert "Uitdelen en nakijken" in home(visitor("docent"))
    assert "Je zit nog niet in een cursus" in home(visitor("gast"))
    assert "Uitdelen en nakijken" not in home(visitor("sanne"))


def test_an_operator_is_no_jupyterhub_administrator(visitor: Visitor) -> None:
    browser = visitor("beheer")
    assert "Jij beheert deze site" in home(browser)
    assert browser.get("/hub/admin").status_code == 403


def test_an_admitted_browser_switches_between_people(visitor: Visitor) -> None:
    browser = visitor("sanne")
    assert "nu ingelogd" in browser.get("/hub/login").text
    assert choose(browser, "docent").status_code == 302
    assert "Mevrouw Bakker" in home(browser)


def test_the_browsers_cookie_is_out_of_reach_of_scripts_and_other_hosts(pages: Pages) -> None:
    with pages.browser() as browser:
        (cookie,) = [
            value
            for name, value in give_key(browser, pages.key()).headers.multi_items()
            if name == "set-cookie" and value.startswith("leerlab-browser=")
        ]
    flags = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert flags == {"httponly", "path=/hub/", "samesite=lax"}


def test_who_was_on_the_way_somewhere_gets_there_after_login(visitor: Visitor) -> None:
    assert choose(visitor(), "sanne", "/hub/token").headers["location"] == "/hub/token"


def test_logging_out_needs_a_click_on_a_page_of_ours_and_is_recorded(visitor: Visitor, pages: Pages) -> None:
    browser = visitor("sanne")
    page = browser.get("/hub/logout")
    assert "Wil je uitloggen?" in page.text
    assert browser.get("/hub/token").status_code == 200
    assert browser.post("/hub/logout", data={"_xsrf": token_of(page.text)}).status_code == 302
    assert browser.get("/hub/token").status_code == 302
    assert pages.records()[-1] == ["sanne", "logout", "sanne", {}]


@pytest.mark.attack
def test_without_a_key_nobody_can_be_chosen(pages: Pages) -> None:
    with pages.browser() as browser:
        assert "Sanne" not in browser.get("/hub/login").text
        assert choose(browser, "sanne").status_code == 403
        assert browser.get("/hub/token").status_code == 302
        assert pages.records()[-1] == ["anonymous", "login.refused", "sanne", {"kind": "demo"}]
        # Positive control: the same request once the browser is admitted.
        give_key(browser, pages.key())
        assert choose(browser, "sanne").status_code == 302


@pytest.mark.attack
def test_a_key_that_has_been_used_admits_no_second_browser(pages: Pages) -> None:
    key = pages.key()
    with pages.browser() as first, pages.browser() as second:
        assert give_key(first, key).status_code == 302
        assert give_key(second, key).status_code == 403
        assert "leerlab-browser" not in second.cookies
        # Positive control: the same with a key that is unused.
        assert give_key(second, pages.key()).status_code == 302


@pytest.mark.attack
@pytest.mark.parametrize("name", ["root", "course-ai-in-je-vak", "", "sanne' OR 1=1", "SANNE"])
def test_only_the_people_of_the_settings_can_be_chosen(visitor: Visitor, name: str) -> None:
    browser = visitor()
    assert choose(browser, name).status_code == 403
    assert browser.get("/hub/token").status_code == 302
    # Positive control: the same browser and form with a name that is in the settings.
    assert choose(browser, "sanne").status_code == 302


@pytest.mark.attack
def test_another_page_cannot_log_this_browser_in(visitor: Visitor) -> None:
    browser = visitor()
    token = token_of(browser.get("/hub/login").text)
    forged = browser.post("/hub/login", data={"username": "docent"})
    assert forged.status_code == 403 and "Deze pagina stond te lang open" in forged.text
    assert browser.get("/hub/token").status_code == 302
    # Positive control: the same form with the token that only our own page knows.
    assert browser.post("/hub/login", data={"username": "docent", "_xsrf": token}).status_code == 302


@pytest.mark.attack
@pytest.mark.parametrize("goal", ["https://evil.example/", "//evil.example/", "/\\evil.example"])
def test_login_and_the_language_switch_send_nobody_to_another_site(visitor: Visitor, goal: str) -> None:
    browser = visitor()
    assert not choose(browser, "sanne", goal).headers["location"].startswith((goal[:2], "http", "//"))
    switched = browser.get("/hub/language", params={"to": "en", "next": goal})
    assert switched.headers["location"] == "/hub/home"
    # Positive control: the same request is followed when the address is one of ours.
    assert browser.get("/hub/language", params={"to": "en", "next": "/hub/token"}).headers["location"] == "/hub/token"


@pytest.mark.attack
@pytest.mark.parametrize("path", ["/hub/login", "/hub/home", "/hub/portal/leerlab.css", "/"])
def test_a_foreign_name_that_resolves_to_this_machine_gets_nothing(
    pages: Pages, foreign_pages: Pages, path: str
) -> None:
    with pages.browser(f"{FOREIGN}:{pages.port}") as rebound:
        answer = rebound.get(path)
    assert answer.status_code == 403
    assert "_xsrf" not in answer.text and "set-cookie" not in answer.headers
    # Positive control: the same request where the list of names holds this one.
    with foreign_pages.browser(f"{FOREIGN}:{foreign_pages.port}") as listed:
        assert listed.get(path).status_code in (200, 302)


def test_a_page_of_the_hub_asked_for_on_a_persons_origin_is_answered_on_the_hubs_own(pages: Pages) -> None:
    with pages.browser(f"sanne.leerlab.localhost:{pages.port}") as browser:
        answer = browser.get("/hub/login?next=%2Fhub%2Ftoken")
        assert answer.headers["location"] == f"{pages.address}/hub/login?next=%2Fhub%2Ftoken"
        assert browser.post("/hub/login").status_code == 403


@pytest.mark.attack
def test_a_site_that_others_can_reach_has_no_demo_login(open_pages: Pages, pages: Pages) -> None:
    with open_pages.browser() as browser:
        refused = browser.get("/hub/login")
        assert refused.status_code == 403 and "De demo-login werkt alleen op de computer" in refused.text
        assert browser.post("/hub/login/key", data={"key": open_pages.key()}).status_code == 403
    # Positive control: the same request to the same site on loopback.
    with pages.browser() as browser:
        assert browser.get("/hub/login").status_code == 200


@pytest.mark.attack
def test_guessing_keys_is_stopped_after_five_and_a_right_key_has_to_wait_too(foreign_pages: Pages) -> None:
    with foreign_pages.browser(f"{FOREIGN}:{foreign_pages.port}") as browser:
        # Positive control: below the limit, each guess is looked at and refused for being wrong.
        assert [give_key(browser, f"guess-{number}").status_code for number in range(5)] == [403] * 5
        waiting = give_key(browser, foreign_pages.key())
        assert waiting.status_code == 429
        assert 0 < int(waiting.headers["retry-after"]) <= 60


def test_after_the_site_has_been_down_a_browser_needs_a_new_key(foreign_pages: Pages) -> None:
    """`down` removes the folder `run/`; the cookie secret stays."""
    with foreign_pages.browser(f"{FOREIGN}:{foreign_pages.port}") as browser:
        (foreign_pages.state.run / "login-run").unlink(missing_ok=True)
        assert "Eenmalige sleutel" in browser.get("/hub/login").text
