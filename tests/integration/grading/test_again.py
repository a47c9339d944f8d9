"""A corrected test: everything is graded again, the teacher sees the difference, and then it counts or it does not."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from grading_assignment import write_source
from grading_browser import ANSWERED, browser_at
from grading_class import COLLECT, MARKS, RIGHT, RUN, ended, executions, hand_in, marks
from grading_server import formgrader
from grading_site import Site, wait_until
from playwright.sync_api import expect

from confinement.run import Walled
from confinement.settings import ConfinementSettings
from confinement.wall import Bind, Wall
from grading.release import Done, release
from grading.tree import TreeLimits

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

WORK = {
    "anna": RIGHT,
    "bram": "def kwadraat(x):\n    return x + x\n",
    "cas": "def kwadraat(x):\n    raise ValueError(x)\n",
}
WRONG, CORRECTED = "assert kwadraat(3) == 9", "assert kwadraat(2) == 4"
AGAIN = "formgrader/api/assignment/week-1/again"
PAGE = "formgrader/differences/week-1"


@contextmanager
def graded(site: Site, work: Mapping[str, str] = WORK, **more: Any) -> Iterator[httpx.Client]:
    """The course's server, where the class has been graded by a test that asks too much of bram."""
    hand_in(site, work)
    with formgrader(site, **more) as page:
        assert page.post(COLLECT).json()["success"]
        page.post(RUN)
        assert ended(page)["failed"] == {}
        assert marks(page) == {name: MARKS.get(name, 0.0) for name in work}
        yield page


def by_publishing(site: Site, folder: Path, change: Callable[[str], str] = lambda text: text) -> Done:
    """Bring the assignment from a catalogue in which its first test is corrected."""
    catalogue = folder / "catalogue"
    if not catalogue.exists():
        write_source(catalogue)
    file = catalogue / "source" / "week-1" / "kwadraten.ipynb"
    file.write_text(change(file.read_text()))
    (result,) = release(
        "alpha",
        catalogue,
        ["week-1"],
        state=site.state,
        installation=site.installation,
        confinement=ConfinementSettings(),
        limits=TreeLimits(10**7, 50),
    )
    return result.done


def corrected(text: str) -> str:
    assert WRONG in text
    return text.replace(WRONG, CORRECTED)


def report_id(page: httpx.Client) -> str:
    found = re.search(r'again/([0-9a-f]{16})"', page.get(PAGE).text)
    assert found
    return found[1]


def table(page: httpx.Client, report: str) -> dict[tuple[str, str], dict[str, str]]:
    answer = page.get(f"{PAGE}/{report}.csv")
    assert answer.status_code == 200 and "attachment" in answer.headers["content-disposition"]
    rows = csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff")))
    return {(row["student"], row["task"]): row for row in rows}


def by_hand(page: httpx.Client, student: str, task: str, score: float) -> None:
    (work,) = [
        one
        for one in page.get("formgrader/api/submitted_notebooks/week-1/kwadraten").json()
        if one["student"] == student
    ]
    grades = page.get("formgrader/api/grades", params={"submission_id": work["id"]}).json()
    (grade,) = [one for one in grades if one["name"] == task]
    answer = page.put(f"formgrader/api/grade/{grade['id']}", json={"manual_score": score, "extra_credit": None})
    assert answer.json()["manual_score"] == score


def accepted(page: httpx.Client, report: str) -> None:
    assert page.post(f"{AGAIN}/{report}").status_code == 202
    wait_until(lambda: not page.get(f"{AGAIN}/{report}").json()["running"], 120)


def test_new_marks_count_when_a_teacher_has_accepted_them_and_marks_by_hand_stay(site: Site, tmp_path: Path) -> None:
    assert by_publishing(site, tmp_path) is Done.RELEASED
    with graded(site) as page:
        by_hand(page, "cas", "test-1", 0.5)
        before = marks(page)
        assert by_publishing(site, tmp_path, corrected) is Done.CORRECTED
        assert page.post(AGAIN).status_code == 202
        run = ended(page)
        assert (run["done"], run["failed"], run["again"]) == (len(WORK), {}, True)
        # Nothing counts yet, and nothing waits to be graded otherwise.
        assert marks(page) == before == {"anna": 3.0, "bram": 0.0, "cas": 0.5}
        assert page.post(RUN).json()["total"] == 0
        ended(page)
        report = report_id(page)
        shown = table(page, report)
        assert (shown["bram", "test-1"]["before"], shown["bram", "test-1"]["after"]) == ("0.0", "1.0")
        assert (shown["bram", ""]["before"], shown["bram", ""]["after"]) == ("0.0", "1.0")
        assert (shown["anna", ""]["before"], shown["anna", ""]["difference"]) == ("3.0", "0.0")
        assert shown["cas", "test-1"]["by_hand"] == "yes" and shown["cas", ""]["difference"] == "0.0"
        # A mark that is typed before the answer counts as well.
        by_hand(page, "anna", "test-2", 1.5)
        accepted(page, report)
        assert marks(page) == {"anna": 2.5, "bram": 1.0, "cas": 0.5}
        # What was replaced can be looked up; a second yes changes nothing.
        assert table(page, report)["bram", "test-1"]["before"] == "0.0"
        assert page.get(f"{PAGE}/{report}").status_code == 200
        assert page.post(f"{AGAIN}/{report}").json()["success"]
        assert marks(page) == {"anna": 2.5, "bram": 1.0, "cas": 0.5} and executions(site) == [3, 3]
        course = site.state.courses / "alpha"
        assert WRONG not in (course / "autograded/bram/week-1/kwadraten.ipynb").read_text()
        assert not (course / ".again/week-1").exists()


@pytest.mark.slow
def test_thrown_away_marks_change_nothing_and_marks_by_other_tests_are_refused(site: Site, tmp_path: Path) -> None:
    by_publishing(site, tmp_path)
    with graded(site) as page:
        by_publishing(site, tmp_path, corrected)
        before = marks(page)
        page.post(AGAIN)
        ended(page)
        first = report_id(page)
        assert page.delete(f"{AGAIN}/{first}").json()["success"]
        assert page.post(f"{AGAIN}/{first}").status_code == 409 and marks(page) == before
        page.post(AGAIN)
        ended(page)
        second = report_id(page)
        # A page that another teacher has open still shows the first.
        assert page.post(f"{AGAIN}/{first}").status_code == 409
        assert page.delete(f"{AGAIN}/{first}").status_code == 409
        # Corrected once more: those marks are by no test that there is.
        by_publishing(site, tmp_path, lambda text: text.replace(CORRECTED, "assert kwadraat(1) == 1"))
        assert "niet meer overnemen" in page.get(PAGE).text
        accepted(page, second)
        assert marks(page) == before
        # Work that was graded otherwise since keeps those marks.
        page.post(AGAIN)
        ended(page)
        third = report_id(page)
        hand_in(site, {"bram": RIGHT})
        assert page.post(COLLECT).json()["success"]
        page.post(RUN)
        ended(page)
        assert marks(page)["bram"] == 3.0
        accepted(page, third)
        assert marks(page)["bram"] == 3.0
        assert "meanwhile" in page.get(f"{PAGE}/{third}").text


@pytest.mark.slow
def test_other_graded_cells_are_refused_for_work_that_was_handed_in(site: Site, tmp_path: Path) -> None:
    by_publishing(site, tmp_path)
    hand_in(site, WORK)
    assert by_publishing(site, tmp_path, lambda text: text.replace('"points": 2', '"points": 4')) is Done.HANDED_IN
    assert by_publishing(site, tmp_path, lambda text: corrected(text.replace('"points": 4', '"points": 2'))) is (
        Done.CORRECTED
    )


@pytest.mark.slow
@pytest.mark.fault
def test_a_server_that_is_killed_while_new_marks_are_put_in_goes_on_when_it_is_back(site: Site, tmp_path: Path) -> None:
    by_publishing(site, tmp_path)
    running: list[Walled] = []
    with graded(site, running=running) as page:
        by_publishing(site, tmp_path, corrected)
        page.post(AGAIN)
        ended(page)
        report = report_id(page)
        # Somebody else keeps the gradebook locked, so that it is known where it is when it is killed.
        writer = sqlite3.connect(site.state.courses / "alpha" / "gradebook.db", isolation_level=None, timeout=60)
        writer.execute("BEGIN IMMEDIATE")
        assert page.post(f"{AGAIN}/{report}").status_code == 202
        assert page.get(f"{AGAIN}/{report}").json()["running"]
        running[0].signal(signal.SIGKILL)
        running[0].wait(60)
        writer.execute("ROLLBACK")
        writer.close()
    with formgrader(site) as page:
        wait_until(lambda: not page.get(f"{AGAIN}/{report}").json()["running"], 120)
        assert marks(page) == {"anna": 3.0, "bram": 1.0, "cas": 0.0}
        assert table(page, report)["bram", "test-1"]["before"] == "0.0"


@pytest.mark.slow
def test_a_gradebook_on_postgresql_is_graded_again(site: Site, tmp_path: Path, postgresql: Any) -> None:
    # The notebook environment has no driver of its own yet.
    drivers = tmp_path / "drivers"
    for folder in Path(psycopg.__file__).parents[1].glob("psycopg*"):
        shutil.copytree(folder, drivers / folder.name)
    database = postgresql.emptied()

    def change(wall: Wall) -> Wall:
        binds = (*wall.binds, Bind(drivers, Path("/opt/drivers")), Bind(postgresql.folder, Path("/opt/database")))
        path = f"{wall.environment['PYTHONPATH']}:/opt/drivers"
        return replace(wall, binds=binds, environment={**wall.environment, "PYTHONPATH": path})

    account = Path(postgresql.folder).owner()
    url = f"postgresql+psycopg://{account}@/{database}?host=/opt/database"
    settings = f"c.CourseDirectory.db_url = {url!r}\n"
    source = write_source(site.state.courses / "alpha") / "kwadraten.ipynb"
    with formgrader(site, settings=settings, change=change) as page:
        for action in ("assign", "release"):
            answer = page.post(f"formgrader/api/assignment/week-1/{action}").json()
            assert answer["success"], answer
    with graded(site, settings=settings, change=change) as page:
        # A teacher's own correction: nbgrader prepares the assignment again.
        source.write_text(corrected(source.read_text()))
        answer = page.post("formgrader/api/assignment/week-1/assign").json()
        assert answer["success"], answer
        page.post(AGAIN)
        assert ended(page)["failed"] == {}
        assert marks(page) == {"anna": 3.0, "bram": 0.0, "cas": 0.0}
        accepted(page, report_id(page))
        assert marks(page) == {"anna": 3.0, "bram": 1.0, "cas": 0.0}
    assert not (site.state.courses / "alpha" / "gradebook.db").exists()


@pytest.mark.slow
@pytest.mark.journey
def test_a_teacher_sees_the_marks_before_and_after_and_accepts_them(site: Site, tmp_path: Path) -> None:
    by_publishing(site, tmp_path)
    site.hub.titles |= {"anna": "Anna de Vries", "bram": "Bram Jansen", "cas": "Cas Bakker", "dirk": "Dirk de Boer"}
    pictures = Path(os.environ["LEERLAB_BUILD"]) / "screenshots"
    pictures.mkdir(parents=True, exist_ok=True)
    axe = Path(os.environ["LEERLAB_TEST_TOOLS"], "node_modules/axe-core/axe.min.js").read_text()
    with graded(site, {**WORK, "dirk": WORK["bram"]}) as page:
        by_hand(page, "dirk", "test-1", 0.5)
        by_publishing(site, tmp_path, corrected)
        handed_in = f"{page.base_url}formgrader/manage_submissions/week-1/"
        with browser_at(page) as desk:
            desk.on("dialog", lambda dialog: dialog.accept())
            desk.goto(handed_in)
            desk.get_by_text("Is een test verbeterd?").click()
            desk.screenshot(path=pictures / "opnieuw-nakijken-knop.png")
            desk.get_by_role("button", name="Alles opnieuw nakijken").click()
            expect(desk.get_by_text("Alles wordt opnieuw nagekeken.")).to_be_visible()
            desk.get_by_role("link", name="De verschillen bekijken").click(timeout=3 * ANSWERED)
            expect(desk.locator("[data-way=up]")).to_have_text("1")
            expect(desk.locator("[data-way=same]")).to_have_text("3")
            expect(desk.locator("tr[data-student=bram]")).to_contain_text("0 → 1")
            expect(desk.locator("tr[data-student=dirk]")).to_contain_text("jouw punten blijven; de tests gaven 0, nu 1")
            desk.screenshot(path=pictures / "verschillen-1280.png", full_page=True)
        for language, name in (("nl-NL", "verschillen-390.png"), ("en-GB", "differences-390.png")):
            with browser_at(page, language, 390) as phone:
                phone.goto(f"{page.base_url}{PAGE}")
                assert phone.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
                for scheme in ("light", "dark"):
                    phone.emulate_media(color_scheme=scheme)
                    phone.evaluate(axe)
                    found = phone.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
                    serious = [one for one in found if one["impact"] in {"serious", "critical"}]
                    assert not serious, json.dumps(serious, indent=1)[:3000]
                phone.emulate_media(color_scheme="light")
                phone.screenshot(path=pictures / name, full_page=True)
        with browser_at(page, "en-GB") as desk:
            desk.on("dialog", lambda dialog: dialog.accept())
            desk.goto(f"{page.base_url}{PAGE}")
            desk.screenshot(path=pictures / "differences-1280.png", full_page=True)
            with desk.expect_download() as download:
                desk.get_by_role("link", name="Download as CSV").click()
            assert "Bram Jansen" in Path(download.value.path()).read_text("utf-8-sig")
            desk.get_by_role("button", name="Accept the new marks").click()
            expect(desk.get_by_text("These marks were replaced.")).to_be_visible(timeout=ANSWERED)
            desk.screenshot(path=pictures / "differences-accepted-1280.png", full_page=True)
            desk.goto(handed_in)
            expect(desk.locator("tr[data-student=bram]")).to_contain_text("1 / 3")
            desk.get_by_text("Marks that were replaced").click()
            desk.screenshot(path=pictures / "marks-replaced-1280.png", full_page=True)
