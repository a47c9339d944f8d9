"""The class that grading is measured with, and what is said of marks that differ."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from bench.graded_course import CHECKS, Kind, benign, class_of_30, read_notebook, write_course
from bench.grading_peers import differences


def test_the_class_has_thirty_students_of_whom_three_do_harm() -> None:
    work = class_of_30()
    assert Counter(one.kind for one in work) == {Kind.BENIGN: 27, Kind.LOOPS: 2, Kind.KILLS: 1}
    assert len({one.student for one in work}) == 30
    assert {work[0].kind, work[-1].kind} == {Kind.BENIGN}


def test_the_same_number_always_hands_in_the_same_and_a_class_is_no_one_answer() -> None:
    small, large = benign(30), benign(1000)
    assert large[:30] == small
    assert len({tuple(one.answers.values()) for one in large}) > 100


def test_the_assignment_has_eight_checks_of_which_some_are_hidden_in_part(tmp_path: Path) -> None:
    write_course(tmp_path)
    (file,) = tmp_path.glob("source/*/*.ipynb")
    cells = read_notebook(file)["cells"]
    points = [
        cell["metadata"]["nbgrader"]["points"] for cell in cells if cell["metadata"].get("nbgrader", {}).get("grade")
    ]
    assert points == [1] * len(CHECKS) == [1] * 8
    assert sum("BEGIN HIDDEN TESTS" in cell["source"] for cell in cells) == 2


def test_a_student_is_given_answers_and_nothing_else_of_the_notebook_changes(tmp_path: Path) -> None:
    write_course(tmp_path)
    (file,) = tmp_path.glob("source/*/*.ipynb")
    released = read_notebook(file)
    one = benign(1)[0]
    written = one.written_into(released)
    changed = {
        cell["metadata"]["nbgrader"]["grade_id"]
        for before, cell in zip(released["cells"], written["cells"], strict=True)
        if before["source"] != cell["source"]
    }
    assert changed <= set(one.answers)
    assert all(
        before["metadata"] == cell["metadata"] for before, cell in zip(released["cells"], written["cells"], strict=True)
    )


def test_marks_that_differ_are_named_with_both_sums_and_marks_that_are_missing_differ() -> None:
    ours = {"anna": {"a": 1.0, "b": 0.0}, "bram": {"a": 1.0, "b": 1.0}, "cas": {"a": 0.0, "b": 0.0}}
    kinds = dict.fromkeys(ours, "benign") | {"bram": "kills"}
    assert differences("x", ours, ours, kinds) == ["marks: the same as of x, check by check, for all 3 students"]
    theirs = {"anna": {"a": 0.0, "b": 1.0}, "bram": {"a": None, "b": None}, "cas": {"a": 0.0, "b": 0.0}}
    (line,) = differences("x", ours, theirs, kinds)
    assert "anna (benign) 1 here, 1 there" in line and "bram (kills) 2 here, 0 there" in line and "cas" not in line
    (line,) = differences("x", ours, {}, kinds)
    assert "cas (benign) 0 here, 0 there" in line
