"""A teacher makes an assignment from the template, proves it, publishes it and grades it; a student does it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from steps import GRADE, START, confirm, run_all_cells, save, write_into

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.timeout(600)]
COURSE, ASSIGNMENT = "avondcursus", "eerste-opdracht"
TITLE = "Rekenen in de avond"
CODE = Path(__file__).resolve().parents[2]


def test_from_template_to_feedback(running_site: Any, person: Any, tmp_path: Path) -> None:
    folder = tmp_path / COURSE
    subprocess.run([sys.executable, "-m", "cli", "course", "new", str(folder)], cwd=CODE, timeout=60, check=True)
    file = folder / "course.yaml"
    title = f"title: {{nl: {TITLE}, en: Evening sums}}"
    file.write_text(re.sub(r"title: \{nl: [^,]+, en: [^}]+\}", title, file.read_text(), count=1))
    told = running_site.leerlab("course", "check", str(folder), "--json", timeout=300)
    assert json.loads(told.stdout)["ok"]
    told = running_site.leerlab(
        "course", "publish", str(folder), "--json", "--teacher", "docent", "--student", "jelmer", timeout=300
    )
    assert json.loads(told.stdout)["live"]
    try:
        student_and_teacher(running_site, person, folder)
    finally:
        running_site.leerlab("course", "withdraw", COURSE)


def student_and_teacher(running_site: Any, person: Any, folder: Path) -> None:
    student = person("Jelmer")
    student.log_in(running_site.login_link())
    lab = student.page
    card = lab.get_by_role("listitem", name=TITLE, exact=True)
    card.locator(".next-title a").click()
    lab.wait_for_url(f"**/lab/tree/{COURSE}/{ASSIGNMENT}/**", timeout=START)
    expect(lab.locator(".jp-Notebook").first).to_be_visible(timeout=START)
    student.shows("sjabloon-open")
    for stands_there, text in answers(folder):
        write_into(lab, stands_there, text)
    run_all_cells(lab)
    save(lab)
    lab.get_by_role("menuitem", name="Nbgrader").click()
    lab.get_by_role("menuitem", name="Assignment List").click()
    # nbgrader's list opens on the first of somebody's courses.
    lab.locator("#course_list_dropdown").click()
    lab.locator("#course_list").get_by_text(COURSE, exact=True).click()
    row = lab.locator(".list_item, .row").filter(has_text=ASSIGNMENT).first
    row.get_by_text("Submit", exact=True).click()
    expect(lab.get_by_text(re.compile(r"20\d\d-\d\d-\d\d .*UTC")).first).to_be_visible()
    student.shows("sjabloon-ingeleverd")

    teacher = person("Docent")
    teacher.log_in(running_site.login_link())
    desk = teacher.page
    desk.get_by_role("listitem", name=TITLE, exact=True).get_by_role("link", name="Uitdelen en nakijken").click()
    desk.wait_for_url(f"**/user/course-{COURSE}/formgrader**", timeout=START)
    desk.get_by_role("button", name="Ophalen wat is ingeleverd").click()
    confirm(desk)
    desk.get_by_role("link", name="Bekijken en nakijken").click()
    handed_in = desk.locator("tbody tr").filter(has_text="Jelmer")
    handed_in.get_by_role("button", name="Laten nakijken door de tests").click()
    expect(desk.get_by_role("dialog").get_by_role("heading", name="Gelukt", exact=True)).to_be_visible(timeout=GRADE)
    confirm(desk)
    expect(handed_in).to_contain_text(re.compile("Met de hand nakijken|Nagekeken"))
    teacher.shows("sjabloon-nagekeken")
    desk.get_by_role("link", name="Opdrachten").first.click()
    desk.once("dialog", lambda asked: asked.accept())
    desk.get_by_role("button", name="Feedback geven aan iedereen").click()
    confirm(desk)

    lab.goto(f"http://portal.{running_site.site.hub.host}/courses/{COURSE}")
    lab.get_by_role("link", name=re.compile("Feedback lezen")).first.click()
    lab.wait_for_url(f"**/feedback/**/{ASSIGNMENT}.html", timeout=START)
    feedback = lab.frame_locator(".jp-HTMLViewer iframe")
    expect(feedback.get_by_text("Je hebt 4 van de 6 punten.")).to_be_visible(timeout=START)
    student.shows("sjabloon-feedback")


def answers(folder: Path) -> list[tuple[str, str]]:
    """What the template's own solution writes, by a text of the cell that it belongs in."""
    cells = json.loads((folder / "source" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb").read_text())["cells"]
    found = []
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code" or "### BEGIN SOLUTION" not in source:
            continue
        solution = re.sub(r"^[ \t]*### (BEGIN|END) SOLUTION[ \t]*\n?", "", source, flags=re.M)
        found.append((source.splitlines()[0], solution))
    return found
