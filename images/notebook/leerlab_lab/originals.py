"""What the course gave out of a notebook: which cells, in which order, and which of two copies is the original."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.preprocessors import ClearHiddenTests, ClearMarkScheme, NbGraderPreprocessor

SCHEMA = 3


def named(cell: NotebookNode) -> str:
    """The name that a cell says to have in nbgrader; empty without one."""
    about = cell.metadata.get("nbgrader")
    name = about.get("grade_id") if isinstance(about, dict) else None
    return name if isinstance(name, str) else ""


class Originals:
    """The cells of one notebook as the gradebook has them.

    Args:
        step: the preprocessor that asks, while nbgrader's converter runs it.
        resources: as nbgrader's converter fills them.
    """

    def __init__(self, step: NbGraderPreprocessor, resources: dict[str, Any]) -> None:
        about = resources["nbgrader"]
        with Gradebook(about["db_url"]) as book:
            notebook = book.find_notebook(about["notebook"], about["assignment"])
            self._points = {cell.name: float(cell.max_score) for cell in (*notebook.grade_cells, *notebook.task_cells)}
            self.graded = {cell.name for cell in notebook.grade_cells}
            self.answers = {cell.name for cell in notebook.solution_cells}
            self.tasks = {cell.name for cell in notebook.task_cells}
            self._cells = {cell.name: cell.to_dict() | {"checksum": cell.checksum} for cell in notebook.source_cells}
        self._step = step
        self._order, self._ids = _in_source(_source_file(step, about["assignment"], about["notebook"]))

    def __contains__(self, name: str) -> bool:
        return name in self._cells

    @property
    def names(self) -> list[str]:
        """All of them, in the order in which the course's notebook has them."""
        known = [name for name in self._order if name in self._cells]
        return known + [name for name in self._cells if name not in known]

    def source(self, name: str) -> str:
        """The text of a cell, with hidden tests; that of an answer is as students got it."""
        return str(self._cells[name]["source"] or "")

    def given_out(self, name: str) -> str:
        """The text of a cell as students got it."""
        cell = NotebookNode(cell_type=self.cell_type(name), source=self.source(name), metadata=NotebookNode())
        ClearHiddenTests(parent=self._step.parent)._remove_hidden_test_region(cell)
        ClearMarkScheme(parent=self._step.parent)._remove_mark_scheme_region(cell)
        return str(cell.source)

    def cell_type(self, name: str) -> str:
        """`code` or `markdown`."""
        return str(self._cells[name]["cell_type"])

    def locked(self, name: str) -> bool:
        """Whether its text is the course's."""
        return bool(self._cells[name]["locked"])

    def about(self, name: str) -> dict[str, Any]:
        """nbgrader's metadata of a cell."""
        points = {"points": self._points[name]} if name in self._points else {}
        return {
            "schema_version": SCHEMA, "grade_id": name, "grade": name in self.graded, "solution": name in self.answers,
            "locked": self.locked(name), "task": name in self.tasks, "cell_type": self.cell_type(name),
            "checksum": self._cells[name]["checksum"], **points,
        }  # fmt: skip

    def of_copies(self, name: str, copies: Sequence[NotebookNode]) -> NotebookNode:
        """Which of several cells with one name counts.

        The one that the course gave out, by its id, which a copy does not keep; where none has that id, the first. An
        answer that was left as it was given out makes room for the first copy that was filled in.
        """
        original = next((cell for cell in copies if cell.get("id", "") == self._ids.get(name)), copies[0])
        if name in self.answers and original.source.strip() == self.source(name).strip():
            return next((cell for cell in copies if cell.source.strip() != self.source(name).strip()), original)
        return original


def _source_file(step: NbGraderPreprocessor, assignment: str, notebook: str) -> Path:
    # A step's parent is nbconvert's exporter, and the exporter's is nbgrader's converter.
    course = step.parent.parent.coursedir
    return Path(course.format_path(course.source_directory, ".", assignment), f"{notebook}.ipynb")


def _in_source(file: Path) -> tuple[list[str], dict[str, str]]:
    """Names in their order, and cell ids by name; nothing of either where the course's notebook cannot be read."""
    try:
        cells = json.loads(file.read_bytes())["cells"]
        found = [(named(NotebookNode(cell)), str(cell.get("id") or "")) for cell in cells]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return [], {}
    return [name for name, _ in found if name], {name: cell_id for name, cell_id in found if name and cell_id}
