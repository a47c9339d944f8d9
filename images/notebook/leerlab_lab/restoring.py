"""Puts back what the course gave out before work is graded: tests, points, and one cell for each name.

In the place of nbgrader's `DeduplicateIds` and `OverwriteCells` (nbgrader 0.9.6), which make something else of changed
work:

- of two cells with one name the last counts there, so that a test that a student copied to the end is a test of what
  stands there; here the one that the course gave out counts (`Originals.of_copies`);
- a test that was removed comes back behind the cell that was before it in the course's notebook; there it fails where
  that cell is one without marks, or was moved, and its first line becomes a comment with a notice;
- what a cell is (test, answer, points) is what the gradebook says; there a changed `grade` or `solution` is believed;
- a hidden test that is put back is nobody's change, and what was changed is a flag for the teacher, not a warning with
  two checksums.
"""

from __future__ import annotations

from typing import Any

import nbformat
from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.utils import is_grade, is_locked, is_solution, is_task

from leerlab_lab import flags
from leerlab_lab.flags import Code, Flag
from leerlab_lab.originals import Originals, named

_KINDS = {"grade": is_grade, "solution": is_solution, "locked": is_locked, "task": is_task}

# The first nbformat 4 whose cells have ids.
_WITH_IDS = 5
_ORIGINALS = "leerlab_originals"


class OneOfEach(NbGraderPreprocessor):  # type: ignore[misc]  # nbgrader has no types
    """Leaves one cell with each name; other copies, and names that the course does not know, become ordinary cells."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Do it, and begin the notebook's flags anew."""
        flags.reset(nb)
        # The next step wants them too, and to open a gradebook takes time.
        originals = resources[_ORIGINALS] = Originals(self, resources)
        copies: dict[str, list[NotebookNode]] = {}
        for cell in nb.cells:
            name = named(cell)
            if name in originals:
                copies.setdefault(name, []).append(cell)
            elif "nbgrader" in cell.metadata:
                del cell.metadata["nbgrader"]
                if name:
                    flags.add(nb, [Flag(Code.CELL_UNKNOWN, what=(name[:60],))])
        for name, cells in copies.items():
            counts = originals.of_copies(name, cells)
            for cell in cells:
                if cell is not counts:
                    del cell.metadata["nbgrader"]
            if len(cells) > 1:
                self.log.info("The cell %s is there %d times; one counts.", name, len(cells))
                flags.add(nb, [Flag(Code.CELL_COPIED, name)])
        return nb, resources


class RestoreCells(NbGraderPreprocessor):  # type: ignore[misc]
    """Puts tests back as they were, each name once by now."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Do it."""
        originals = resources.pop(_ORIGINALS, None) or Originals(self, resources)
        for cell in nb.cells:
            name = named(cell)
            if name in originals and _restored(cell, name, originals):
                self.log.info("The test cell %s was changed in this submission. The original was put back.", name)
                flags.add(nb, [Flag(Code.TEST_CHANGED, name)])
        for name in originals.names:
            if any(named(cell) == name for cell in nb.cells):
                continue
            marked = name in originals.graded or name in originals.tasks
            if name in originals.answers:
                flags.add(nb, [Flag(Code.ANSWER_DELETED, name)])
            elif marked:
                flags.add(nb, [Flag(Code.TEST_DELETED, name)])
            if marked:
                self.log.info("The cell %s was missing in this submission. It was put back.", name)
                cell = _anew(name, originals)
                if nb.nbformat_minor < _WITH_IDS:
                    del cell["id"]
                nb.cells.insert(_place(nb, name, originals), cell)
        return nb, resources


def _restored(cell: NotebookNode, name: str, originals: Originals) -> bool:
    """Make a cell what the course says that it is; whether a student had changed what is the course's."""
    told, true = cell.metadata["nbgrader"], originals.about(name)
    changed = cell.cell_type != true["cell_type"] or any(
        bool(says(cell)) != true[kind] for kind, says in _KINDS.items()
    )
    if "points" in true:
        changed |= told.get("points") != true["points"]
    if cell.cell_type != true["cell_type"]:
        _retyped(cell, true["cell_type"])
    if originals.locked(name):
        changed |= cell.source.rstrip() not in (originals.given_out(name).rstrip(), originals.source(name).rstrip())
        cell.source = originals.source(name)
    cell.metadata["nbgrader"] = NotebookNode(true)
    return bool(changed)


def _retyped(cell: NotebookNode, kind: str) -> None:
    cell.cell_type = kind
    for field in ("outputs", "execution_count", "attachments"):
        cell.pop(field, None)
    if kind == "code":
        cell.outputs, cell.execution_count = [], None


def _anew(name: str, originals: Originals) -> NotebookNode:
    about = {"nbgrader": originals.about(name), "deletable": False, "editable": name in originals.answers}
    if originals.cell_type(name) == "code":
        return nbformat.v4.new_code_cell(originals.source(name), metadata=about)
    return nbformat.v4.new_markdown_cell(originals.source(name), metadata=about)


def _place(nb: NotebookNode, name: str, originals: Originals) -> int:
    """Where a missing cell goes: behind the nearest one that was before it."""
    places = {named(cell): index for index, cell in enumerate(nb.cells)}
    before = originals.names[: originals.names.index(name)]
    return next((places[one] + 1 for one in reversed(before) if one in places), 0)
