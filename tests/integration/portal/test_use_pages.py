"""What people used, on their own pages: right, in both languages, and nobody else's."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page
from portal_site import MARKUP, Pages
from sqlalchemy import delete

from ledger.sandboxes import DataClass, RiskClass, SandboxLedger, SandboxState
from ledger.schema import use_table
from ledger.store import Ledger
from ledger.use import Place, Use, UseLedger
from portal.use import KEPT_SECONDS
from sandboxes.folders import Folders

pytestmark = pytest.mark.integration
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
EXPLAINED = {"nl": "Hoe weten we dit?", "en": "How do we know this?"}
AUDIT = (Path(__file__).parent / "audit.js").read_text()


def used(
    number: int,
    person: str,
    place: Place,
    place_id: str,
    *,
    hours: float,
    gpus: float = 0,
    wh: float,
    metered: bool = True,
) -> Use:
    seconds, joules = round(hours * 3600), wh * 3600
    return Use(
        id=f"0123456789ab:{number:016x}", job=number, person=person, place=place, place_id=place_id,
        begun=time.time() - 3600, seconds=seconds, core_seconds=2 * seconds, cpu_seconds=seconds,
        gpu_thousandths=round(seconds * gpus * 1000), joules=joules, least=joules / 2, most=joules * 2,
        gpu_joules=0.0 if metered else None, measured=metered, source="sacct", final=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def box(pages: Pages) -> Iterator[str]:
    """Rows of several people, and a sandbox of the bakery's; both are gone afterwards."""
    with closing(Ledger.open(f"sqlite:///{pages.state.ledger}", pages.root / "ledger-key")) as ledger:
        made = SandboxLedger(ledger).create(
            title=f"Brood {MARKUP}"[:80], purpose="Deeg tellen", sector="other", data_class=DataClass.OPEN,
            risk_class=RiskClass.MINIMAL, owner="bakker", ends=datetime.now(UTC) + timedelta(days=9),
            state=SandboxState.ACTIVE, most=50,
        )  # fmt: skip
        # What its page measures; `Sandboxes.request` would have made it.
        Folders(pages.state, made.id).make()
        UseLedger(ledger).put(
            [
                used(1, "sanne", Place.COURSE, "ai-in-je-vak", hours=3.25, wh=70),
                used(2, "docent", Place.COURSE, "ai-in-je-vak", hours=1, wh=41),
                used(3, "bakker", Place.SANDBOX, made.id, hours=10, gpus=0.5, wh=2500, metered=False),
                used(4, "concurrent", Place.OWN, "", hours=7.77, wh=61_000),
                used(5, "", Place.ASSISTANT, f"klein-{MARKUP}"[:64], hours=2, wh=12),
            ]
        )
        time.sleep(KEPT_SECONDS)  # Other tests of this folder have looked at these pages.
        yield made.id
        with ledger.transaction() as connection:
            connection.execute(delete(use_table))


@pytest.fixture
def page_of(visitor: Callable[..., httpx.Client], pages: Pages, box: str) -> Callable[..., str]:
    """The words of a page as somebody sees it."""

    def get(name: str, path: str = "/", language: str = "nl", status: int = 200) -> str:
        browser = visitor(name, language=language)
        assert browser.get(f"{pages.portal}/", follow_redirects=True).status_code == 200
        answer = browser.get(f"{pages.portal}{path}")
        assert answer.status_code == status
        assert MARKUP not in answer.text
        return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text)))

    return get


def test_a_person_sees_what_they_used_with_its_bounds_and_something_like_it(page_of: Callable[..., str]) -> None:
    dutch = page_of("sanne")
    assert "Wat ik gebruikte in 30 dagen" in dutch
    assert "3,25 uur" in dutch and "ongeveer 70 Wh" in dutch
    assert "De echte waarde ligt tussen 35 Wh en 140 Wh." in dutch
    assert "ongeveer zoveel als water koken voor 3 koppen thee" in dutch
    assert "rekenen met 6 watt per rekenkern" in dutch
    english = page_of("sanne", language="en")
    assert "3.25 hours" in english and "between 35 Wh and 140 Wh" in english and "3 cups of tea" in english


def test_who_used_nothing_is_told_so(page_of: Callable[..., str]) -> None:
    assert "In de laatste 30 dagen draaide er niets." in page_of("gast")


def test_a_teacher_sees_the_course_as_a_whole_and_a_student_does_not(page_of: Callable[..., str]) -> None:
    teacher = page_of("docent", "/courses/ai-in-je-vak")
    assert "Wat deze cursus gebruikte" in teacher and "4,25 uur" in teacher and "111 Wh" in teacher
    assert "Wat deze cursus gebruikte" not in page_of("sanne", "/courses/ai-in-je-vak")


def test_a_sandbox_tells_its_members_also_what_is_not_known(page_of: Callable[..., str], box: str) -> None:
    member = page_of("bakker", f"/sandboxes/{box}")
    assert "10 uur" in member and "2,5 kWh" in member
    assert "De stroom van 5 GPU-uren zit er niet in: die GPU's hebben geen meter." in member


def test_an_operator_sees_everything_by_what_it_was_for(page_of: Callable[..., str], box: str) -> None:
    page = page_of("beheer", "/operator")
    assert "Gebruik en stroom in 30 dagen" in page
    for words in ("61 kWh", "Eigen werk, voor geen cursus", "De assistent: klein-", "Sandbox: Brood", "63,6 kWh"):
        assert words in page, words
    assert "ongeveer zoveel in 9 dagen" in page


@pytest.mark.attack
def test_nobody_reads_the_use_of_others(page_of: Callable[..., str], box: str) -> None:
    theirs = ("7,77", "61 kWh")
    for name, path, status in (
        ("sanne", "/", 200), ("sanne", "/?person=concurrent", 200), ("docent", "/courses/ai-in-je-vak?place=own", 200),
        ("concurrent", f"/sandboxes/{box}", 404), ("sanne", "/operator", 403),
    ):  # fmt: skip
        found = page_of(name, path, status=status)
        assert not any(words in found for words in theirs), (name, path)
        assert "2,5 kWh" not in found
    # The control: the same look, by whom it belongs to.
    own = page_of("concurrent")
    assert all(words in own for words in theirs)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("language", ["nl", "en"])
def test_axe_finds_nothing_serious_where_use_is_shown(
    person: Callable[..., Page], pages: Pages, box: str, axe: str, screenshots: Path, language: str
) -> None:
    visits = {"sanne": "/", "docent": "/courses/ai-in-je-vak", "bakker": f"/sandboxes/{box}", "beheer": "/operator"}
    for name, path in visits.items():
        page = person(name, locale=language)
        page.goto(pages.portal + path)
        explanation = page.locator("details").filter(has_text=EXPLAINED[language])
        explanation.locator("summary").click()
        for size, scheme in ((DESKTOP, "light"), (PHONE, "dark"), (PHONE, "light"), (DESKTOP, "dark")):
            page.set_viewport_size(size)
            page.emulate_media(color_scheme=scheme)
            where = f"use-{name}-{language}-{'phone' if size is PHONE else 'desktop'}-{scheme}"
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{where} scrolls sideways"
            assert page.evaluate(AUDIT) == [], where
            page.evaluate(axe)
            answer = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
            serious = [
                one["id"] for one in answer["violations"] if one["impact"] in ("serious", "critical", "moderate")
            ]
            assert serious == [], where
            page.screenshot(path=screenshots / f"{where}.png", full_page=True)
