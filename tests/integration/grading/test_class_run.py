"""A whole class graded at once: the same marks as one by one, in few jobs, and nothing lost when it is broken off."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from grading_browser import ANSWERED, browser_at
from grading_class import ANSWERS, MARKS, RIGHT, RUN, ended, executions, hand_in, marks
from grading_server import formgrader
from grading_site import Site, wait_until
from playwright.sync_api import expect

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture
def teacher(released_site: Site) -> Iterator[tuple[Site, httpx.Client]]:
    """A course's server, for a course in which everybody has handed in and all was collected."""
    hand_in(released_site, ANSWERS)
    with formgrader(released_site) as page:
        assert page.post("formgrader/api/assignment/week-1/collect").json()["success"]
        yield released_site, page


@pytest.mark.slow
def test_a_changed_test_is_pointed_out(teacher: tuple[Site, httpx.Client]) -> None:
    site, page = teacher
    work = site.state.courses / "alpha" / "submitted" / "bram" / "week-1" / "kwadraten.ipynb"
    notebook = json.loads(work.read_text())
    test = next(cell for cell in notebook["cells"] if cell["metadata"].get("nbgrader", {}).get("grade_id") == "test-1")
    test["source"] = "assert True"
    work.chmod(0o644)
    work.write_text(json.dumps(notebook))
    page.post(RUN)
    run = ended(page)
    assert marks(page) == MARKS
    assert run["noted"] == {}
    row = page.get("formgrader/manage_submissions/week-1").text.partition('<tr data-student="bram">')[2]
    assert 'data-flag="test-changed"' in row.partition("</tr>")[0]


def test_a_class_gets_the_marks_that_each_would_get_alone_in_one_job(teacher: tuple[Site, httpx.Client]) -> None:
    site, page = teacher
    begun = page.post(RUN)
    assert begun.status_code == 202 and begun.json()["total"] == len(ANSWERS)
    run = ended(page)
    assert (run["done"], run["failed"]) == (len(ANSWERS), {})
    assert marks(page) == MARKS
    assert executions(site) == [len(ANSWERS)]
    # One by one, by nbgrader's own command.
    course = site.state.courses / "alpha"
    together = {name: outputs(course, name) for name in ANSWERS}
    for name in ANSWERS:
        assert page.post(f"formgrader/api/submission/week-1/{name}/autograde").json()["success"]
    assert marks(page) == MARKS
    assert {name: outputs(course, name) for name in ANSWERS} == together
    # Nothing is newer than its marks: nothing is run again, until somebody hands in again.
    assert page.post(RUN).json()["total"] == 0
    hand_in(site, {"bram": RIGHT})
    assert page.post("formgrader/api/assignment/week-1/collect").json()["success"]
    ended(page)
    assert page.post(RUN).json()["total"] == 1
    ended(page)
    assert marks(page) == {**MARKS, "bram": 3.0}
    assert not (course / ".begun").exists() or not list((course / ".begun").glob("*/*"))


def outputs(course: Path, name: str) -> list[Any]:
    notebook = json.loads((course / "autograded" / name / "week-1" / "kwadraten.ipynb").read_text())
    return [
        [{key: one[key] for key in one if key != "traceback"} for one in cell.get("outputs", [])]
        for cell in notebook["cells"]
    ]


@pytest.mark.fault
def test_two_clicks_begin_one_run(teacher: tuple[Site, httpx.Client]) -> None:
    site, page = teacher
    with ThreadPoolExecutor(2) as clicks:
        answers = list(clicks.map(lambda _: page.post(RUN).json()["total"], range(2)))
    assert answers == [len(ANSWERS)] * 2
    assert ended(page)["done"] == len(ANSWERS)
    assert executions(site) == [len(ANSWERS)] and marks(page) == MARKS


@pytest.mark.slow
@pytest.mark.fault
def test_a_run_that_is_stopped_changes_no_mark_and_the_next_one_does_the_rest(
    teacher: tuple[Site, httpx.Client],
) -> None:
    site, page = teacher
    page.post(RUN)
    wait_until(lambda: executions(site), 60)
    assert page.delete(RUN).json()["cancelled"]
    run = ended(page)
    given = {name: mark for name, mark in marks(page).items() if mark is not None}
    assert given == {name: MARKS[name] for name in given} and len(given) == run["done"]
    assert page.post(RUN).json()["total"] == len(ANSWERS) - len(given)
    ended(page)
    assert marks(page) == MARKS


@pytest.mark.slow
@pytest.mark.fault
def test_a_service_that_is_away_is_told_and_costs_no_mark(teacher: tuple[Site, httpx.Client]) -> None:
    site, page = teacher
    page.post(RUN)
    ended(page)
    hand_in(site, {"bram": RIGHT, "cas": RIGHT})
    assert page.post("formgrader/api/assignment/week-1/collect").json()["success"]
    before = marks(page)
    aside = site.service.socket.with_suffix(".aside")
    site.service.socket.rename(aside)
    page.post(RUN)
    run = ended(page)
    assert set(run["failed"]) == {"bram", "cas"} and all("does not answer" in why for why in run["failed"].values())
    assert marks(page) == before
    aside.rename(site.service.socket)
    page.post(RUN)
    ended(page)
    assert marks(page) == {**MARKS, "bram": 3.0, "cas": 3.0}


@pytest.mark.slow
def test_a_teacher_sees_how_far_it_is_and_what_came_of_it(teacher: tuple[Site, httpx.Client], tmp_path: Path) -> None:
    site, page = teacher
    site.hub.titles["anna"] = "Anna de Vries"
    pictures = Path(os.environ["LEERLAB_BUILD"]) / "screenshots"
    pictures.mkdir(parents=True, exist_ok=True)
    with browser_at(page) as browser:
        browser.goto(f"{page.base_url}formgrader/manage_submissions/week-1/")
        browser.get_by_role("button", name="6 studenten laten nakijken door de tests").click()
        expect(browser.get_by_role("progressbar", name="Nagekeken door de tests")).to_be_visible()
        expect(browser.get_by_text(re.compile(r"^\d / 6 nagekeken$"))).to_be_visible(timeout=ANSWERED)
        browser.screenshot(path=pictures / "klas-nakijken-bezig.png")
        done = browser.get_by_text("Alles wat wachtte, is door de tests nagekeken.")
        expect(done).to_be_visible(timeout=3 * ANSWERED)
        browser.screenshot(path=pictures / "klas-nakijken-klaar.png")
        expect(browser.locator("tr[data-student=anna]")).to_contain_text("3 / 3")
        browser.reload()
        expect(done).to_have_count(0)
    with browser_at(page, "en-GB", 390) as browser:
        hand_in(site, {"bram": RIGHT})
        assert page.post("formgrader/api/assignment/week-1/collect").json()["success"]
        aside = site.service.socket.with_suffix(".aside")
        browser.goto(f"{page.base_url}formgrader/manage_submissions/week-1/")
        site.service.socket.rename(aside)
        browser.get_by_role("button", name="Let the tests grade 1 student").click()
        expect(browser.get_by_role("alert")).to_contain_text("Not everything could be graded", timeout=3 * ANSWERED)
        browser.screenshot(path=pictures / "class-grading-failed-390.png")
        aside.rename(site.service.socket)
