"""A student in the lab is told what handing in costs before anything is handed in; in a real browser."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from grading_browser import browser_at
from grading_scripts import LAB
from grading_server import served
from grading_site import Site, wait_until
from playwright.sync_api import Page, expect
from test_servers import lab_wall

from grading.plans import Role

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

COURSE = "/exchange/courses/alpha"
WEEK = f"{COURSE}/assignments/week-1"


def rule(site: Site, path: str, **content: object) -> None:
    with site.client(site.hub.token("course-alpha")) as course:
        assert course.put(path, json={"by": "docent", **content}).status_code == 200


def open_list(lab: Page) -> None:
    lab.get_by_role("menuitem", name="Nbgrader").click()
    lab.get_by_role("menuitem", name="Assignment List").click()
    lab.get_by_role("tab", name="Assignments").click()
    expect(lab.get_by_text("Downloaded assignments", exact=True)).to_be_visible()


@pytest.mark.parametrize("language", ["nl", "en"])
def test_late_work_and_attempts_are_told_before_the_button_does_anything(released_site: Site, language: str) -> None:
    site, dutch = released_site, language == "nl"
    site.lab("anna", site.hub.token("anna"), LAB + 'assert lister.fetch_assignment("alpha", "week-1")["success"]')
    due = datetime.now(UTC) - timedelta(hours=3)
    wall = lab_wall(site, Role.STUDENT, LEERLAB_LANGUAGE=language)
    with served(site, wall, "anna", "anna") as page, browser_at(page, f"{language}-NL") as lab:

        def handed_in() -> int:
            return len(site.store.submissions("alpha", "week-1", "anna"))

        def submit() -> None:
            lab.get_by_role("button", name="Submit", exact=True).first.click()

        lab.goto(f"{page.base_url}lab")
        open_list(lab)
        # Nothing to say, nothing asked.
        submit()
        wait_until(lambda: handed_in() == 1)
        dialog = lab.get_by_role("dialog")
        assert dialog.count() == 0

        late = {"days": 3, "penalty": "fixed", "percent": 20}
        rule(site, f"{COURSE}/terms", hand_in={"late": late, "attempts": 2})
        rule(site, f"{WEEK}/terms", due=due.isoformat())
        work = site.state.homes / "anna" / "alpha" / "week-1" / "gegevens.csv"
        work.write_text("iets anders")
        expect(lab.get_by_role("button", name="Submit", exact=True).first).to_be_enabled()
        submit()
        expect(dialog).to_contain_text("20")
        expect(dialog).to_contain_text("laatste poging van 2" if dutch else "last of your 2 attempts")
        shots = Path(os.environ.get("LEERLAB_BUILD", "build"), "screenshots")
        shots.mkdir(parents=True, exist_ok=True)
        lab.screenshot(path=shots / f"before-handing-in-{language}.png")
        lab.get_by_role("button", name="Nog niet" if dutch else "Not yet").click()
        expect(dialog).to_have_count(0)
        assert handed_in() == 1
        submit()
        lab.get_by_role("button", name="Inleveren" if dutch else "Hand in", exact=True).click()
        wait_until(lambda: handed_in() == 2)
        assert site.store.submissions("alpha", "week-1", "anna")[-1].manifest.percent_off == 20

        work.write_text("nog iets anders")
        expect(lab.get_by_role("button", name="Submit", exact=True).first).to_be_enabled()
        submit()
        expect(dialog).to_contain_text("alle 2 pogingen" if dutch else "all 2 attempts")
        lab.screenshot(path=shots / f"cannot-hand-in-{language}.png")
        lab.get_by_role("button", name="OK", exact=True).click()
        expect(dialog).to_have_count(0)
        assert handed_in() == 2
