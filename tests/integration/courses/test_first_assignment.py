"""What is promised of an assignment, proved on the first one of the catalogue with the real nbgrader."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

import nbformat
import pytest
from course_grading import (
    COURSE,
    REFERENCE,
    REFERENCE_AGAIN,
    UNTOUCHED,
    AssignmentFolder,
    Case,
    Graded,
    cell_of,
    graded_as,
)
from reading_ease import reading_ease

from courses.catalogue import Course

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

ASSIGNMENT = AssignmentFolder(COURSE, "herken-ai")
WRONG, OTHER = ASSIGNMENT.cases("wrong"), ASSIGNMENT.cases("other")
BY_HAND = "reflectie"
NOTEBOOK_SECONDS = 60
SUBMISSION_SECONDS = 16
# Douma's scale: 80-90 is easy, 65-80 fairly easy. Dutch texts at B1 are seldom below 65; a text for mbo 2-3 should
# stay clear of it.
EASIEST_ALLOWED = 70


def marked(cell: nbformat.NotebookNode) -> bool:
    return bool(cell.metadata.get("nbgrader", {}).get("grade"))


def in_order(notebook: nbformat.NotebookNode) -> list[str]:
    """The cells that the checks grade, as a learner meets them."""
    return [graded_as(cell) for cell in notebook.cells if marked(cell) and cell.cell_type == "code"]


def said(graded: Graded, student: str, grade_id: str) -> str:
    """What one cell said when it failed, or nothing."""
    outputs = cell_of(graded.notebooks[student], grade_id).get("outputs", [])
    return "\n".join(output.evalue for output in outputs if output.output_type == "error")


def seconds_of(notebook: nbformat.NotebookNode) -> float:
    """How long the code cells took, by the times that nbclient wrote down."""
    moments = [
        datetime.datetime.fromisoformat(moment)
        for cell in notebook.cells
        for moment in cell.metadata.get("execution", {}).values()
    ]
    assert moments, "nbclient wrote no times"
    return (max(moments) - min(moments)).total_seconds()


def test_the_description_fits_the_folders_and_measures_every_outcome() -> None:
    course = Course.load(COURSE)
    assert [one.id for one in course.assignments()] == [folder.name for folder in sorted((COURSE / "source").iterdir())]


def test_the_source_is_a_valid_notebook_without_outputs(assignment: AssignmentFolder) -> None:
    notebook = assignment.source
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


def test_checks_are_locked_and_eight_tasks_carry_ten_points(assignment: AssignmentFolder) -> None:
    tasks = [cell.metadata.nbgrader for cell in assignment.source.cells if marked(cell)]
    assert [task.points for task in tasks] == [1, 2, 1, 1, 1, 1, 1, 2]
    assert all(task.locked != task.solution for task in tasks)
    assert [task.grade_id for task in tasks if task.solution] == [BY_HAND]


def test_students_get_no_solution_and_no_hidden_test(
    assignment: AssignmentFolder, release: Path, released: nbformat.NotebookNode
) -> None:
    hidden = []
    for cell in assignment.source.cells:
        for block in re.findall(r"### BEGIN (?:SOLUTION|HIDDEN TESTS)\n(.*?)### END", cell.source, re.DOTALL):
            hidden += [line.strip() for line in block.splitlines() if len(line.strip()) > 8]
    assert len(hidden) > 10
    files = {file.name: file.read_text(encoding="utf-8") for file in release.rglob("*") if file.is_file()}
    assert set(files) == {"herken-ai.ipynb", "vrachtbrief.py"}
    text = "\n".join([cell.source for cell in released.cells] + list(files.values()))
    assert [line for line in hidden if line in text] == []
    assert "HIDDEN TESTS" not in text
    assert "BEGIN SOLUTION" not in text


def test_students_find_dutch_words_where_the_answers_were(released: nbformat.NotebookNode) -> None:
    own = [cell for cell in released.cells if cell.metadata.get("nbgrader", {}).get("solution")]
    assert len(own) == 8
    assert all("TYP HIER JE " in cell.source for cell in own)
    assert not any("YOUR" in cell.source for cell in released.cells)


@pytest.mark.parametrize("student", [REFERENCE, REFERENCE_AGAIN])
def test_the_reference_gets_full_marks_twice_and_the_reflection_waits_for_the_teacher(
    graded: Graded, student: str
) -> None:
    marks = dict(graded.grades[student])
    by_hand = marks.pop(BY_HAND)
    assert by_hand.by_hand
    assert by_hand.auto is None
    assert {cell: grade.auto for cell, grade in marks.items()} == {cell: grade.most for cell, grade in marks.items()}
    assert sum(grade.most for grade in marks.values()) == 8


def test_an_untouched_release_gets_nothing_and_is_told_to_begin(graded: Graded) -> None:
    assert {grade.auto for grade in graded.grades[UNTOUCHED].values()} == {0}
    for cell in graded.notebooks[UNTOUCHED].cells:
        if marked(cell) and cell.cell_type == "code":
            assert re.search(r"Vul (deze cel nog|eerst de cel hierboven) in", said(graded, UNTOUCHED, graded_as(cell)))


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.name)
def test_a_wrong_solution_loses_marks_where_it_is_wrong_and_is_told_why(graded: Graded, case: Case) -> None:
    grades = graded.grades[case.name]
    lost = [cell for cell in in_order(graded.notebooks[case.name]) if grades[cell].auto != grades[cell].most]
    # A wrong function may cost marks in later cells that call it; the first loss is where the learner went wrong.
    assert lost[0] == case.loses
    assert grades[case.loses].auto == 0
    assert case.message in said(graded, case.name, case.loses)


def test_the_misconceptions_differ_and_none_shares_its_message() -> None:
    assert len({case.message for case in WRONG}) == len(WRONG)


def test_the_final_test_is_read_only_where_it_is_taken(assignment: AssignmentFolder) -> None:
    reads = [
        graded_as(cell) or cell.id
        for cell in assignment.source.cells
        if cell.cell_type == "code" and "X_eind" in cell.source and not marked(cell)
    ]
    assert reads == ["start", "eindtoets"]


def test_each_graded_task_has_wrong_solutions_with_messages_of_their_own(assignment: AssignmentFolder) -> None:
    assert len(WRONG) >= 5
    assert {case.loses for case in WRONG} | {BY_HAND} == {
        graded_as(cell) for cell in assignment.source.cells if marked(cell)
    }


@pytest.mark.parametrize("case", OTHER, ids=lambda case: case.name)
def test_a_correct_solution_in_another_style_keeps_full_marks(graded: Graded, case: Case) -> None:
    marks = {cell: grade for cell, grade in graded.grades[case.name].items() if cell != BY_HAND}
    assert {cell: grade.auto for cell, grade in marks.items()} == {cell: grade.most for cell, grade in marks.items()}


def test_restart_and_run_all_stays_within_a_minute(graded: Graded) -> None:
    assert seconds_of(graded.notebooks[REFERENCE]) < NOTEBOOK_SECONDS
    assert graded.seconds < SUBMISSION_SECONDS * len(graded.notebooks)


def test_the_first_cell_runs_alone(graded: Graded) -> None:
    first = next(cell for cell in graded.notebooks[UNTOUCHED].cells if cell.cell_type == "code")
    assert "import" in first.source
    assert {output.output_type for output in first.outputs} == {"display_data", "stream"}


def test_every_picture_has_a_text_alternative(graded: Graded) -> None:
    pages = [
        output.data["text/html"]
        for cell in graded.notebooks[REFERENCE].cells
        for output in cell.get("outputs", [])
        if "text/html" in output.get("data", {})
    ]
    pictures = [tag for page in pages for tag in re.findall(r"<img[^>]*>", page)]
    assert pictures
    assert all(re.search(r'alt="[^"]{20,}"', tag) for tag in pictures)
    assert not any(
        "image/png" in output.get("data", {})
        for cell in graded.notebooks[REFERENCE].cells
        for output in cell.get("outputs", [])
    )


def test_the_text_is_easy_to_read(released: nbformat.NotebookNode) -> None:
    texts = [cell.source for cell in released.cells if cell.cell_type == "markdown"]
    ease = reading_ease("\n\n".join(texts))
    assert ease.score >= EASIEST_ALLOWED
    assert ease.longest_sentence <= 25


def test_the_measure_of_reading_tells_easy_from_hard() -> None:
    easy = "De computer leest een cijfer. Soms gaat het fout. Dan rijdt de wagen naar de verkeerde plaats."
    hard = (
        "De betrouwbaarheid van geautomatiseerde postcodeherkenning is afhankelijk van representatieve "
        "trainingsgegevens, waarbij onzorgvuldigheden in de gegevensverzameling doorwerken in de voorspellingen."
    )
    assert reading_ease(easy).score > EASIEST_ALLOWED > reading_ease(hard).score
    assert reading_ease(hard).longest_sentence == 19
