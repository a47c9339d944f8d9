"""A course's pages for its teachers, in a real browser and by hand: what they show, refuse and leave out."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from grading_assignment import write_source
from grading_browser import ANSWERED, browser_at
from grading_scripts import FETCH_SOLVE_SUBMIT, fetch_solve_and_submit
from grading_server import formgrader
from grading_site import Site
from playwright.sync_api import expect

pytestmark = pytest.mark.integration

RIGHT = "def kwadraat(x):\n    return x * x\n"


@contextmanager
def graded(site: Site) -> Iterator[httpx.Client]:
    """A course in which Anna, and Bram who changed a test, handed in; the teacher has collected and graded."""
    write_source(site.state.courses / "alpha")
    site.hub.titles["anna"] = "Anna de Vries"
    with formgrader(site) as page:
        for action in ("assign", "release"):
            assert page.post(f"formgrader/api/assignment/week-1/{action}").json()["success"]
        fetch_solve_and_submit(site, "anna", site.hub.token("anna"), RIGHT)
        given = f"ANSWER, MORE, FILES = {RIGHT!r}, [], {{}}\n"
        tampering = 'notebook.cells[2].source = "assert True"\nnotebook.cells += '
        site.lab("bram", site.hub.token("bram"), given + FETCH_SOLVE_SUBMIT.replace("notebook.cells += ", tampering))
        assert page.post("formgrader/api/assignment/week-1/collect").json()["success"]
        yield page


def log_of_grading(page: httpx.Client, student: str) -> str:
    result = page.post(f"formgrader/api/submission/week-1/{student}/autograde").json()
    assert result["success"], result
    return str(result["log"])


def pages_of(page: httpx.Client) -> dict[str, str]:
    """Every page that can be reached by links from the first one, by address."""
    start = "/user/course-alpha/formgrader/manage_assignments"
    found: dict[str, str] = {}
    waiting = [start]
    while waiting:
        address = waiting.pop()
        if address in found:
            continue
        answer = page.get(f"{page.base_url.copy_with(path=address)}", follow_redirects=True)
        assert answer.status_code == 200, address
        found[address] = answer.text
        links = re.findall(r'href="([^"]+)"', answer.text)
        assert not [link for link in links if link.startswith("#") and link != "#main"], "a link to nowhere"
        waiting += [
            link for link in links if link.startswith("/user/") and "/language" not in link and "?v=" not in link
        ]
    return found


@pytest.mark.slow
def test_a_teacher_s_pages_name_people_tell_local_times_and_lead_only_to_what_works(site: Site) -> None:
    with graded(site) as page:
        # Hidden tests that nbgrader puts back itself are no reason for a warning; a changed test is, in words.
        assert "WARN" not in log_of_grading(page, "anna") and "hecksum" not in log_of_grading(page, "anna")
        said = log_of_grading(page, "bram")
        assert "The test cell test-1 was changed in this submission." in said and "hecksum" not in said

        found = pages_of(page)
        assert len(found) >= 8, sorted(found)
        handed_in = found["/user/course-alpha/formgrader/manage_submissions/week-1"]
        assert "Anna de Vries" in handed_in and "bram" in handed_in
        moment = r"(ma|di|wo|do|vr|za|zo) \d{1,2} [a-z]{3,4}\.? 20\d\d, \d\d:\d\d<"
        assert re.search(moment, handed_in), handed_in
        everything = "".join(found.values())
        assert "UTC" not in everything and not re.search(r"\d\d:\d\d:\d\d", everything)
        assert "Kwadraten maken" in everything
        # What the gradebook keeps is the pseudonym alone.
        (student,) = [one for one in page.get("formgrader/api/students").json() if one["id"] == "anna"]
        assert (student["first_name"], student["last_name"]) == (None, None)

        # Each button's address is one that works here.
        pressed = set(re.findall(r'data-post="([^"]+)"', everything))
        actions = {address.rsplit("/", 1)[-1] for several in pressed for address in several.split()}
        assert actions == {"collect", "unrelease", "autograde", "generate_feedback", "release_feedback"}
        # nbgrader's own, which would make folders that nobody can fill here.
        assert page.put("formgrader/api/assignment/nieuw", json={}).status_code == 405
        assert not (site.state.courses / "alpha" / "source" / "nieuw").exists()


@pytest.mark.slow
def test_a_score_that_cannot_be_is_refused_and_never_cut_down(site: Site) -> None:
    with graded(site) as page:
        log_of_grading(page, "anna")
        (work,) = page.get("formgrader/api/submitted_notebooks/week-1/kwadraten").json()
        grades = page.get("formgrader/api/grades", params={"submission_id": work["id"]}).json()
        grade = next(one for one in grades if one["max_score"] == 2)
        address = f"formgrader/api/grade/{grade['id']}"
        for score in (2.5, 1e300, -1, "2", True, [1]):
            answer = page.put(address, json={"manual_score": score, "extra_credit": None})
            assert (answer.status_code, answer.json()) == (422, {"max_score": 2.0}), score
        assert page.put(address, json={"manual_score": 1, "extra_credit": -1}).status_code == 422
        assert page.get(address).json()["manual_score"] is None
        assert page.put(address, json={"manual_score": 1.5, "extra_credit": None}).json()["manual_score"] == 1.5

        with browser_at(page) as desk:
            desk.goto(f"{page.base_url}formgrader/submissions/{work['id']}/")
            score = desk.locator("input.score").last
            expect(score).to_have_value("1.5")
            score.fill("3")
            score.press("Tab")
            expect(desk.get_by_text("Niet bewaard: dit is hoogstens 2 punten waard.")).to_be_visible()
            desk.reload()
            expect(desk.locator("input.score").last).to_have_value("1.5")
            desk.get_by_role("button", name="Geen punten").last.click()
            expect(desk.locator("#total")).to_have_text("1")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_teacher_works_in_dutch_or_english_on_a_phone_and_finds_the_way_back(site: Site) -> None:
    with graded(site) as page, browser_at(page, width=390) as phone:
        phone.goto(f"{page.base_url}formgrader?language=en")
        expect(phone.get_by_role("heading", name="Making squares")).to_be_visible()
        back = phone.get_by_role("link", name="Back to the course")
        expect(back).to_have_attribute(
            "href", "http://portal.leerlab.localhost:1/language?to=en&next=%2Fcourses%2Falpha"
        )
        phone.locator(".languages a[hreflang=nl]").click()
        expect(phone.get_by_role("heading", name="Kwadraten maken")).to_be_visible()

        # 23:59 on a winter's day in the Netherlands is 22:59 in UTC, which is what nbgrader keeps.
        phone.get_by_text("Uitdelen en deadline").click()
        phone.get_by_label("Deadline (leeg is geen deadline)").fill("2026-12-01T23:59")
        phone.get_by_role("button", name="Deadline bewaren").click()
        phone.get_by_role("button", name="OK").click()
        expect(phone.get_by_text("di 1 dec 2026, 23:59")).to_be_visible()
        (assignment,) = page.get("formgrader/api/assignments").json()
        assert assignment["duedate"].startswith("2026-12-01T22:59")

        phone.get_by_role("link", name="Bekijken en nakijken").click()
        phone.get_by_role("button", name="2 studenten laten nakijken door de tests").click()
        expect(phone.get_by_text("Alles wat wachtte, is door de tests nagekeken.")).to_be_visible(timeout=2 * ANSWERED)
        expect(phone.get_by_text("3 / 3")).to_have_count(2)
        axe = Path(os.environ["LEERLAB_TEST_TOOLS"], "node_modules/axe-core/axe.min.js").read_text()
        for address in pages_of(page):
            phone.goto(str(page.base_url.copy_with(path=address)))
            sideways = phone.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert sideways <= 0, f"{address} is {sideways} pixels too wide for a phone"
            for scheme in ("light", "dark"):
                phone.emulate_media(color_scheme=scheme)
                phone.evaluate(axe)
                found = phone.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
                serious = [one for one in found if one["impact"] in {"serious", "critical"}]
                assert not serious, f"{address}, {scheme}: {json.dumps(serious, indent=1)[:3000]}"


@pytest.mark.attack
def test_only_a_course_s_own_account_is_told_what_its_students_are_called(site: Site) -> None:
    site.hub.titles |= {"anna": "Anna de Vries", "carla": "Carla Bakker"}
    everybody = ["anna", "carla", "docent", "buiten", "niemand"]
    for name in ("anna", "docent", "buiten", "course-beta"):
        with site.client(site.hub.token(name)) as client:
            assert client.post("/people/alpha", json=everybody).status_code == 403, name
            assert client.get("/people/alpha/handed-in").status_code == 403, name
    with site.client(site.hub.token("course-alpha")) as client:
        assert client.post("/people/alpha", json=everybody).json() == {"anna": "Anna de Vries"}
        assert client.get("/people/alpha/handed-in").json() == []
        assert client.get("/people/beta/handed-in").status_code == 403
        assert client.post("/people/alpha", json=["../anna"]).status_code == 400
        assert client.post("/people/alpha", json=["anna"] * 1001).status_code == 413
        assert client.post("/people/beta", json=everybody).status_code == 403


@pytest.mark.slow
@pytest.mark.fault
def test_pages_show_pseudonyms_while_nobody_says_what_people_are_called(site: Site) -> None:
    with graded(site) as page:
        log_of_grading(page, "anna")
        site.service.stop()
        shown = page.get("formgrader/manage_students")
        assert shown.status_code == 200 and "anna" in shown.text and "Anna de Vries" not in shown.text
