"""Feedback that a student can read: in the notebook's language, each mark by its task's name, without hidden tests."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from babel.numbers import format_decimal
from nbformat import NotebookNode
from nbgrader.preprocessors import ClearHiddenTests
from nbgrader.utils import is_grade, is_solution

from leerlab_lab.execute import KERNEL_LOST, NOT_RUN, TAKES_TOO_LONG
from leerlab_lab.flags import KEY
from leerlab_lab.formgrader.look import VARIABLE, Surroundings, catalogue
from leerlab_lab.labels import labels_of
from leerlab_lab.lesson import language_of
from leerlab_lab.pages import SafePages

NOTEBOOKS = Path(__file__).parent / "formgrader" / "notebooks"
_SECONDS = re.compile(r"longer than (\d+) seconds")
_LOST = {TAKES_TOO_LONG: "time", KERNEL_LOST: "ended", "MemoryError": "memory"}
_NOT_RUN = {"took longer": "not-run-time", "more memory": "not-run-memory", "Python ended": "not-run-ended"}


class HideHiddenTests(ClearHiddenTests):  # type: ignore[misc]  # nbgrader has no types
    """Takes hidden tests out of what a student reads: the test cell's, and those that a traceback quotes.

    nbgrader itself prints them in every student's feedback (jupyter/nbgrader#917). What a failed check says, the
    error's own message, stays: it names the misconception.
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


def lost(cell: NotebookNode) -> tuple[str, str]:
    """Why a cell came to no result of its own, and how many seconds were too many; empty when it did.

    What a run says of it in its own English (`leerlab_lab.execute`) is taken out of the cell's outputs.
    """
    for output in cell.get("outputs", []):
        if output.output_type != "error" or output.ename not in (TAKES_TOO_LONG, KERNEL_LOST, NOT_RUN, "MemoryError"):
            continue
        seconds = _SECONDS.search(output.evalue)
        if output.ename != "MemoryError" or "Python was stopped" in output.evalue:
            cell.outputs = [one for one in cell.outputs if one is not output]
        why = _LOST.get(output.ename, "")
        if output.ename == NOT_RUN:
            why = next((why for words, why in _NOT_RUN.items() if words in output.evalue), "not-run")
        return why, seconds[1] if seconds else ""
    return "", ""


class FeedbackPages(SafePages):
    """One student's marked notebook as one page that needs no other file."""

    def from_notebook_node(
        self, nb: NotebookNode, resources: dict[str, Any] | None = None, **kwargs: Any
    ) -> tuple[str, dict[str, Any]]:
        """As nbconvert's, with texts in the notebook's language and the assignment's own title.

        Args:
            nb: the marked notebook.
            resources: as nbgrader's converter fills them; `nbgrader.notebook` is the notebook's name.
        """
        resources = resources if resources is not None else {}
        language = language_of(nb.cells)
        name = str(resources.get("nbgrader", {}).get("notebook", ""))
        for cell in nb.cells:
            cell.metadata.pop(KEY, None)
            why, seconds = lost(cell)
            if why:
                cell.metadata[KEY] = {"lost": why, "seconds": seconds}
        resources |= {
            "_": catalogue(language).gettext,
            "language": language,
            "number": lambda value: format_decimal(round(float(value), 2), "0.##", locale=language),
            "labels": labels_of(nb.cells),
            "title": _title(name, language),
            "style": (NOTEBOOKS / "feedback.css").read_text(),
        }
        page, resources = super().from_notebook_node(nb, resources, **kwargs)
        return page, resources


def _title(notebook: str, language: str) -> str:
    """The assignment's title, where the site told the course's server of it; else the notebook's name."""
    if VARIABLE not in os.environ:
        return notebook
    return Surroundings.given().assignments.get(notebook, {}).get(language, notebook)
