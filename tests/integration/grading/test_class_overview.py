"""The class overview in a real browser: what it tells of a class whose work lies in a real exchange and gradebook."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from class_scene import NEVER, class_at_work, screenshots
from grading_browser import browser_at
from grading_site import Site
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.integration


def figures(page: Page, row: str) -> dict[str, str]:
    """The numbers of a row of a table by their labels, as a phone shows them."""
    found = page.locator(row).evaluate(
        "(row) => Object.fromEntries([...row.querySelectorAll('td')].map((one) => [one.dataset.label, one.innerText]))"
    )
    return {str(label): str(text).strip() for label, text in found.items()}


def accessible(page: Page, width: int, where: str) -> None:
    """Nothing that axe finds serious in light and dark, nothing wider than the screen; a picture of each."""
    sideways = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert sideways <= 0, f"{where} is {sideways} pixels too wide"
    axe = Path(os.environ["LEERLAB_TEST_TOOLS"], "node_modules/axe-core/axe.min.js").read_text()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.evaluate(axe)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        serious = [one for one in found if one["impact"] in {"serious", "critical"}]
        assert not serious, f"{where}, {scheme}: {json.dumps(serious, indent=1)[:3000]}"
        page.screenshot(path=screenshots() / f"{where}-{width}-{scheme}.png", full_page=True)


@pytest.mark.timeout(300)
def test_a_teacher_sees_how_far_everybody_is_how_hard_tasks_were_and_who_falls_behind(released_site: Site) -> None:
    with class_at_work(released_site) as page, browser_at(page) as desk:
        desk.goto(f"{page.base_url}formgrader/overview")
        expect(desk.get_by_role("heading", name="Klassenoverzicht")).to_be_visible()
        # Anna has feedback, Bram was late and is marked, Cato waits for a mark, Emma for the tests, Daan did nothing.
        assert figures(desk, "[data-assignment=week-1]") == {
            "Niet ingeleverd": "1", "Tests moeten nog draaien": "1", "Met de hand nakijken nodig": "1",
            "Nagekeken, nog geen feedback": "1", "Feedback gegeven": "1", "Te laat": "1", "Mediaan": "71%",
        }  # fmt: skip
        behind = desk.locator(f"[data-student={NEVER}]")
        expect(behind).to_contain_text("Daan Smit")
        assert figures(desk, f"[data-student={NEVER}]") == {"Gemist": "1", "Opdrachten": "Kwadraten maken"}
        # Anna has all points, Bram 1.5 - 0.25 of 3: a bar each, and the same in the table.
        plot = desk.get_by_role("img", name="Hoe de punten zijn verdeeld")
        expect(plot).to_be_visible()
        assert desk.locator(".plot .bar").count() == 2
        rows = desk.locator(".tenths tbody tr").all_inner_texts()
        assert [row.split()[-1] for row in rows] == ["0", "0", "0", "0", "1", "0", "0", "0", "0", "1"]

        desk.get_by_role("link", name="Kwadraten maken").first.click()
        expect(desk.get_by_role("heading", name="Hoe moeilijk elke taak was")).to_be_visible()
        # Cato's second mark is not there yet, so only two count for it.
        first, second = figures(desk, "[data-task=test-1]"), figures(desk, "[data-task=test-2]")
        assert first == {
            "Punten": "1", "Studenten": "3", "Behaalde punten": "67%", "Alle punten": "67%", "Geen punten": "33%",
            "Past bij de rest": "niet te zeggen",
        }  # fmt: skip
        assert (second["Studenten"], second["Behaalde punten"]) == ("2", "88%")
        expect(desk.locator(".behind li")).to_have_text(["Daan Smit"])
        assert desk.locator("[data-standing=nothing] td").first.inner_text() == "1"
        # Without a script and without a style nothing of it is lost: all is in the page's own text.
        text = page.get("formgrader/overview/week-1").text
        assert "<svg" in text and not re.search(r"<script(?![^>]*src=)", text)
        assert page.get("formgrader/overview/week-9").status_code == 404


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_overview_and_export_work_in_both_languages_on_phones_and_in_the_dark(released_site: Site) -> None:
    with class_at_work(released_site) as page:
        for width in (390, 1280):
            for language in ("nl", "en"):
                with browser_at(page, language=language, width=width) as screen:
                    for place in ("overview", "overview/week-1", "export"):
                        screen.goto(f"{page.base_url}formgrader/{place}")
                        accessible(screen, width, f"{place.replace('/', '-')}-{language}")


@pytest.mark.fault
@pytest.mark.timeout(300)
def test_while_the_exchange_is_silent_the_overview_says_so_and_calls_nobody_behind(released_site: Site) -> None:
    with class_at_work(released_site) as page:
        assert "Wie achterloopt" in page.get("formgrader/overview", headers={"Accept-Language": "nl"}).text
        released_site.service.stop()
        shown = page.get("formgrader/overview", headers={"Accept-Language": "nl"})
        assert shown.status_code == 200 and "Het is nu niet bekend wie er in de klas zitten" in shown.text
        assert "Niemand heeft een deadline" in shown.text and "bram" not in shown.text
        refused = page.get("formgrader/export/file", params={"as": "xlsx"}, headers={"Accept-Language": "nl"})
        assert refused.status_code == 503 and "Er is geen bestand gemaakt" in refused.text
        assert refused.headers["Content-Type"].startswith("text/html")


@pytest.mark.attack
@pytest.mark.timeout(300)
def test_a_name_in_the_overview_is_text_and_nothing_else(released_site: Site) -> None:
    evil = "<img src=x onerror='window.fout=1'>"
    with class_at_work(released_site) as page, browser_at(page) as desk:
        released_site.hub.titles[NEVER] = evil
        desk.goto(f"{page.base_url}formgrader/overview")
        expect(desk.locator(f"[data-student={NEVER}]")).to_contain_text(evil)
        assert desk.evaluate("window.fout") is None
        # The control: the same text put in as HTML makes the picture that would have run it.
        desk.locator(f"[data-student={NEVER}] th").evaluate("(cell) => { cell.innerHTML = cell.textContent }")
        assert desk.locator(f"[data-student={NEVER}] img").count() == 1
