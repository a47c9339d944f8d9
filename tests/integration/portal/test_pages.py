"""JupyterHub's pages as people meet them, in Chromium on a real hub: languages, keyboard, phone, starting, failing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from portal_site import PEOPLE, Pages, token_of

from hub_config.login import keys

pytestmark = pytest.mark.integration
AUDIT = (Path(__file__).parent / "audit.js").read_text()
PHONE = {"width": 390, "height": 844}
Visitor = Callable[..., httpx.Client]
LOG = "<img src=x onerror=\"document.title='broken in'\"><script>document.title='broken in'</script>"


@pytest.fixture(autouse=True)
def nothing_runs(pages: Pages) -> Iterator[None]:
    """Each test leaves the spawner as it found it, one that fails too."""
    yield
    pages.steer(go=None, fail=None, choices=None, event__1_json=None, event__2_json=None, event__3_json=None)
    pages.stop_servers("sanne")


@pytest.fixture
def person(chromium: Browser, pages: Pages) -> Iterator[Callable[..., Page]]:
    """Opens a browser of a person's own, logged in through the link that `up` prints."""
    contexts: list[BrowserContext] = []

    def log_in(name: str, **options: Any) -> Page:
        context = chromium.new_context(**{"locale": "nl-NL", **options})
        context.set_default_timeout(30_000)
        contexts.append(context)
        page = context.new_page()
        page.goto(keys.link(pages.address, pages.key()))
        page.click(f"button[value={name}]")
        page.wait_for_url(f"{pages.portal}/**")
        return page

    yield log_in
    for context in contexts:
        # For the report of a test that failed.
        print("open at the end:", *(page.url for page in context.pages))  # noqa: T201
        context.close()


def tell(pages: Pages, number: int, code: str, **params: Any) -> None:
    """Let the spawner report one event of its progress."""
    offers = params.pop("offers", [])
    event = {
        "progress": 20, "message": "in the site's language", "code": code, "params": params, "offers": offers,
    }  # fmt: skip
    pages.steer(**{f"event__{number}_json": json.dumps(event)})


def stop(page: Page, pages: Pages) -> None:
    # As after an act of the portal's own: what runs is looked at anew.
    page.goto(f"{pages.portal}/?changed=1")
    if page.locator(".servers form button").count():
        page.click(".servers form button")
        expect(page.locator(".servers")).to_have_count(0)


def test_the_link_logs_a_browser_in_and_leaves_no_key_behind(chromium: Browser, pages: Pages) -> None:
    context = chromium.new_context(locale="nl-NL")
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url + str(request.headers)))
    page = context.new_page()
    key = pages.key()
    page.goto(keys.link(pages.address, key))
    expect(page.get_by_role("heading", level=1)).to_have_text("Wie wil je zijn?")
    assert key not in page.url
    assert not [text for text in asked if key in text.partition("#")[0] + text.partition("{")[2]]
    page.go_back()
    assert key not in page.url
    assert key not in "".join(path.read_text() for path in pages.root.glob("*.log"))
    context.close()


def test_the_link_works_in_a_tab_that_shows_the_login_page_already(chromium: Browser, pages: Pages) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{pages.address}/hub/login")
    page.goto(keys.link(pages.address, pages.key()))
    expect(page.locator(".people button")).to_have_count(len(PEOPLE))
    context.close()


def test_the_language_changes_in_one_click_and_the_page_stays(person: Callable[..., Page], pages: Pages) -> None:
    page = person("sanne")
    page.goto(f"{pages.address}/hub/token?a=1")
    page.click(".languages a[hreflang=en]")
    assert page.url == f"{pages.address}/hub/token?a=1"
    expect(page.get_by_role("heading", level=1)).to_have_text("Access for programs")
    assert page.locator("html").get_attribute("lang") == "en"


def test_a_browser_that_prefers_english_gets_english(visitor: Visitor) -> None:
    assert "My courses" in visitor("sanne", language="en-GB,en;q=0.9").get("/hub/home", follow_redirects=True).text


def test_the_whole_login_works_from_the_keyboard(chromium: Browser, pages: Pages) -> None:
    context = chromium.new_context(locale="nl-NL")
    page = context.new_page()
    page.goto(f"{pages.address}/hub/login")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#key")).to_be_focused()
    page.keyboard.type(pages.key())
    page.keyboard.press("Enter")
    page.wait_for_selector(".people")
    page.locator("main").focus()
    page.keyboard.press("Tab")
    ring = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert ring == "3px"
    page.keyboard.press("Enter")
    page.wait_for_url(f"{pages.portal}/**")
    context.close()


@pytest.mark.parametrize(("language", "scheme"), [("nl", "light"), ("en", "dark")])
def test_no_page_has_a_problem_for_who_cannot_see_or_point(
    chromium: Browser, pages: Pages, scheme: Any, language: str
) -> None:
    context = chromium.new_context(color_scheme=scheme, locale=language, viewport=PHONE)
    page = context.new_page()
    page.goto(f"{pages.address}/hub/login")
    found = {"key": page.evaluate(AUDIT)}
    page.goto(keys.link(pages.address, pages.key()))
    page.wait_for_selector(".people")
    found["people"] = page.evaluate(AUDIT)
    for name in ("gast", "docent", "sanne"):
        page.goto(f"{pages.address}/hub/login")
        page.click(f"button[value={name}]")
        page.wait_for_url(f"{pages.portal}/**")
        found[f"home of {name}"] = page.evaluate(AUDIT)
    pages.steer(choices="{}")
    for path in ("token", "logout", "nothing", "admin", "spawn/sanne", "user/sanne/"):
        page.goto(f"{pages.address}/hub/{path}")
        found[path] = page.evaluate(AUDIT)
    for name, free in (("free", {"room": 12}), ("full", {"room": 0}), ("queue", {"room": 3, "ahead": 2})):
        pages.steer(choices=json.dumps(free))
        page.goto(f"{pages.address}/hub/spawn/sanne")
        found[f"choices, {name}"] = page.evaluate(AUDIT)
    pages.steer(choices=None)
    tell(pages, 1, "start.waiting.resources", waited=42, position=3, starts_in=320)
    page.goto(f"{pages.address}/hub/spawn/sanne")
    page.wait_for_selector("#fact-position:not([hidden])")
    found["waiting"] = page.evaluate(AUDIT)
    page.goto(f"{pages.portal}/")
    found["home while starting"] = page.evaluate(AUDIT)
    pages.steer(fail=json.dumps({"code": "start.failed.memory", "params": {"log": "x"}, "sentence": "x"}))
    page.goto(f"{pages.address}/hub/spawn-pending/sanne")
    page.wait_for_selector(".notice.bad")
    found["failed"] = page.evaluate(AUDIT)
    context.close()
    assert {name: problems for name, problems in found.items() if problems} == {}


def test_a_waiting_person_sees_why_for_how_long_and_how_many_come_first(
    person: Callable[..., Page], pages: Pages
) -> None:
    page = person("sanne")
    tell(pages, 1, "start.waiting.resources", waited=61, position=3, starts_in=320, reason="Resources")
    page.click(".card >> nth=0 >> text=Starten")
    expect(page.locator("#start-text")).to_have_text(
        "Alle rekenkracht is nu in gebruik. Je bent aan de beurt zodra er genoeg vrij is."
    )
    expect(page.locator("#fact-waited dd")).to_have_text("1 minuut")
    expect(page.locator("#fact-position dd")).to_have_text("3")
    expect(page.locator("#fact-estimate dd")).to_have_text(re.compile(r"^uiterlijk (\w+ )?\d\d:\d\d$"))
    expect(page.locator("#why-latest")).to_be_visible()
    tell(pages, 2, "start.starting", waited=62)
    expect(page.locator("[aria-current=step]")).to_have_text("Openen")
    expect(page.locator("#fact-position")).to_be_hidden()
    expect(page.locator("#why-latest")).to_be_hidden()
    stop(page, pages)


def test_how_sure_a_time_is_stands_beside_it(person: Callable[..., Page], pages: Pages) -> None:
    page = person("sanne")
    tell(pages, 1, "start.waiting.resources", waited=61, starts_in=7200, starts_from=600)
    page.goto(f"{pages.address}/hub/spawn/sanne")
    expect(page.locator("#fact-estimate dd")).to_have_text(re.compile(r"^tussen (\w+ )?\d\d:\d\d en (\w+ )?\d\d:\d\d$"))
    expect(page.locator("#why-between")).to_be_visible()
    tell(pages, 2, "start.waiting.held", waited=62)
    expect(page.locator("#fact-estimate dd")).to_have_text("nog niet bekend")
    expect(page.locator("#why-unknown")).to_be_visible()
    expect(page.locator("#why-between")).to_be_hidden()
    stop(page, pages)


def test_an_offer_is_a_button_that_keeps_the_focus_while_nothing_changes(
    person: Callable[..., Page], pages: Pages
) -> None:
    page = person("sanne")
    offer = {"profile": "cpu-small", "title": {"nl": LOG, "en": "Ordinary"}}
    tell(pages, 1, "start.waiting.resources", offers=[offer], waited=4)
    page.goto(f"{pages.address}/hub/spawn/sanne")
    button = page.locator("#offers button")
    expect(button).to_have_text(f"“{LOG}” starten")
    button.focus()
    tell(pages, 2, "start.waiting.priority", offers=[offer], waited=9)
    expect(page.locator("#start-text")).to_contain_text("Anderen zijn eerst")
    expect(button).to_be_focused()
    tell(pages, 3, "start.waiting.priority", waited=10)
    expect(page.locator("#offers")).to_be_hidden()
    stop(page, pages)


def test_a_start_ends_in_the_lab_and_stop_ends_the_lab(person: Callable[..., Page], pages: Pages) -> None:
    page = person("sanne")
    page.click(".card >> nth=0 >> text=Starten")
    pages.steer(go="1")
    page.wait_for_url("http://sanne.leerlab.localhost:*/user/sanne/lab*", timeout=60_000)
    page.goto(f"{pages.portal}/")
    expect(page.locator(".servers h3")).to_have_text("Je werkplek draait")
    stop(page, pages)


def test_cancelling_a_start_leaves_nothing_waiting(person: Callable[..., Page], pages: Pages) -> None:
    page = person("sanne")
    page.goto(f"{pages.address}/hub/spawn/sanne")
    page.click("text=Annuleren")
    page.wait_for_url(f"{pages.portal}/**")
    expect(page.locator(".servers")).to_have_count(0)


@pytest.mark.attack
def test_the_log_of_a_failed_start_is_text_and_never_part_of_the_page(
    person: Callable[..., Page], pages: Pages, chromium: Browser
) -> None:
    page = person("sanne")
    page.goto(f"{pages.address}/hub/spawn/sanne")
    pages.steer(
        fail=json.dumps(
            {"code": "start.failed.exit", "params": {"exit_code": 1, "signal": 0, "log": LOG}, "sentence": LOG}
        )
    )
    # The page notices by itself.
    expect(page.locator(".notice.bad")).to_contain_text("code 1, signaal 0")
    page.click("summary")
    expect(page.locator("pre")).to_have_text(LOG)
    assert page.locator("pre *").count() == 0
    assert "broken in" not in page.title()
    # Positive control: the same text, put in as HTML on a page without a content security policy.
    bare = chromium.new_page()
    bare.set_content(LOG)
    bare.wait_for_function("document.title === 'broken in'")
    bare.close()


@pytest.mark.attack
def test_a_hostile_progress_event_is_text_and_never_part_of_the_page(
    person: Callable[..., Page], pages: Pages, chromium: Browser
) -> None:
    page = person("sanne")
    page.goto(f"{pages.address}/hub/spawn/sanne")
    tell(pages, 1, "start.waiting.other", reason=LOG, position=LOG, waited=1)
    expect(page.locator("#start-text")).to_contain_text("<img src=x")
    assert page.locator("#start img, #start script").count() == 0
    assert "broken in" not in page.title()
    # Positive control: the same text, put in as HTML on a page without a content security policy.
    bare = chromium.new_page()
    bare.set_content(LOG)
    bare.wait_for_function("document.title === 'broken in'")
    bare.close()
    stop(page, pages)


def test_without_javascript_the_start_page_looks_again_and_tells_of_the_failure(
    chromium: Browser, pages: Pages, visitor: Visitor
) -> None:
    client = visitor("sanne")
    context = chromium.new_context(java_script_enabled=False, locale="nl-NL")
    for cookie in client.cookies.jar:
        host = {"domain": "leerlab.localhost", "path": cookie.path}
        context.add_cookies([{"name": cookie.name, "value": str(cookie.value).strip('"'), **host}])  # type: ignore[list-item]
    page = context.new_page()
    page.goto(f"{pages.address}/hub/spawn/sanne")
    expect(page.get_by_role("heading", level=1)).to_have_text("Je werkplek wordt klaargezet")
    tell(pages, 1, "start.waiting.priority", waited=5)
    expect(page.locator("#start-text")).to_contain_text("Anderen zijn eerst aan de beurt", timeout=40_000)
    pages.steer(fail=json.dumps({"code": "start.failed.memory", "params": {}, "sentence": "x"}))
    expect(page.locator(".notice.bad")).to_contain_text("meer geheugen", timeout=40_000)
    context.close()


def test_the_choice_of_a_profile_is_a_plain_form(person: Callable[..., Page], pages: Pages) -> None:
    page = person("sanne")
    pages.steer(choices="{}")
    page.goto(f"{pages.address}/hub/spawn/sanne")
    expect(page.get_by_label("Gewoon")).to_be_checked()
    page.check("input[value=gpu-part]")
    page.click("main button:has-text('Starten')")
    page.wait_for_url("**/hub/spawn-pending/sanne**")
    stop(page, pages)


@pytest.mark.parametrize(
    ("free", "words"),
    [
        ({"room": 12}, "Start meteen: plaats voor 12"),
        ({"room": 0}, "Nu vol: je wacht in de wachtrij"),
        ({"room": 3, "ahead": 1}, "Er wacht 1 ander voor je"),
        ({"room": 3, "ahead": 2}, "Er wachten 2 anderen voor je"),
        ({}, "We kunnen nu niet zien hoeveel er vrij is"),
        ({"room": 3, "reservation": "les-dinsdag"}, "Draait in de gereserveerde tijd les-dinsdag"),
    ],
)
def test_the_choice_says_what_is_free_and_what_it_costs_without_any_script(
    pages: Pages, visitor: Visitor, free: dict[str, object], words: str
) -> None:
    browser = visitor("sanne")
    pages.steer(choices=json.dumps(free))
    html = browser.get("/hub/spawn/sanne").text
    assert html.count(words) == 2
    assert "Kost geen GPU-uren" in html and "Kost per uur: 1/8 GPU-uur" in html
    assert "1/8 GPU, samen met anderen" in html and "hoogstens 4 uur" in html


def test_the_choice_is_made_with_the_keyboard_alone(person: Callable[..., Page], pages: Pages) -> None:
    page = person("sanne")
    pages.steer(choices=json.dumps({"room": 2}))
    page.goto(f"{pages.address}/hub/spawn/sanne")
    page.focus("input[value=cpu-small]")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_label("Met een stuk GPU")).to_be_checked()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/hub/spawn-pending/sanne**")
    stop(page, pages)


def test_nobody_stops_another_persons_server(visitor: Visitor) -> None:
    browser = visitor("docent")
    token = browser.get("/hub/logout").text.partition('name="_xsrf" value="')[2].partition('"')[0]
    assert browser.post("/hub/stop/sanne", data={"_xsrf": token}).status_code in (403, 404)
    assert browser.post("/hub/stop/docent", data={"_xsrf": token}).status_code == 302
    assert browser.post("/hub/stop/docent", data={}).status_code == 403


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/hub/nothing", 404, "Deze pagina bestaat niet"),
        ("/hub/admin", 403, "Je mag deze pagina niet zien"),
        ("/hub/error/503", 200, "Nu niet bereikbaar"),
        ("/hub/language?to=fy", 400, "Dit verzoek kan niet worden uitgevoerd"),
        ("/hub/user/sanne/", 424, "Je werkplek draait niet"),
    ],
)
def test_an_error_says_what_happened_in_the_persons_language(
    visitor: Visitor, path: str, status: int, words: str
) -> None:
    answer = visitor("sanne").get(path)
    assert (answer.status_code, words in answer.text) == (status, True)


def test_a_token_is_made_shown_once_and_withdrawn(person: Callable[..., Page], pages: Pages) -> None:
    page = person("sanne")
    page.goto(f"{pages.address}/hub/token")
    page.fill("#token-note", "<b>script</b>")
    page.click("text=Token maken")
    expect(page.locator("#token-value")).to_have_text(re.compile("^[0-9a-zA-Z_-]{20,}$"))
    page.reload()
    row = page.locator("tr", has_text="<b>script</b>")
    row.get_by_role("button").click()
    expect(row).to_have_count(0)
    page.reload()
    expect(page.locator("tr", has_text="<b>script</b>")).to_have_count(0)


def test_static_files_are_kept_by_version(visitor: Visitor) -> None:
    browser = visitor()
    address = browser.get("/hub/login").text.partition('<link rel="stylesheet" href="')[2].partition('"')[0]
    assert "immutable" in browser.get(address).headers["cache-control"]
    assert browser.get("/hub/portal/leerlab.css").headers["cache-control"] == "no-cache"
    assert browser.get("/hub/portal/../hub_pages.py").status_code == 404


def test_a_program_that_wants_to_know_who_a_person_is_asks_first(visitor: Visitor, pages: Pages) -> None:
    browser = visitor("sanne")
    goal = f"http://look--service.leerlab.localhost:{pages.port}/services/look/oauth_callback"
    question = {"client_id": "service-look", "response_type": "code", "redirect_uri": goal}
    page = browser.get("/hub/api/oauth2/authorize", params=question)
    assert "Toestemming geven" in page.text and "wil weten wie je bent" in page.text
    form = {"_xsrf": token_of(page.text), "scopes": re.findall(r'name="scopes" value="([^"]+)"', page.text)}
    answer = browser.post("/hub/api/oauth2/authorize", params=question, data=form)
    assert answer.headers["location"].startswith(f"{goal}?code=")
    form.pop("_xsrf")
    assert browser.post("/hub/api/oauth2/authorize", params=question, data=form).status_code == 403
