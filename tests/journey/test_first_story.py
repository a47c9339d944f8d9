"""The foundation's story, every change of state by a click: a student does an assignment, a teacher grades it, the
student reads the feedback."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from steps import (
    ASSIGNMENT_TITLE,
    autograde,
    collect,
    give_feedback,
    hand_in,
    open_assignment,
    open_formgrader,
    read_feedback,
    run_all_cells,
    save,
    solve_first_exercises,
    write_reflection,
)

pytestmark = [pytest.mark.journey, pytest.mark.timeout(1200)]

COMMENT = "Goed gezien. Denk ook aan wie de fout herstelt."
ANSWER = "Ik denk aan de mensen die de vrachtbrieven schrijven: een fout van de AI kost hun tijd."


def grade_by_hand(desk: Page) -> None:
    """Points and a comment for the open question."""
    desk.get_by_role("navigation", name="Nakijken").get_by_role("link", name="Met de hand nakijken").click()
    desk.get_by_role("link", name=ASSIGNMENT_TITLE).click()
    desk.get_by_role("link", name=re.compile("Sanne")).click()
    expect(desk.get_by_text(ANSWER)).to_be_visible()
    # More than it is worth is refused, in words, and not kept.
    score = desk.locator("input.score").last
    score.fill("7")
    score.press("Tab")
    expect(desk.get_by_text("Niet bewaard: dit is hoogstens 2 punten waard.")).to_be_visible()
    with desk.expect_response(lambda answer: "/api/grade/" in answer.url and answer.request.method == "PUT"):
        score.fill("1")
        score.press("Tab")
    with desk.expect_response(lambda answer: "/api/comment/" in answer.url and answer.request.method == "PUT"):
        comment = desk.locator("textarea.comment").last
        comment.fill(COMMENT)
        comment.press("Tab")


def test_a_student_hands_in_a_teacher_grades_and_the_student_reads_the_feedback(
    login_link: Callable[[], str], person: Any
) -> None:
    student = person("Sanne")
    student.log_in(login_link())
    student.shows("mijn-cursussen")
    open_assignment(student)
    solve_first_exercises(student.page)
    run_all_cells(student.page)
    student.shows("eerste-oefeningen")
    write_reflection(student.page, ANSWER)
    save(student.page)
    student.shows("opdracht-gedaan")
    hand_in(student)

    teacher = person("Docent")
    teacher.log_in(login_link())
    teacher.shows("mijn-cursussen")
    open_formgrader(teacher)
    collect(teacher)
    autograde(teacher, "Sanne")
    grade_by_hand(teacher.page)
    teacher.shows("met-de-hand-nagekeken")
    give_feedback(teacher)
    teacher.shows_portal("nakijken")
    teacher.page.get_by_role("link", name="Terug naar de cursus").click()
    expect(teacher.page.get_by_role("heading", name="AI in je vak", level=1)).to_be_visible()
    read_feedback(student, COMMENT, "Je hebt 4 van de 10 punten.")
