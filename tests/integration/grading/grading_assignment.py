"""The source of a small assignment with a hidden test, made as a teacher would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat

SOLUTION = """def kwadraat(x):
    ### BEGIN SOLUTION
    return x * x
    ### END SOLUTION
"""
VISIBLE = "assert kwadraat(3) == 9"
HIDDEN = """assert kwadraat(2) == 4
### BEGIN HIDDEN TESTS
geheim_getal = 12
assert kwadraat(geheim_getal) == 144
### END HIDDEN TESTS
"""


def _meta(name: str, *, points: float | None = None, solution: bool = False) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "schema_version": 3,
        "grade_id": name,
        "grade": points is not None,
        "solution": solution,
        "locked": points is not None and not solution,
        "task": False,
    }
    return {"nbgrader": meta | ({"points": points} if points is not None else {})}


def write_source(course: Path, assignment: str = "week-1") -> Path:
    """Write the source version of an assignment into a course folder."""
    new = nbformat.v4
    notebook = new.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        cells=[
            new.new_markdown_cell("# Kwadraten", id="intro"),
            new.new_code_cell(SOLUTION, id="oplossing", metadata=_meta("kwadraat", solution=True)),
            new.new_code_cell(VISIBLE, id="zichtbaar", metadata=_meta("test-1", points=1)),
            new.new_code_cell(HIDDEN, id="verborgen", metadata=_meta("test-2", points=2)),
        ],
    )
    folder = course / "source" / assignment
    folder.mkdir(parents=True)
    nbformat.write(notebook, folder / "kwadraten.ipynb")
    (folder / "gegevens.csv").write_text("a,b\n1,2\n")
    return folder


def solve(notebook: Path, code: str) -> None:
    """Fill in a student's answer."""
    read = nbformat.read(notebook, as_version=4)
    for cell in read.cells:
        if cell.metadata.get("nbgrader", {}).get("grade_id") == "kwadraat":
            cell.source = code
    nbformat.write(read, notebook)
