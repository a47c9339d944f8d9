"""nbgrader's `OverwriteCells`, silent about its own doing: a hidden test that it puts back is nobody's change.

A release lacks the hidden tests, so that every test cell with one differs from the source when it comes back. nbgrader
warns of each such cell with two checksums, as if a student had tampered with it (`preprocessors/overwritecells.py`).
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from nbformat import NotebookNode
from nbgrader.preprocessors import ClearHiddenTests, ClearMarkScheme, OverwriteCells
from nbgrader.utils import compute_checksum


class RestoreCells(OverwriteCells):  # type: ignore[misc]  # nbgrader has no types
    """Puts tests back, and says in words which of them a student had changed."""

    _cell: NotebookNode | None = None

    def preprocess_cell(
        self, cell: NotebookNode, resources: dict[str, Any], cell_index: int
    ) -> tuple[NotebookNode, dict[str, Any]]:
        """Restore one cell as nbgrader does."""
        self._cell = cell
        result: tuple[NotebookNode, dict[str, Any]] = super().preprocess_cell(cell, resources, cell_index)
        # A test cell that a student renamed: nbgrader takes away its name alone, and then fails on a cell without one
        # (`add_missing_grade_cells`). It is an ordinary cell now; the test itself is put back.
        if "grade_id" not in cell.metadata.get("nbgrader", {"grade_id": ""}):
            del cell.metadata["nbgrader"]
        return result

    def report_change(self, name: str, attr: str, old: Any, new: Any) -> None:
        """Say what a student changed; nothing when the cell is as it was released."""
        if attr != "checksum":
            super().report_change(name, attr, old, new)
        elif new != self._released(name):
            self.log.warning("The test cell %s was changed in this submission. The original was put back.", name)

    def _released(self, name: str) -> str:
        """The checksum of a cell as students got it."""
        source = self.gradebook.find_source_cell(name, self.notebook_id, self.assignment_id)
        cell = deepcopy(self._cell)
        assert cell is not None
        cell.source = source.source
        ClearHiddenTests(parent=self.parent)._remove_hidden_test_region(cell)
        ClearMarkScheme(parent=self.parent)._remove_mark_scheme_region(cell)
        return str(compute_checksum(cell))
