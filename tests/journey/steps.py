"""What people do at the pages, step by step: the journeys are made of these."""

from __future__ import annotations

import re
from typing import Protocol

from playwright.sync_api import Locator, Page, expect

COURSE, COURSE_TITLE = "ai-in-je-vak", "AI in je vak"
ASSIGNMENT, ASSIGNMENT_TITLE = "herken-ai", "Herken AI om je heen"
# Milliseconds that nobody waits on a machine that is free: a lab took 58 s to start on one that was not.
START = 240_000
GRADE = 300_000


class Somebody(Protocol):
    """A person at a browser, as `conftest.Person` is."""

    page: Page

    def shows(self, step: str) -> None:
        """Keep a picture of what this person sees now."""


def open_assignment(student: Somebody) -> None:
    """From the portal, by the assignment's own link, to its notebook in the lab."""
    lab = student.page
    lab.get_by_role("link", name=re.compile("Herken AI", re.I)).first.click()
    lab.wait_for_url(f"**/lab/tree/{COURSE}/{ASSIGNMENT}/**", timeout=START)
    expect(lab.locator(".jp-Notebook").first).to_be_visible(timeout=START)
    expect(lab.get_by_role("heading", name=ASSIGNMENT_TITLE)).to_be_visible(timeout=START)
    student.shows("opdracht-open")


def run_all_cells(page: Page) -> None:
    """Run everything, once there is a kernel, and wait until it is idle again."""
    idle(page)
    page.get_by_role("menuitem", name="Uitvoeren").click()
    page.locator(".lm-Menu-item[data-command='runmenu:run-all']").click()
    idle(page)


def idle(page: Page) -> None:
    """Wait until there is a kernel that has nothing to do; the notebook's own circle says so before there is one."""
    status = page.locator("#jp-main-statusbar").get_by_text(re.compile(r"\| (Inactief|Idle)$"))
    expect(status).to_be_visible(timeout=GRADE)
    expect(page.locator(".jp-InputPrompt").filter(has_text="[*]")).to_have_count(0, timeout=GRADE)


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


def write_reflection(page: Page, answer: str) -> None:
    """Answer the question that the teacher grades by hand."""
    cell = page.locator(".jp-MarkdownCell").filter(has_text="TYP HIER JE ANTWOORD").last
    cell.scroll_into_view_if_needed()
    cell.dblclick()
    editor = cell.locator(".cm-content")
    editor.click()
    page.keyboard.press("Control+A")
    page.keyboard.type(answer)
    page.keyboard.press("Shift+Enter")


def save(page: Page) -> None:
    """Save the notebook, and see that nothing unsaved is left."""
    page.keyboard.press("Control+S")
    expect(page.locator(".lm-DockPanel-tabBar .lm-mod-current.jp-mod-dirty")).to_have_count(0)


def hand_in(student: Somebody) -> None:
    """nbgrader's list of assignments, from the lab's own menu, and Submit."""
    lab = student.page
    lab.get_by_role("menuitem", name="Nbgrader").click()
    lab.get_by_role("menuitem", name="Assignment List").click()
    lab.get_by_role("tab", name="Assignments").click()
    expect(lab.get_by_text("Downloaded assignments", exact=True)).to_be_visible()
    submit = lab.get_by_text("Submit", exact=True).first
    expect(submit).to_be_visible(timeout=START)
    submit.click()
    expect(lab.get_by_text(re.compile(r"20\d\d-\d\d-\d\d .*UTC"))).to_have_count(1)
    student.shows("ingeleverd")


def row_of(page: Page, text: str | re.Pattern[str]) -> Locator:
    """The row of a grading table that holds this text."""
    return page.locator("tbody tr").filter(has_text=text)


def confirm(page: Page) -> None:
    """Close the message of a grading page, after it said that all went well."""
    expect(page.get_by_role("dialog").get_by_role("heading", name="Gelukt", exact=True)).to_be_visible(timeout=GRADE)
    with page.expect_navigation():
        page.get_by_role("button", name="OK").click()


def open_formgrader(teacher: Somebody) -> None:
    """From the portal to the course's grading pages."""
    course = teacher.page.get_by_role("listitem", name=COURSE_TITLE, exact=True)
    course.get_by_role("link", name="Uitdelen en nakijken").click()
    teacher.page.wait_for_url(f"**/user/course-{COURSE}/formgrader**", timeout=START)
    expect(teacher.page.get_by_role("heading", name=ASSIGNMENT_TITLE)).to_be_visible(timeout=START)


def collect(teacher: Somebody) -> None:
    """Fetch what was handed in."""
    teacher.page.get_by_role("button", name="Ophalen wat is ingeleverd").click()
    confirm(teacher.page)
    teacher.shows("opgehaald")


def autograde(teacher: Somebody, student: str | re.Pattern[str]) -> None:
    """Let the tests of one student's work run."""
    desk = teacher.page
    desk.get_by_role("link", name="Bekijken en nakijken").click()
    handed_in = row_of(desk, student)
    handed_in.get_by_role("button", name="Laten nakijken door de tests").click()
    expect(desk.get_by_role("dialog").get_by_role("heading", name="Gelukt", exact=True)).to_be_visible(timeout=GRADE)
    # Nothing in the log looks as if something were wrong.
    said = desk.locator("dialog pre").text_content() or ""
    assert "WARN" not in said, said
    confirm(desk)
    expect(handed_in).to_contain_text(re.compile("Met de hand nakijken|Nagekeken"))
    expect(handed_in).to_contain_text("3 / 10")
    teacher.shows("automatisch-nagekeken")


def give_feedback(teacher: Somebody) -> None:
    """Give everybody their feedback, from any of the grading pages."""
    desk = teacher.page
    desk.get_by_role("link", name="Opdrachten").first.click()
    desk.once("dialog", lambda asked: asked.accept())
    desk.get_by_role("button", name="Feedback geven aan iedereen").click()
    confirm(desk)
    teacher.shows("terugkoppeling-gegeven")


def read_feedback(student: Somebody, *expected: str) -> None:
    """From the portal to the feedback, which shows each of these texts and no hidden test."""
    lab = student.page
    lab.goto(re.sub(r"//[^.]+\.", "//portal.", lab.url.split("/user/")[0]))
    expect(lab.get_by_text("Feedback staat klaar")).to_be_visible()
    student.shows("terugkoppeling-klaar")
    lab.get_by_role("link", name="Feedback lezen").first.click()
    lab.wait_for_url(f"**/feedback/**/{ASSIGNMENT}.html", timeout=START)
    feedback = lab.frame_locator(".jp-HTMLViewer iframe")
    for text in expected:
        expect(feedback.get_by_text(text)).to_be_visible(timeout=START)
    expect(feedback.get_by_text("HIDDEN TESTS")).to_have_count(0)
    student.shows("terugkoppeling")
