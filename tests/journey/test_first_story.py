"""The foundation's story, every change of state by a click: a student does an assignment, a teacher grades it, the
student reads the feedback."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

pytestmark = [pytest.mark.journey, pytest.mark.timeout(400)]

COURSE, ASSIGNMENT = "ai-in-je-vak", "herken-ai"
START = 60_000
GRADE = 120_000
COMMENT = "Goed gezien. Denk ook aan wie de fout herstelt."
ANSWER = "Ik denk aan de mensen die de vrachtbrieven schrijven: een fout van de AI kost hun tijd."


def open_assignments(page: Page) -> None:
    """nbgrader's list of assignments, from the lab's own menu."""
    page.get_by_role("menuitem", name="Nbgrader").click()
    page.get_by_role("menuitem", name="Assignment List").click()
    page.get_by_role("tab", name="Assignments").click()
    expect(page.get_by_text("Downloaded assignments", exact=True)).to_be_visible()
    expect(page.get_by_text("Submit", exact=True).first).to_be_visible(timeout=START)


def run_all_cells(page: Page) -> None:
    """Run everything, once there is a kernel, and wait until it is idle again."""
    expect(page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").first).to_be_visible(timeout=START)
    page.get_by_role("menuitem", name="Uitvoeren").click()
    page.locator(".lm-Menu-item[data-command='runmenu:run-all']").click()
    expect(page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").first).to_be_visible(timeout=GRADE)


def write_into(page: Page, stands_there: str, text: str) -> None:
    """Replace what stands in the cell that a learner recognises by its text."""
    cell = page.locator(".jp-CodeCell").filter(has_text=stands_there).filter(has_text="TYP HIER JE CODE")
    cell.scroll_into_view_if_needed()
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(text)


def solve_first_exercises(page: Page) -> None:
    """Fill in the first two exercises, each in the cell where it belongs: what is AI, and a function."""
    write_into(
        page,
        "kenteken = None",
        "kenteken = True\nkoeling = False\naankomst = True\ngewicht = False\nslagboom = False",
    )
    write_into(page, "def nauwkeurigheid", "def nauwkeurigheid(echt, gelezen):\n    return (echt == gelezen).mean()")


def write_reflection(page: Page) -> None:
    """Answer the question that the teacher grades by hand."""
    cell = page.locator(".jp-MarkdownCell").filter(has_text="TYP HIER JE ANTWOORD").last
    cell.scroll_into_view_if_needed()
    cell.dblclick()
    editor = cell.locator(".cm-content")
    editor.click()
    page.keyboard.press("Control+A")
    page.keyboard.type(ANSWER)
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Control+S")


def row_of(page: Page, text: str) -> Locator:
    return page.locator("tbody tr").filter(has_text=text)


def confirm(page: Page) -> None:
    """Close formgrader's message, after it said that all went well."""
    expect(page.locator(".modal-title").filter(has_text="Success")).to_be_visible(timeout=GRADE)
    page.get_by_role("button", name="OK").click()
    expect(page.locator(".modal.in")).to_have_count(0)


def test_a_student_hands_in_a_teacher_grades_and_the_student_reads_the_feedback(
    login_link: Callable[[], str], person: Any
) -> None:
    student = person("Sanne")
    student.log_in(login_link())
    student.shows("mijn-cursussen")
    lab = student.page
    lab.get_by_role("link", name=re.compile("Herken AI", re.I)).click()
    lab.wait_for_url(f"**/lab/tree/{COURSE}/{ASSIGNMENT}/**", timeout=START)
    expect(lab.locator(".jp-Notebook").first).to_be_visible(timeout=START)
    expect(lab.get_by_role("heading", name="Herken AI om je heen")).to_be_visible(timeout=START)
    student.shows("opdracht-open")
    solve_first_exercises(lab)
    run_all_cells(lab)
    student.shows("eerste-oefeningen")
    write_reflection(lab)
    student.shows("opdracht-gedaan")
    open_assignments(lab)
    lab.get_by_text("Submit", exact=True).first.click()
    expect(lab.get_by_text(re.compile(r"20\d\d-\d\d-\d\d .*UTC"))).to_have_count(1)
    student.shows("ingeleverd")

    teacher = person("Docent")
    teacher.log_in(login_link())
    teacher.shows("mijn-cursussen")
    desk = teacher.page
    desk.get_by_role("link", name="Uitdelen en nakijken").click()
    desk.wait_for_url(f"**/user/course-{COURSE}/formgrader**", timeout=START)
    assignment = row_of(desk, ASSIGNMENT)
    assignment.locator("td.collect a").click()
    confirm(desk)
    teacher.shows("opgehaald")
    assignment.locator("td.num-submissions a").click()
    handed_in = row_of(desk, "sanne")
    handed_in.locator("td.autograde a").click()
    confirm(desk)
    expect(handed_in).to_contain_text(re.compile("needs manual grading|graded"))
    expect(handed_in).to_contain_text("3 / 10")
    teacher.shows("automatisch-nagekeken")

    desk.get_by_role("link", name="Manual Grading").click()
    desk.get_by_role("link", name=ASSIGNMENT).first.click()
    desk.get_by_role("link", name=ASSIGNMENT).last.click()
    desk.get_by_role("link", name=re.compile("Submission|sanne", re.I)).first.click()
    expect(desk.get_by_text(ANSWER)).to_be_visible()
    with desk.expect_response(lambda answer: "/api/grade/" in answer.url and answer.request.method == "PUT"):
        score = desk.locator("input.score").last
        score.fill("1")
        score.press("Tab")
    with desk.expect_response(lambda answer: "/api/comment/" in answer.url and answer.request.method == "PUT"):
        comment = desk.locator("textarea.comment").last
        comment.fill(COMMENT)
        comment.press("Tab")
    teacher.shows("met-de-hand-nagekeken")

    desk.get_by_role("link", name="Manual Grading").click()
    desk.get_by_role("link", name="Manage Assignments").click()
    assignment = row_of(desk, ASSIGNMENT)
    assignment.locator("td.generate-feedback a").click()
    confirm(desk)
    assignment.locator("td.release-feedback a").click()
    confirm(desk)
    teacher.shows("terugkoppeling-gegeven")

    lab.get_by_text("Fetch Feedback", exact=True).click()
    student.shows("terugkoppeling-klaar")
    lab.get_by_text("view feedback", exact=False).first.click()
    lab.locator(".jp-DirListing-item").filter(has_text=f"{ASSIGNMENT}.html").dblclick()
    feedback = lab.frame_locator(".jp-HTMLViewer iframe")
    expect(feedback.get_by_text(COMMENT)).to_be_visible(timeout=START)
    expect(feedback.get_by_text("(Score: 4.0 / 10.0)")).to_be_visible()
    expect(feedback.get_by_text("HIDDEN TESTS")).to_have_count(0)
    student.shows("terugkoppeling")
