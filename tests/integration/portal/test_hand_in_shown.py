"""What a student reads of deadlines before handing in, and what the three kinds of teacher find on a course's page."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from portal_site import Pages

from grading.store import Store
from grading.terms import AssignmentTerms, Extension, HandIn, LatePolicy, Penalty, Terms
from grading.terms_shelf import TermsShelf
from grading.tree import TreeLimits

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]
COURSE, WEEK = "ai-in-je-vak", "herken-ai"
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


@pytest.fixture
def store(pages: Pages) -> Iterator[Store]:
    """An exchange in which the first assignment is handed out, and empty again afterwards."""
    made = Store(pages.state.exchange, TreeLimits(total=10**6, files=10), process="test")
    work = pages.root / "work"
    work.mkdir(exist_ok=True)
    (work / "herken-ai.ipynb").write_text("{}")
    made.release(COURSE, WEEK, made.incoming_copy(work), by="docent")
    yield made
    shutil.rmtree(pages.state.exchange / COURSE)


def rules(pages: Pages, due: datetime, late: LatePolicy, attempts: int | None = None, *, more: bool = False) -> None:
    now = datetime.now(UTC)
    given = Extension(due=due + timedelta(days=1), reason="x", by="docent", given=now)
    one = AssignmentTerms(due=due, extensions={"sanne": given} if more else {})
    chosen = {"chosen": HandIn(late=late, attempts=attempts), "assignments": {WEEK: one}}
    TermsShelf(pages.state.exchange).change(COURSE, "docent", lambda _: Terms(**chosen))  # type: ignore[arg-type]


@pytest.mark.parametrize(("language", "size"), [("nl", PHONE), ("en", DESKTOP), ("nl", DESKTOP), ("en", PHONE)])
def test_a_student_is_told_before_handing_in(
    person: Callable[..., Page],
    pages: Pages,
    store: Store,
    screenshots: Path,
    language: str,
    size: dict[str, int],
) -> None:
    dutch, now = language == "nl", datetime.now(UTC)
    page = person("sanne", viewport=size, locale=f"{language}-NL")
    course = f"{pages.portal}/courses/{COURSE}"
    said = page.locator(".hand-in-rules")
    per_day = LatePolicy(days=3, penalty=Penalty.PER_DAY, percent=10)

    def shown(name: str, *texts: str) -> None:
        page.goto(course)
        for text in texts:
            expect(said).to_contain_text(text)
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
        page.screenshot(path=screenshots / f"hand-in-{name}-{language}-{size['width']}.png", full_page=True)

    rules(pages, now + timedelta(days=2), per_day, 3)
    shown("ahead", *(("0 van de 3 keer", "Elke dag te laat kost 10%") if dutch else ("0 of at most 3", "takes 10%")))
    rules(pages, now - timedelta(hours=30), per_day, 3)
    shown("late", "Lever je nu in, dan gaat er 20%" if dutch else "If you hand in now, 20%")
    store.submit(COURSE, WEEK, "sanne", store.incoming_copy(pages.root / "work"))
    shown("handed-in-late", "Je hebt te laat ingeleverd: er gaat 20%" if dutch else "What you handed in is late: 20%")
    rules(pages, now - timedelta(hours=30), per_day, 3, more=True)
    shown("extended", "extra tijd" if dutch else "more time", "10%")


def test_once_it_is_over_a_student_reads_that_nothing_is_taken_in(
    person: Callable[..., Page], pages: Pages, store: Store
) -> None:
    rules(pages, datetime.now(UTC) - timedelta(hours=1), LatePolicy(days=0))
    page = person("sanne")
    page.goto(f"{pages.portal}/courses/{COURSE}")
    expect(page.locator(".hand-in-rules")).to_contain_text("Inleveren kan niet meer")


def test_graders_and_readers_find_the_grading_pages_and_only_owners_start_a_class(
    person: Callable[..., Page], pages: Pages, store: Store, screenshots: Path
) -> None:
    for name, words in (
        ("docent", "Uitdelen en nakijken"),
        ("nakijker", "Bekijken en nakijken"),
        ("meekijker", "Werk en cijfers bekijken"),
    ):
        page = person(name)
        expect(page.get_by_role("link", name=words).first).to_be_visible()
        page.goto(f"{pages.portal}/courses/{COURSE}")
        expect(page.get_by_role("link", name=words)).to_be_visible()
        expect(page.locator("#lesson-title")).to_have_count(1 if name == "docent" else 0)
        page.screenshot(path=screenshots / f"course-of-{name}.png", full_page=True)
