"""Makes the release and every imagined submission ready to run: `python -m leerlab_lab.coursecheck.prepare FOLDER`.

Nothing of the course is executed. FOLDER holds check.json and `course/source/<assignment>/`, and `english/...`
likewise; it gets the releases, `runs/<learner>/notebook.ipynb`, `files/` for them, and prepared.json.
"""

from __future__ import annotations

import argparse
import copy
import json
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from leerlab_lab.coursecheck import leaks, reading, source
from leerlab_lab.coursecheck.book import Book, graded_as, is_graded, is_solution, read
from leerlab_lab.coursecheck.plan import (
    AGAIN,
    COURSE,
    DELETED,
    EDITED,
    ENGLISH,
    PREPARED,
    REAL,
    REFERENCE,
    RENAMED,
    RUNS,
    UNTOUCHED,
    Finding,
    Plan,
)

FILES = "files"
_MARKER = re.compile(r"^[ \t]*#{3} (?:BEGIN|END) SOLUTION[ \t]*\n?", re.MULTILINE)
EN = "en."


def solutions(notebook: NotebookNode) -> dict[str, str]:
    """What stands in each cell that is the learner's to write, without nbgrader's marks."""
    return {graded_as(cell): _MARKER.sub("", cell.source) for cell in notebook.cells if is_solution(cell)}


def filled_in(released: NotebookNode, answers: Mapping[str, str]) -> NotebookNode:
    """The released notebook with a learner's answers."""
    notebook = copy.deepcopy(released)
    for cell in notebook.cells:
        if graded_as(cell) in answers:
            cell.source = answers[graded_as(cell)]
    return notebook


def tampered(released: NotebookNode) -> dict[str, NotebookNode]:
    """The untouched release in which a learner edited, deleted or renamed the first test cell."""
    at = next((n for n, cell in enumerate(released.cells) if is_graded(cell) and cell.cell_type == "code"), None)
    if at is None:
        return {}
    edited, deleted, renamed = (copy.deepcopy(released) for _ in range(3))
    edited.cells[at].source = "pass"
    del deleted.cells[at]
    renamed.cells[at].metadata["nbgrader"]["grade_id"] += "-renamed"
    renamed.cells[at].source = "pass"
    return {EDITED: edited, DELETED: deleted, RENAMED: renamed}


def submissions(plan: Plan, notebook: NotebookNode, released: NotebookNode) -> dict[str, NotebookNode]:
    """Every imagined learner's notebook."""
    reference = solutions(notebook)
    full = filled_in(released, reference)
    made = {REFERENCE: full, UNTOUCHED: released, **tampered(released)}
    # Twice, and once of these in a kernel of its own where that is wanted.
    made[REAL if plan.real else AGAIN] = full
    for case in plan.cases:
        made[case.student] = filled_in(released, {**reference, **case.cells})
    return {student: one for student, one in made.items() if plan.wanted(student)}


def prepare(folder: Path) -> dict[str, object]:
    """Do it; gives what prepared.json says."""
    plan = Plan.read(folder)
    findings: list[Finding] = []
    forked: list[str] = []
    modules: list[str] = []
    notebooks: dict[str, NotebookNode] = {}
    for variant in (COURSE, ENGLISH) if plan.english else (COURSE,):
        book = Book(folder / variant, plan.assignment)
        own = book.place / "source" / plan.assignment
        file = f"{own.relative_to(book.place)}/{plan.assignment}.ipynb"
        file = file if variant == COURSE else f"{ENGLISH}/{plan.assignment}.ipynb"
        try:
            notebook = read(own / f"{plan.assignment}.ipynb")
            nbformat.validate(notebook)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, nbformat.ValidationError) as error:
            findings.append(Finding("source.invalid", file=file, params={"reason": str(error)[:300]}))
            continue
        notebooks[variant] = notebook
        form = [*source.problems(notebook, file), *(source.case_problems(plan, notebook) if variant == COURSE else ())]
        findings += form
        findings += reading.problems(notebook, own, file, plan.track, "nl" if variant == COURSE else "en")
        if variant == COURSE:
            modules, unknown = source.imports(notebook, own)
            findings += [Finding("package.unknown", cell, file=file, params={"name": name}) for name, cell in unknown]
        if any(each.code in source.FATAL for each in form):
            continue
        if reason := book.release():
            findings.append(Finding("release.failed", file=file, params={"reason": reason}))
            continue
        findings += leaks.problems(notebook, book.released, plan.assignment, file)
        released = read(book.released / f"{plan.assignment}.ipynb")
        if variant == COURSE:
            made = submissions(plan, notebook, released)
        else:
            reference = filled_in(released, solutions(notebook))
            made = {EN + REFERENCE: reference, EN + UNTOUCHED: released}
            made = {student: one for student, one in made.items() if plan.wanted(student)}
        for student, one in made.items():
            book.hand_in(student, one)
            if reason := book.park(student, folder / RUNS):
                findings.append(Finding("grading.failed", case=student, file=file, params={"reason": reason}))
        forked += [student for student in made if student != REAL and (folder / RUNS / student).is_dir()]
        if variant == COURSE:
            _copy_files(own, folder / FILES)
    if len(notebooks) == len((COURSE, ENGLISH)):
        findings += source.differences(notebooks[COURSE], notebooks[ENGLISH], f"{ENGLISH}/{plan.assignment}.ipynb")
    return {"forked": forked, "modules": modules, "findings": [asdict(one) for one in findings]}


def _copy_files(own: Path, place: Path) -> None:
    """What lies beside the notebook, as graded work gets it."""
    shutil.copytree(own, place, ignore=_notebooks)


def _notebooks(_folder: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.endswith(".ipynb") or name in {".ipynb_checkpoints", "__pycache__"}]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args(arguments)
    said = prepare(given.folder.resolve())
    (given.folder / PREPARED).write_text(json.dumps(said), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
