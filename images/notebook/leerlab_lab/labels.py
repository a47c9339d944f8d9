"""What the graded cells of a notebook are called: by the task or the heading that the course wrote above them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nbformat import NotebookNode

# A heading, or a paragraph that begins with a numbered name in bold: "**Taak 3 (2 punten).** Maak ...".
_NAME = re.compile(r"^(?:#{1,4}\s+(?P<heading>.+?)\s*#*|\*\*(?P<task>[^*\n]*\d[^*\n]*)\*\*.*)$", re.MULTILINE)
_POINTS = re.compile(r"\s*\([^()]*\)\s*$")


def labels_of(cells: Sequence[NotebookNode]) -> dict[str, str]:
    """What each graded cell is called: the task or heading above it that the course wrote.

    Args:
        cells: of the notebook.

    Returns:
        Name by grade_id; empty for a cell with no name above it.
    """
    labels: dict[str, str] = {}
    name = ""
    for cell in cells:
        about = cell.metadata.get("nbgrader", {})
        if cell.cell_type == "markdown" and not about.get("solution"):
            for found in _NAME.finditer(cell.source):
                name = _POINTS.sub("", (found["heading"] or found["task"]).rstrip(" .:")).rstrip(" .:")
        if about.get("grade_id") and (about.get("grade") or about.get("task")):
            labels[about["grade_id"]] = name
    return labels
