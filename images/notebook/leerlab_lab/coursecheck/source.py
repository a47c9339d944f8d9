"""What can be seen of a source notebook without running anything: its form, its imports, and its English variant."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

from nbformat import NotebookNode

from leerlab_lab.coursecheck.book import graded_as, is_graded, is_solution, named
from leerlab_lab.coursecheck.plan import Finding, Kind, Plan
from leerlab_lab.forked.imports import imported
from leerlab_lab.valuechecks.marking import mixed
from leerlab_lab.valuechecks.reading import Why

BEGIN_SOLUTION = "### BEGIN SOLUTION"
# With these nothing can be released; nbgrader's own words would say the same less clearly.
FATAL = {"source.duplicate"}
_MIXED = {
    Why.SYNTAX: "checks.syntax", Why.IMPORT: "checks.import", Why.STATEMENT: "checks.statement",
    Why.QUESTION: "checks.question", Why.EXPECTED: "checks.expected", Why.NONE: "checks.none",
}  # fmt: skip
_SAME = ("grade_id", "grade", "solution", "locked", "points", "task")


def problems(notebook: NotebookNode, file: str) -> Iterator[Finding]:
    """What is wrong with the notebook's form."""
    seen: set[str] = set()
    for cell in notebook.cells:
        name = graded_as(cell)
        if name and name in seen:
            yield Finding("source.duplicate", name, file=file)
        seen.add(name)
        if cell.cell_type == "code" and (cell.outputs or cell.execution_count is not None):
            yield Finding("source.outputs", named(cell), file=file)
        if is_solution(cell) and BEGIN_SOLUTION not in cell.source:
            yield Finding("source.no_markers", name, file=file)
    for cell, error in mixed(notebook):
        params: dict[str, str | int | float] = {"line": error.line, "about": error.about}
        yield Finding(_MIXED[error.why], graded_as(cell), file=file, params=params)
    if not any(is_graded(cell) for cell in notebook.cells):
        yield Finding("source.no_points", file=file)
    first = next((cell for cell in notebook.cells if cell.cell_type == "code"), None)
    if first is not None and is_solution(first):
        yield Finding("source.first_cell", named(first), file=file)


def case_problems(plan: Plan, notebook: NotebookNode) -> Iterator[Finding]:
    """Whether the teacher's cases fit the notebook, and are enough."""
    own = {graded_as(cell) for cell in notebook.cells if is_solution(cell)}
    graded = {graded_as(cell) for cell in notebook.cells if is_graded(cell)}
    told: dict[tuple[str, str], str] = {}
    for case in plan.cases:
        for cell in sorted(set(case.cells) - own):
            yield Finding("case.unknown_cell", cell, case.student)
        if case.kind is Kind.WRONG:
            if case.loses not in graded:
                yield Finding("case.unknown_test", case.loses, case.student)
            if (twin := told.setdefault((case.loses, case.message), case.name)) != case.name:
                yield Finding("case.same_message", case.loses, case.student, params={"other": twin})
    for kind, least in ((Kind.WRONG, plan.least_wrong), (Kind.OTHER, plan.least_other)):
        count = sum(case.kind is kind for case in plan.cases)
        if count < least:
            yield Finding(f"cases.few_{kind}", params={"count": count, "least": least})


def imports(notebook: NotebookNode, folder: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """What the notebook and the files beside it import.

    Returns:
        The modules of the environment that a kernel may import beforehand, and what is in no environment, each with
        the cell or file that asks for it.
    """
    texts = [(cell.source, named(cell)) for cell in notebook.cells if cell.cell_type == "code"]
    texts += [(file.read_text(encoding="utf-8", errors="replace"), file.name) for file in sorted(folder.rglob("*.py"))]
    own = {file.stem for file in folder.rglob("*.py")} | {file.name for file in folder.iterdir() if file.is_dir()}
    known: list[str] = []
    unknown: list[tuple[str, str]] = []
    for text, where in texts:
        for name in imported(text):
            top = name.partition(".")[0]
            if top in own or top in sys.stdlib_module_names or name in known:
                continue
            if importlib.util.find_spec(top) is None:
                unknown.append((top, where))
            else:
                known.append(name)
    # leerlab_lab.data imports it only when a dataset is asked for.
    if "leerlab_lab" in {name.partition(".")[0] for name in known} and any("dataset(" in text for text, _ in texts):
        known.append("datasets")
    return known, unknown


def differences(dutch: NotebookNode, english: NotebookNode, file: str) -> Iterator[Finding]:
    """Where the English variant is not the same notebook: other cells, another order, other tests."""
    if len(dutch.cells) != len(english.cells):
        params = {"dutch": len(dutch.cells), "english": len(english.cells)}
        yield Finding("english.cells", file=file, params=params)
        return
    for one, other in zip(dutch.cells, english.cells, strict=True):
        mine, theirs = (cell.metadata.get("nbgrader", {}) for cell in (one, other))
        if one.cell_type != other.cell_type or any(mine.get(key) != theirs.get(key) for key in _SAME):
            yield Finding("english.differs", named(one), file=file, params={"english": named(other)})
        elif is_graded(one) and one.cell_type == "code" and one.source != other.source:
            yield Finding("english.test", named(one), file=file)
