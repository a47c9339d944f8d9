"""Feedback without hidden tests: nbgrader itself prints them in every student's feedback (jupyter/nbgrader#917)."""

from __future__ import annotations

from typing import Any

from nbformat import NotebookNode
from nbgrader.preprocessors import ClearHiddenTests
from nbgrader.utils import is_grade, is_solution


class HideHiddenTests(ClearHiddenTests):  # type: ignore[misc]  # nbgrader has no types
    """Takes hidden tests out of what a student reads: out of the test cell, and out of the traceback that quotes it.

    What a failed check says, the error's own message, stays: it names the misconception.
    """

    def preprocess_cell(
        self, cell: NotebookNode, resources: dict[str, Any], cell_index: int
    ) -> tuple[NotebookNode, dict[str, Any]]:
        """Clear one test cell; other cells stay as they are."""
        # Not in cells that a student writes: what stands there is the student's own, whatever it looks like.
        if not is_grade(cell) or is_solution(cell) or cell.cell_type != "code":
            return cell, resources
        if not self._remove_hidden_test_region(cell):
            return cell, resources
        for output in cell.outputs:
            if output.output_type == "error":
                output.traceback = [f"{output.ename}: {output.evalue}"]
        return cell, resources
