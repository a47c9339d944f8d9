"""The catalogue's first assignment, released once, and every imagined learner's work graded once."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

# pytest's importlib mode puts no test folder on the path.
sys.path.insert(0, str(Path(__file__).parent))

from course_grading import (
    COURSE,
    REFERENCE,
    REFERENCE_AGAIN,
    UNTOUCHED,
    AssignmentFolder,
    Case,
    CourseFolder,
    Graded,
    filled_in,
    read,
    solutions,
)  # fmt: skip


@pytest.fixture(scope="session")
def assignment() -> AssignmentFolder:
    return AssignmentFolder(COURSE, "herken-ai")


@pytest.fixture(scope="session")
def course_folder(assignment: AssignmentFolder) -> Iterator[CourseFolder]:
    """A course folder in which the assignment was made ready for students."""
    place = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    shutil.copytree(COURSE / "source", place / "source", ignore=shutil.ignore_patterns("__pycache__"))
    course = CourseFolder(place, COURSE.name)
    course.nbgrader("generate_assignment", assignment.name)
    yield course
    shutil.rmtree(place)


@pytest.fixture(scope="session")
def release(course_folder: CourseFolder, assignment: AssignmentFolder) -> Path:
    """The folder that students get."""
    return course_folder.place / "release" / assignment.name


@pytest.fixture(scope="session")
def released(release: Path, assignment: AssignmentFolder) -> nbformat.NotebookNode:
    """The notebook that students get."""
    return read(release / f"{assignment.name}.ipynb")


@pytest.fixture(scope="session")
def graded(
    course_folder: CourseFolder, assignment: AssignmentFolder, release: Path, released: nbformat.NotebookNode
) -> Graded:
    """Every imagined learner's work, graded once for all tests."""
    reference = solutions(assignment.source)
    cases = [Case(REFERENCE, {}), Case(REFERENCE_AGAIN, {}), *assignment.cases("wrong"), *assignment.cases("other")]
    files = [file for file in release.iterdir() if file.suffix != ".ipynb"]
    for case in cases:
        course_folder.hand_in(case.name, assignment.name, files, filled_in(released, {**reference, **case.cells}))
    course_folder.hand_in(UNTOUCHED, assignment.name, files, released)
    names = [case.name for case in cases] + [UNTOUCHED]
    began = time.monotonic()
    course_folder.autograde(assignment.name, names)
    seconds = time.monotonic() - began
    autograded = course_folder.place / "autograded"
    notebooks = {name: read(autograded / name / assignment.name / f"{assignment.name}.ipynb") for name in names}
    return Graded(course_folder.grades(assignment.name), notebooks, seconds)
