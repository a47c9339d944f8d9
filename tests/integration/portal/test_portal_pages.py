"""The portal's pages in Chromium: judged by axe-core in both languages, light and dark, phone and desktop; and live."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from portal_site import MARKUP, Pages

from grading.store import Store
from grading.tree import TreeLimits

pytestmark = pytest.mark.integration
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
# Two looks of five seconds on a busy machine.
LIVE = 40_000
AUDIT = (Path(__file__).parent / "audit.js").read_text()
VISITS = {
    "sanne": ["/", "/courses/ai-in-je-vak", "/courses/voorspel-onderhoud", "/nothing"],
    "docent": ["/", "/courses/ai-in-je-vak"],
    "beheer": ["/", "/operator"],
    "gast": ["/"],
    "bakker": ["/", "/sandboxes/new", "/sandboxes/{box}"],
}


@pytest.fixture(autouse=True)
def nothing_runs(pages: Pages) -> Iterator[None]:
    """Each test leaves nothing running, one that fails too."""
    yield
    pages.stop_servers("sanne")


@pytest.fixture
def released(pages: Pages) -> Iterator[Store]:
    """An exchange with the first assignment handed out, and empty again afterwards."""
    store = Store(pages.state.exchange, TreeLimits(total=10**6, files=10), process="test")
    work = pages.root / "work"
    work.mkdir(exist_ok=True)
    (work / "herken-ai.ipynb").write_text("{}")
    store.release("ai-in-je-vak", "herken-ai", store.incoming_copy(work), by="docent")
    yield store
    shutil.rmtree(pages.state.exchange / "ai-in-je-vak")


def start(pages: Pages, page: Page, name: str) -> None:
    """Begin a start of this person's server, which waits until the test says go."""
    page.goto(f"{pages.address}/hub/spawn/{name}")
    page.wait_for_url("**/hub/spawn-pending/**")


def ask(page: Page, pages: Pages, **answers: str) -> None:
    """Fill in and send the request for a sandbox."""
    page.goto(f"{pages.portal}/sandboxes/new")
    page.fill("#title", f"Pompen {MARKUP}")
    page.fill("#purpose", f"Lekken vinden. {MARKUP}")
    page.select_option("#sector", "water")
    page.select_option("#data_class", "open")
    for name in ("forbidden", "people", "preparing", "product", "talks", "personal"):
        page.check(f"input[name={name}][value={answers.get(name, 'no')}]")
    page.locator("main form button[type=submit]").click()


def a_sandbox(page: Page, pages: Pages) -> str:
    """The id of a new active sandbox of this page's person; an earlier one of theirs is ended first."""
    page.goto(f"{pages.portal}/")
    while (old := page.locator("#boxes-title ~ div h3 a")).count():
        old.first.click()
        if not page.locator("details form[action$='/end']").count():
            break
        page.locator("details:has(form[action$='/end']) summary").click()
        page.check("input[name=sure]")
        page.locator("form[action$='/end'] button").click()
        page.wait_for_url("**changed=1")
        page.goto(f"{pages.portal}/")
        if page.locator(".box-active").count() == 0:
            break
    ask(page, pages)
    page.wait_for_url("**/sandboxes/*?new=1")
    return page.url.rpartition("/")[2].partition("?")[0]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("language", ["nl", pytest.param("en", marks=pytest.mark.slow)])
def test_axe_finds_nothing_serious_on_any_page(
    person: Callable[..., Page], pages: Pages, axe: str, screenshots: Path, released: Store, language: str
) -> None:
    found: dict[str, Any] = {}
    box = a_sandbox(person("bakker"), pages)
    ask(person("bakker"), pages, people="yes")
    for name, paths in VISITS.items():
        page = person(name, locale=language)
        for path in (one.format(box=box) for one in paths):
            for size, scheme in ((DESKTOP, "light"), (PHONE, "dark"), (PHONE, "light"), (DESKTOP, "dark")):
                page.set_viewport_size(size)
                page.emulate_media(color_scheme=scheme)
                if page.url != pages.portal + path:
                    page.goto(pages.portal + path)
                shown = f"{name}{path.replace(box, 'box').replace('/', '-')}"
                where = f"{shown}-{language}-{'phone' if size is PHONE else 'desktop'}-{scheme}"
                assert page.locator("html").get_attribute("lang") == language
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{where} scrolls sideways"
                assert page.evaluate(AUDIT) == [], where
                # The console's way in: a script element would be stopped by the content security policy.
                page.evaluate(axe)
                answer = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
                found |= {
                    f"{where}: {one['id']}": [node["html"][:200] for node in one["nodes"]]
                    for one in answer["violations"]
                    if one["impact"] in ("serious", "critical", "moderate")
                }
                page.screenshot(path=screenshots / f"portal-{where}.png", full_page=True)
    assert found == {}, json.dumps(found, indent=1)


def test_a_page_follows_what_happens_elsewhere_without_being_loaded_again(
    person: Callable[..., Page], pages: Pages, released: Store
) -> None:
    page = person("sanne")
    page.evaluate("window.stays = true")
    expect(page.locator(".servers")).to_have_count(0)
    other = page.context.new_page()
    start(pages, other, "sanne")
    expect(page.locator(".servers h3")).to_have_text("Je werkplek wordt klaargezet", timeout=LIVE)
    work = pages.root / "work"
    released.submit("ai-in-je-vak", "herken-ai", "sanne", released.incoming_copy(work))
    expect(page.locator(".work").first).to_have_text("Ingeleverd", timeout=LIVE)
    page.click(".servers form button")
    expect(page.locator(".servers")).to_have_count(0)
    # The stop is a form; the page stayed the same one until then.
    assert page.url.startswith(pages.portal)


def test_the_focus_stays_where_it_is_when_a_region_is_drawn_anew(
    person: Callable[..., Page], pages: Pages, released: Store
) -> None:
    page = person("sanne")
    link = page.get_by_role("link", name="Herken AI om je heen")
    link.focus()
    released.submit("ai-in-je-vak", "herken-ai", "sanne", released.incoming_copy(pages.root / "work"))
    expect(page.locator(".work").first).to_have_text("Ingeleverd", timeout=LIVE)
    expect(link).to_be_focused()


@pytest.mark.parametrize(
    ("language", "on", "off"),
    [
        (
            "nl",
            "Aan: een klein taalmodel, dat het vaak mis heeft. Hoogstens 20.000 tokens per uur",
            "Uit: je kunt hier",
        ),
        ("en", "On: a small language model, often wrong. At most 20,000 tokens an hour", "Off: you cannot ask"),
    ],
)
def test_a_course_and_a_sandbox_say_in_one_sentence_what_the_assistant_may_do(
    person: Callable[..., Page], pages: Pages, language: str, on: str, off: str
) -> None:
    sanne = person("sanne")
    sanne.locator(f".languages a[hreflang={language}]").click()
    for course, sentence in (("ai-in-je-vak", on), ("voorspel-onderhoud", off)):
        sanne.goto(f"{pages.portal}/courses/{course}")
        expect(sanne.locator(".facts")).to_contain_text(sentence)
    company = person("bakker")
    company.locator(f".languages a[hreflang={language}]").click()
    company.goto(f"{pages.portal}/sandboxes/{a_sandbox(company, pages)}")
    expect(company.locator("section[aria-labelledby='assistant-title']")).to_contain_text(off)


def test_every_page_is_read_and_used_without_javascript(
    person: Callable[..., Page], chromium: Browser, pages: Pages
) -> None:
    cookies = person("sanne").context.cookies()
    context = chromium.new_context(java_script_enabled=False, locale="nl-NL")
    context.add_cookies(cookies)  # type: ignore[arg-type]
    page = context.new_page()

    def servers() -> int:
        # What runs is looked at anew; nothing on this page does so by itself, and a look takes what it takes.
        page.goto(f"{pages.portal}/?changed=1")
        return page.locator(".servers").count()

    page.goto(f"{pages.address}/hub/spawn/sanne")
    pages.wait(servers, 40)
    expect(page.locator(".servers h3")).to_have_text("Je werkplek wordt klaargezet")
    page.click(".servers form button")
    page.wait_for_url(f"{pages.portal}/**")
    pages.wait(lambda: not servers(), 40)
    page.click(".languages a[hreflang=en]")
    expect(page.get_by_role("heading", name="My courses")).to_be_visible()
    context.close()


def test_the_language_chosen_here_is_the_hubs_too(person: Callable[..., Page], pages: Pages) -> None:
    page = person("sanne")
    page.click(".languages a[hreflang=en]")
    page.goto(f"{pages.address}/hub/token")
    assert page.locator("html").get_attribute("lang") == "en"


def test_every_control_is_reached_by_keyboard_and_the_first_leads_past_the_head(
    person: Callable[..., Page], pages: Pages
) -> None:
    page = person("beheer")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    controls = page.locator("main a[href], main button, main summary").count()
    page.keyboard.press("Enter")
    reached = set()
    for _ in range(controls + 5):
        page.keyboard.press("Tab")
        inside = page.evaluate("document.activeElement.closest('main') && document.activeElement.outerHTML")
        reached |= {inside} if inside else set()
    assert len(reached) == controls


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gast", "Je zit nog niet in een cursus"),
        ("beheer", "Jij beheert deze site"),
        ("docent", "Je hebt nog geen opdrachten uitgedeeld"),
        ("sanne", "Er zijn nog geen opdrachten uitgedeeld"),
    ],
)
def test_an_empty_page_says_what_to_do_next(person: Callable[..., Page], name: str, words: str) -> None:
    expect(person(name).get_by_text(words).first).to_be_visible()


@pytest.mark.attack
def test_a_hostile_name_runs_nowhere_also_not_through_the_live_regions(
    person: Callable[..., Page], pages: Pages, chromium: Browser
) -> None:
    operator, student = person("beheer"), person("sanne")
    person("gast")
    operator.goto(f"{pages.portal}/operator")
    student.goto(f"{pages.portal}/courses/voorspel-onderhoud")
    expect(operator.locator("[data-region=people]")).to_contain_text("<img src=x")
    start(pages, student.context.new_page(), "sanne")
    expect(student.locator(".servers h3")).to_be_visible(timeout=LIVE)
    expect(operator.locator("[data-region=allservers] tbody tr")).to_have_count(1, timeout=LIVE)
    for page in (operator, student):
        assert page.locator("main img").count() == 0 and page.title() != "broken in"
    student.click(".servers form button")
    # Positive control: the same text, put in as HTML on a page without a content security policy.
    bare = chromium.new_page()
    bare.set_content(MARKUP)
    bare.wait_for_function("document.title === 'broken in'")
    bare.close()


def test_a_company_asks_and_has_a_sandbox_at_once_which_a_colleague_joins(
    person: Callable[..., Page], pages: Pages
) -> None:
    owner, colleague = person("bakker"), person("collega")
    box = a_sandbox(owner, pages)
    expect(owner.get_by_role("heading", level=1)).to_contain_text("Pompen")
    expect(owner.locator(".box-active")).to_have_text("in gebruik")
    colleague.goto(f"{pages.portal}/sandboxes/{box}")
    expect(colleague.get_by_role("heading", level=1)).to_have_text("Deze pagina bestaat niet")
    owner.get_by_role("button", name="Iemand uitnodigen").click()
    code = owner.locator(".secret code").inner_text()
    for times in range(2):
        colleague.goto(f"{pages.portal}/")
        colleague.locator("details.join summary").click()
        colleague.fill("#code", code)
        colleague.get_by_role("button", name="Meedoen").click()
        if not times:
            colleague.wait_for_url(f"**/sandboxes/{box}")
    # The code works once.
    expect(colleague.get_by_role("heading", level=1)).to_have_text("Deze uitnodiging werkt niet")
    owner.goto(f"{pages.portal}/sandboxes/{box}")
    expect(owner.locator(".members li")).to_have_count(2)
    owner.get_by_role("button", name="Eruit halen Collega Bos").click()
    expect(owner.locator(".members li")).to_have_count(1)
    assert colleague.goto(f"{pages.portal}/sandboxes/{box}").status == 404  # type: ignore[union-attr]


def test_a_request_of_high_risk_waits_for_the_operator_and_a_forbidden_one_names_its_article(
    person: Callable[..., Page], pages: Pages
) -> None:
    company, operator = person("concurrent"), person("beheer")
    ask(company, pages, forbidden="yes")
    expect(company.get_by_role("alert")).to_contain_text("artikel 5")
    expect(company.locator("#title")).to_have_value(f"Pompen {MARKUP}")
    ask(company, pages, product="yes")
    expect(company.locator(".box-waiting")).to_have_text("wacht op de beheerder")
    operator.goto(f"{pages.portal}/operator")
    waiting = operator.locator("[data-region=allboxes] li").filter(has_text="wacht op de beheerder")
    row = waiting.filter(has_text="Concurrent").first
    row.get_by_role("button", name="Toekennen", exact=True).click()
    # The company's page learns of it by itself.
    expect(company.locator(".box-active")).to_have_text("in gebruik", timeout=LIVE)
