"""Has nbgrader grade every run, and says what is not as promised: `python -m leerlab_lab.coursecheck.mark FOLDER`.

Nothing of the course is executed. FOLDER is as `prepare` left it, with executed notebooks and figures.json in `ran/`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbgrader.validator import Validator

from leerlab_lab.coursecheck import judge, reading
from leerlab_lab.coursecheck.book import Book, Mark, graded_as, named, read
from leerlab_lab.coursecheck.judge import Graded, Run
from leerlab_lab.coursecheck.plan import (
    COURSE,
    ENGLISH,
    EXECUTED,
    FIGURES,
    PREPARED,
    RAN,
    REAL,
    RESULT,
    Finding,
    Kind,
    Plan,
)
from leerlab_lab.coursecheck.prepare import EN


def mark(folder: Path, ran: Path) -> dict[str, Any]:
    """Do it; gives what result.json says."""
    plan = Plan.read(folder)
    prepared = json.loads((folder / PREPARED).read_text(encoding="utf-8"))
    findings = [Finding(**one) for one in prepared["findings"]]
    figures: dict[str, Any] = json.loads((ran / FIGURES).read_text(encoding="utf-8"))
    students = [*prepared["forked"], *([REAL] if REAL in figures else [])]
    runs: dict[str, Run] = {}
    for variant in (COURSE, ENGLISH) if plan.english else (COURSE,):
        book = Book(folder / variant, plan.assignment)
        file = (
            f"source/{plan.assignment}/{plan.assignment}.ipynb"
            if variant == COURSE
            else f"{ENGLISH}/{plan.assignment}.ipynb"
        )
        mine = [student for student in students if student.startswith(EN) == (variant == ENGLISH)]
        for student in mine:
            if reason := book.mark(student, ran):
                findings.append(Finding("grading.failed", case=student, file=file, params={"reason": reason}))
        marks = book.marks() if mine else {}
        made = {student: _run(book, student, marks.get(student, {}), figures[student], ran) for student in mine}
        findings += judge.judge(plan, Graded(_order(book, plan), made, file, english=variant == ENGLISH))
        runs |= made
    return {
        "findings": [asdict(one) for one in findings],
        "cases": [_told(plan, student, run, findings) for student, run in runs.items()],
        "links": _links(folder, plan),
    }


def _run(book: Book, student: str, marks: Mapping[str, Mark], took: Mapping[str, Any], ran: Path) -> Run:
    notebook = book.graded(student) if marks else None
    submitted = book.place / "submitted" / student / book.assignment / f"{book.assignment}.ipynb"
    changed = [graded_as(cell) for cell in Validator()._get_changed_cells(read(submitted))]
    return Run(
        marks, notebook, float(took["seconds"]), int(took["memory"]), str(took["ended"]), changed,
        _shown(ran / student / EXECUTED, notebook),
    )  # fmt: skip


def _shown(executed: Path, graded: NotebookNode | None) -> dict[str, list[str]]:
    """Which kinds of output each code cell showed, by the cell's name; also those that grading leaves out."""
    try:
        ran = read(executed)
    except (OSError, ValueError):
        return {}
    names = [named(cell) for cell in graded.cells if cell.cell_type == "code"] if graded is not None else []
    return {
        name: [kind for output in cell.get("outputs", []) for kind in output.get("data", {})]
        for name, cell in zip(names, ran.cells, strict=False)
    }


def _order(book: Book, plan: Plan) -> list[NotebookNode]:
    """The source's cells, in the order in which a learner meets them."""
    try:
        return list(read(book.place / "source" / plan.assignment / f"{plan.assignment}.ipynb").cells)
    except (OSError, ValueError):
        return []


def _told(plan: Plan, student: str, run: Run, findings: list[Finding]) -> dict[str, Any]:
    case = next((case for case in plan.cases if case.student == student), None)
    return {
        "name": student,
        "kind": str(case.kind) if case else "",
        "idea": dict(case.misconception) if case else {},
        "loses": case.loses if case and case.kind is Kind.WRONG else "",
        "said": run.said(case.loses)[:600] if case and case.loses else "",
        "ok": not any(finding.case == student for finding in findings),
        "seconds": run.seconds,
        "memory": run.memory,
        "marks": {cell: [mark.got, mark.most] for cell, mark in run.marks.items()},
    }


def _links(folder: Path, plan: Plan) -> list[str]:
    found: dict[str, None] = {}
    for variant in (COURSE, ENGLISH) if plan.english else (COURSE,):
        source = folder / variant / "source" / plan.assignment / f"{plan.assignment}.ipynb"
        try:
            found |= dict.fromkeys(reading.links(read(source)))
        except (OSError, ValueError):
            continue
    return list(found)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ran", type=Path, help="where the executed notebooks are; FOLDER/ran without it")
    given = parser.parse_args(arguments)
    said = mark(given.folder.resolve(), (given.ran or given.folder / RAN).resolve())
    (given.folder / RESULT).write_text(json.dumps(said), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
