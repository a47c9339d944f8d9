"""Late work in a course's server: what the owner sets, what it costs, and that nbgrader's own notion follows."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from grading_browser import browser_at
from grading_server import formgrader
from grading_site import Site, wait_until
from playwright.sync_api import Page, expect
from test_roles import as_person
from test_teachers_pages import graded, log_of_grading

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

WEEK = "formgrader/api/assignment/week-1"
SHOTS = Path(os.environ.get("LEERLAB_BUILD", "build"), "screenshots")


def in_gradebook(site: Site, student: str) -> tuple[float | None, str | None]:
    """A student's late penalty in points, and their extension, as nbgrader keeps them."""
    with closing(sqlite3.connect(site.state.courses / "alpha" / "gradebook.db")) as book:
        row = book.execute(
            "select n.late_submission_penalty, s.extension from submitted_notebook n "
            "join submitted_assignment s on n.assignment_id = s.id where s.student_id = ?",
            [student],
        ).fetchone()
    return row[0], row[1]


def test_what_late_work_costs_follows_the_rules_the_extension_and_the_marks(site: Site) -> None:
    with graded(site) as page:
        assert page.post("formgrader/api/hand_in", json={"penalty": "fixed", "percent": "50"}).json()["success"]
        assert page.post(f"{WEEK}/deadline", json={"due": "2026-01-01T00:00"}).json()["success"]
        for student in ("anna", "bram"):
            log_of_grading(page, student)
        assert in_gradebook(site, "anna") == (1.5, None)
        shown = page.get("formgrader/manage_submissions/week-1").text
        assert "1,5 / 3" in shown and "te laat: 1,5 eraf" in shown

        # A mark by hand: the part that is taken off follows.
        (work,) = [one for one in page.get("formgrader/api/submitted_notebooks/week-1/kwadraten").json()
                   if one["student"] == "anna"]  # fmt: skip
        grades = page.get("formgrader/api/grades", params={"submission_id": work["id"]}).json()
        grade = next(one for one in grades if one["max_score"] == 2)
        assert page.put(f"formgrader/api/grade/{grade['id']}", json={**grade, "manual_score": 0}).status_code == 200
        assert in_gradebook(site, "anna")[0] == 0.5

        # More time for one: by an owner alone, with a reason, after the deadline.
        more = {"due": "2099-01-01T00:00", "reason": "de trein", "attempts": ""}
        place = f"{WEEK}/anna/extension"
        assert page.post(place, json=more, headers=as_person(page, site, "assistent")).status_code == 403
        for wrong in ({"reason": " "}, {"due": ""}, {"due": "2025-01-01T00:00"}):
            assert page.post(place, json={**more, **wrong}).status_code == 422
        assert in_gradebook(site, "anna")[0] == 0.5
        assert page.post(place, json=more).json()["success"]
        penalty, extension = in_gradebook(site, "anna")
        assert penalty is None and extension is not None
        assert in_gradebook(site, "bram")[0] == 1.5
        assert "de trein" in page.get("formgrader/extensions/week-1").text
        # The tests once more: the extension stays.
        log_of_grading(page, "anna")
        assert in_gradebook(site, "anna")[0] is None
        assert page.delete(place).json()["success"]
        assert in_gradebook(site, "anna") == (0.5, None)

        # What the student reads.
        for action in ("generate_feedback", "release_feedback"):
            assert page.post(f"{WEEK}/bram/{action}").json()["success"]
        feedback = site.state.courses / "alpha" / "feedback" / "bram" / "week-1" / "kwadraten.html"
        assert "Te laat ingeleverd: 1,5 punten eraf." in feedback.read_text()

        # No deadline, no lateness.
        assert page.post(f"{WEEK}/deadline", json={"due": ""}).json()["success"]
        assert in_gradebook(site, "bram") == (None, None)


@pytest.mark.fault
def test_without_the_exchange_no_rule_changes_and_nothing_is_graded_without_its_rules(site: Site) -> None:
    with graded(site) as page:
        assert page.post(f"{WEEK}/deadline", json={"due": "2099-01-01T00:00"}).json()["success"]
        log_of_grading(page, "anna")
        site.service.stop()
        for path, content in (
            (f"{WEEK}/deadline", {"due": ""}),
            ("formgrader/api/hand_in", {"penalty": "none"}),
            (f"{WEEK}/anna/extension", {"due": "2099-02-01T00:00", "reason": "x"}),
        ):
            answer = page.post(path, json=content)
            assert answer.status_code == 503 and "niets veranderd" in answer.json()["said"]
        assert page.get("formgrader/api/assignments").json()[0]["duedate"].startswith("2098-12-31T23:00")
        assert not page.post(f"{WEEK}/anna/generate_feedback").json()["success"]
        assert "niet op te vragen" in page.get("formgrader/hand_in").text
        assert page.get("formgrader/manage_assignments").status_code == 200


def test_a_deadline_of_before_the_exchange_kept_them_is_told_to_it(site: Site) -> None:
    with graded(site) as page:
        log_of_grading(page, "anna")
    with closing(sqlite3.connect(site.state.courses / "alpha" / "gradebook.db")) as book:
        book.execute("update assignment set duedate = '2026-01-01 12:00:00.000000'")
        book.commit()
    with site.client(site.hub.token("docent")) as docent, formgrader(site):

        def told() -> object:
            found = docent.get("/exchange/courses/alpha/terms").json()["assignments"].get("week-1", {})
            return found.get("due") == "2026-01-01T12:00:00Z"

        wait_until(told)


def shoot(page: Page, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


@pytest.mark.parametrize(("language", "width"), [("nl", 390), ("en", 1280), ("nl", 1280), ("en", 390)])
def test_an_owner_sets_rules_and_a_reader_only_sees_them(site: Site, language: str, width: int) -> None:
    dutch = language == "nl"
    with graded(site) as page:
        log_of_grading(page, "anna")
        assert page.post(f"{WEEK}/deadline", json={"due": "2026-01-01T00:00", "attempts": 3}).json()["success"]
        with browser_at(page, f"{language}-NL", width) as desk:
            base = f"{page.base_url}formgrader"
            desk.goto(f"{base}?language={language}")
            desk.get_by_role("link", name="Inleveren" if dutch else "Handing in", exact=True).click()
            desk.get_by_label("Hoeveel dagen" if dutch else "Days in which").fill("3")
            desk.locator("#penalty").select_option("per-day")
            desk.get_by_label("Procent" if dutch else "Percent").fill("10")
            desk.get_by_role("button", name="Deze regels bewaren" if dutch else "Keep these rules").click()
            expect(desk.get_by_role("dialog")).to_contain_text("bewaard" if dutch else "kept")
            shoot(desk, f"rules-kept-{language}-{width}")
            desk.get_by_role("button", name="OK").click()
            expect(desk.locator("#days")).to_have_value("3")
            shoot(desk, f"rules-{language}-{width}")
            desk.goto(f"{base}/extensions/week-1")
            desk.get_by_label("Student", exact=True).select_option("anna")
            desk.get_by_label("Deadline van deze" if dutch else "Deadline of this").fill("2099-02-01T23:59")
            desk.get_by_label("Reden" if dutch else "Reason").fill("Vertraging")
            shoot(desk, f"extension-{language}-{width}")
            desk.get_by_role("button", name="Uitstel geven" if dutch else "Give more time").click()
            desk.get_by_role("button", name="OK").click()
            expect(desk.get_by_role("row").filter(has_text="Anna de Vries")).to_contain_text("Vertraging")
            shoot(desk, f"extensions-{language}-{width}")
            desk.goto(f"{base}/manage_assignments")
            desk.locator("details.more summary").click()
            expect(desk.get_by_role("link", name="(1)")).to_be_visible()
            shoot(desk, f"assignments-{language}-{width}")
            axe = Path(os.environ["LEERLAB_TEST_TOOLS"], "node_modules/axe-core/axe.min.js").read_text()
            for place in ("hand_in", "extensions/week-1", "manage_assignments"):
                desk.goto(f"{base}/{place}")
                assert desk.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, place
                desk.evaluate(axe)
                found = desk.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
                assert not [one for one in found if one["impact"] in {"serious", "critical"}], (place, found)
        # A reader: the same pages without a button or a field that changes anything.
        page.headers["Authorization"] = as_person(page, site, "inspecteur")["Authorization"]
        (work,) = page.get("formgrader/api/submitted_notebooks/week-1/kwadraten").json()
        with browser_at(page, f"{language}-NL", width) as desk:
            for place in ("manage_assignments", "manage_submissions/week-1", "hand_in", "extensions/week-1"):
                desk.goto(f"{base}/{place}")
                expect(desk.get_by_role("heading", level=1)).to_be_visible()
                assert desk.locator("main button:visible, main input:visible, main select:visible").count() == 0, place
                shoot(desk, f"reader-{place.replace('/', '-')}-{language}-{width}")
            desk.goto(f"{base}/submissions/{work['id']}/")
            expect(desk.locator("html[data-ready]")).to_have_count(1)
            assert desk.locator("main input:enabled, main textarea:enabled, .mark button:visible").count() == 0
            shoot(desk, f"reader-work-{language}-{width}")
