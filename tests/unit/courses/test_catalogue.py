"""A course of the catalogue is read whole, or refused with the line that is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from base.errors import InputError
from courses.catalogue import Course
from courses.model import Track
from grading.when import GradeRule

CODE = Path(__file__).parents[3]
SMALL = CODE / "tests" / "data" / "courses" / "klein"
CATALOGUE = sorted(file.parent for file in (CODE / "courses").glob("*/*/course.yaml"))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SMALL, tmp_path / "klein"))


def change(course: Path, old: str, new: str) -> None:
    text = (course / "course.yaml").read_text(encoding="utf-8")
    assert text.count(old) == 1
    (course / "course.yaml").write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize("folder", CATALOGUE, ids=lambda folder: folder.name)
def test_every_course_of_the_catalogue_can_be_read_and_lies_in_the_folder_of_its_track(folder: Path) -> None:
    course = Course.load(folder)
    assert course.description.id == folder.name
    assert course.description.track.value == folder.parent.name


def test_the_catalogue_is_not_empty() -> None:
    assert CATALOGUE


def test_a_course_tells_its_title_and_summary_in_both_languages_and_where_its_assignments_are() -> None:
    course = Course.load(SMALL)
    assert (course.title("nl"), course.title("en")) == ("Klein", "Small")
    assert course.summary("nl").startswith("Een kleine") and course.summary("en").startswith("A small")
    assert course.description.track is Track.MBO
    (assignment,) = course.assignments()
    assert list(course.source(assignment.id).glob("*.ipynb"))
    assert not course.teacher(assignment.id).is_relative_to(course.folder / "source")


def test_every_problem_is_told_with_its_file_and_line(copy: Path) -> None:
    change(copy, "track: mbo\n", "track: vmbo\n")
    change(copy, "hours: 1\n", "hours: 0\nkleur: rood\n")
    with pytest.raises(InputError) as refused:
        Course.load(copy)
    file = copy / "course.yaml"
    lines = refused.value.what.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [f"{file}:{line}" for line in (7, 9, 10)]
    for word, line in zip(("track", "hours", "kleur"), lines, strict=True):
        assert word in line


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    outcomes: [optellen]", "    outcomes: [rekenen]", "unknown outcome rekenen"),
        (
            "outcomes:\n  - id: optellen",
            "outcomes:\n  - id: optellen\n    text: {nl: a, en: b}\n  - id: optellen",
            "same id",
        ),
        ("assignments:", "  - {id: lezen, text: {nl: a, en: b}}\nassignments:", "no assignment measures"),
        ("id: klein\n", "id: Klein\n", "course.yaml:2: id"),
        ("id: klein\n", "id: &klein klein\n", "course.yaml:2: "),
        ("id: klein\n", "id: [klein\n", "not YAML"),
    ],
    ids=["unknown outcome", "outcome twice", "outcome without a task", "capital in an id", "anchor", "not YAML"],
)
def test_a_course_that_does_not_fit_together_is_refused(copy: Path, old: str, new: str, said: str) -> None:
    change(copy, old, new)
    with pytest.raises(InputError, match=said):
        Course.load(copy)


def test_a_missing_description_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"course\.yaml:1: the file cannot be read"):
        Course.load(tmp_path)


def test_an_assignment_without_a_folder_or_without_a_notebook_is_refused(copy: Path) -> None:
    notebook = copy / "source" / "optellen" / "optellen.ipynb"
    notebook.unlink()
    with pytest.raises(InputError, match="holds no notebook"):
        Course.load(copy)
    notebook.parent.rmdir()
    with pytest.raises(InputError, match="optellen is missing"):
        Course.load(copy)


def test_an_assignment_is_graded_as_it_says_itself_else_as_its_course_says(copy: Path) -> None:
    assert Course.load(copy).description.graded() == {}
    (copy / "course.yaml").write_text((copy / "course.yaml").read_text() + "grade: on_submit\n")
    assert Course.load(copy).description.graded() == {"optellen": GradeRule.parse("on_submit")}
    change(copy, "    minutes: 5\n", "    minutes: 5\n    grade: by_hand\n")
    assert Course.load(copy).description.graded() == {}
    change(copy, "    grade: by_hand\n", "    grade: at night\n")
    with pytest.raises(InputError, match="'at night' is no time to grade"):
        Course.load(copy)
