"""The assignment that grading is measured with, and what a class hands in for it.

One notebook: eight checks of one point around a small PyTorch model that is trained in it. Every answer is one of a few
ways to write one of five functions, so that a class of any size is made from numbers alone and is the same each time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

Notebook = dict[str, Any]
"""A notebook as its file has it: JSON, nbformat 4.5."""
COURSE, ASSIGNMENT = "meting", "verbruik"
POINTS = 8

_GIVEN: Mapping[str, Any] = yaml.safe_load(Path(__file__).with_name("graded_assignment.yaml").read_text("utf-8"))
_ANSWERS: Mapping[str, Mapping[str, str]] = _GIVEN["answers"]
_CELLS: Sequence[Mapping[str, str]] = _GIVEN["cells"]
CHECKS = tuple(cell["name"] for cell in _CELLS if cell["kind"] == "check")


class Kind(StrEnum):
    """What somebody's work does to whoever grades it."""

    BENIGN = "benign"
    LOOPS = "loops"
    KILLS = "kills"


@dataclass(frozen=True)
class Work:
    """One piece of work.

    Args:
        student: whose.
        kind: what it does to whoever grades it.
        answers: the code of each answer.
    """

    student: str
    kind: Kind
    answers: Mapping[str, str]

    def written_into(self, released: Notebook) -> Notebook:
        """The student's version of the assignment, with the answers in it."""
        notebook = deepcopy(released)
        for cell in notebook["cells"]:
            code = self.answers.get(cell["metadata"].get("nbgrader", {}).get("grade_id", ""))
            if code is not None:
                cell["source"] = code
        return notebook


def benign(count: int) -> list[Work]:
    """Work that does no harm: of three pieces one is right, one wrong and one raises somewhere."""
    return [_benign(number) for number in range(count)]


def class_of_30() -> list[Work]:
    """The class of `grade-class`: 27 benign pieces, two that loop without end, one that kills its Python.

    The three stand among the others: first or last, a side that runs several at once would gain by it.
    """
    work = benign(27)
    right = {name: answers["right"] for name, answers in _ANSWERS.items()}
    work.insert(7, Work("lus-1", Kind.LOOPS, {**right, "train": _GIVEN["loops"][0]}))
    work.insert(14, Work("dood-1", Kind.KILLS, {**right, "predict": _GIVEN["kills"]}))
    work.insert(21, Work("lus-2", Kind.LOOPS, {**right, "error": _GIVEN["loops"][1]}))
    return work


def _benign(number: int) -> Work:
    names, way = list(_ANSWERS), number // 3
    answers = {name: _ANSWERS[name]["right-2" if (way >> place) % 2 else "right"] for place, name in enumerate(names)}
    if number % 3:
        name = names[way % len(names)]
        answers[name] = _ANSWERS[name]["wrong" if number % 3 == 1 else "raising"]
    return Work(f"s{number:04d}", Kind.BENIGN, answers)


def write_course(folder: Path) -> None:
    """Write the course as the catalogue has courses: its description and the assignment's source.

    Args:
        folder: an empty folder.
    """
    both = {"nl": "Meting", "en": "Measurement"}
    description = {
        "id": COURSE, "title": both, "summary": both, "track": "hbo", "level": "hbo 1", "hours": 1,
        "outcomes": [{"id": "meten", "text": both}],
        "assignments": [{"id": ASSIGNMENT, "title": both, "minutes": 30, "outcomes": ["meten"]}],
    }  # fmt: skip
    # JSON is YAML too.
    (folder / "course.yaml").write_text(json.dumps(description, indent=1), "utf-8")
    source = folder / "source" / ASSIGNMENT
    source.mkdir(parents=True)
    write_notebook(_source(), source / f"{ASSIGNMENT}.ipynb")


def hand_in(course: Path, work: Sequence[Work]) -> None:
    """Put work where nbgrader collects it.

    Args:
        course: nbgrader's folder of the course, with `release/<assignment>`.
        work: of everybody.
    """
    name = f"{ASSIGNMENT}.ipynb"
    released = read_notebook(course / "release" / ASSIGNMENT / name)
    for one in work:
        folder = course / "submitted" / one.student / ASSIGNMENT
        folder.mkdir(parents=True)
        write_notebook(one.written_into(released), folder / name)
        (folder / "timestamp.txt").write_text("2026-11-01 10:00:00.000000 UTC", "utf-8")


def notebook_of(cells: Sequence[dict[str, Any]]) -> Notebook:
    """A Python notebook with these cells."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": list(cells), "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def code_cell(name: str, source: str, metadata: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A code cell that was not run."""
    about = {"cell_type": "code", "id": name, "metadata": dict(metadata or {}), "source": source}
    return {**about, "outputs": [], "execution_count": None}


def read_notebook(file: Path) -> Notebook:
    """A notebook, with the source of each cell as one text."""
    notebook: Notebook = json.loads(file.read_text("utf-8"))
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])
    return notebook


def write_notebook(notebook: Notebook, file: Path) -> None:
    """Write it."""
    file.write_text(json.dumps(notebook, indent=1), "utf-8")


def _source() -> Notebook:
    cells = [{"cell_type": "markdown", "id": "intro", "metadata": {}, "source": "# Verbruik"}]
    for cell in _CELLS:
        kind, name = cell["kind"], cell["name"]
        solution = f"### BEGIN SOLUTION\n{_ANSWERS[name]['right']}\n### END SOLUTION" if kind == "answer" else ""
        cells.append(code_cell(name, solution or cell["code"], _metadata(kind, name)))
    return notebook_of(cells)


def _metadata(kind: str, name: str) -> dict[str, Any]:
    if kind == "given":
        return {}
    meta: dict[str, Any] = {
        "schema_version": 3, "grade_id": name, "grade": kind == "check", "solution": kind == "answer",
        "locked": kind == "check", "task": False,
    }  # fmt: skip
    return {"nbgrader": meta | ({"points": 1} if kind == "check" else {})}
