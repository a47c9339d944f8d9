"""The eight proofs of a course: reads its folder, has each assignment checked behind walls, gathers findings."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from base.described import read_described
from base.errors import InputError, LeerlabError
from base.settings import BothLanguages
from catalogue.card import Kind as CatalogueKind
from catalogue.entries import Entry, unknown
from courses.catalogue import Course
from courses.model import Assignment, Track
from courses.toolkit.findings import Finding, Outcome
from courses.toolkit.steps import Check, StepFailed, Walls, bring_in

Progress = Callable[[str, int, int], None]
"""Called with an assignment's id, how many of its cases are done, and how many there are."""

LEAST = {"wrong": 5, "other": 1}
# What learners of these tracks get in both languages.
_BOTH_LANGUAGES = {Track.HBO, Track.LLO}
_LARGEST_NOTEBOOK = 32 * 2**20


class CaseFile(BaseModel):
    """One of `wrong/*.yaml` and `other/*.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    misconception: BothLanguages | None = None
    style: BothLanguages | None = None
    loses: str = ""
    message: str = ""
    cells: dict[str, str]


@dataclass(frozen=True)
class Wanted:
    """What of a check is wanted.

    Args:
        assignments: ids; none means all.
        learners: the imagined learners to run, as `reference` or `wrong.NAME`; None for all of them.
        bounds: other bounds than those that every assignment has, by name.
        least: how many cases of each kind there must be.
    """

    assignments: tuple[str, ...] = ()
    learners: tuple[str, ...] | None = None
    bounds: dict[str, float] = field(default_factory=dict)
    least: dict[str, int] = field(default_factory=lambda: dict(LEAST))


@dataclass(frozen=True)
class AssignmentReport:
    """What came of one assignment; `seconds` that it took."""

    id: str
    title: dict[str, str]
    outcome: Outcome
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; notes aside."""
        return all(finding.is_note for finding in self.outcome.findings)


@dataclass(frozen=True)
class CourseReport:
    """What came of one course."""

    folder: Path
    title: dict[str, str]
    findings: tuple[Finding, ...]
    assignments: tuple[AssignmentReport, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; notes aside."""
        return all(finding.is_note for finding in self.findings) and all(one.ok for one in self.assignments)


def check_course(
    folder: Path, *, walls: Walls, entries: Sequence[Entry], jobs: int, wanted: Wanted, progress: Progress
) -> CourseReport:
    """Prove all of a course that is wanted.

    Args:
        folder: with course.yaml.
        entries: of the catalogue.
        jobs: how many cases run side by side, in all.

    Raises:
        InputError: the course has no assignment of a name that is wanted.
        LeerlabError: a wall cannot be built, or the disk is full.
    """
    began = time.monotonic()
    try:
        course = Course.load(folder)
    except InputError as error:
        reason = str(error).replace(f"{folder}/", "")
        found = Finding(code="course.unreadable", file="course.yaml", params={"reason": reason[:2000]})
        return CourseReport(folder, {"nl": folder.name, "en": folder.name}, (found,), (), time.monotonic() - began)
    assignments = [one for one in course.assignments() if not wanted.assignments or one.id in wanted.assignments]
    if missing := set(wanted.assignments) - {one.id for one in assignments}:
        known = ", ".join(one.id for one in course.assignments())
        raise InputError(f"{folder} has no assignment {min(missing)}.", f"It has {known}.", "Name one of these.")
    side_by_side = max(1, min(jobs, len(assignments)))
    each = max(1, jobs // side_by_side)
    with ThreadPoolExecutor(side_by_side) as pool:
        runs = [
            pool.submit(_check_one, course, one, walls=walls, jobs=each, wanted=wanted, progress=progress)
            for one in assignments
        ]
        reports = [run.result() for run in runs]
    findings = [
        Finding(code="dataset.unknown", file="course.yaml", params={"dataset": name})
        for name in unknown(course.description.datasets, CatalogueKind.DATASET, entries)
    ]
    title = {"nl": course.title("nl"), "en": course.title("en")}
    return CourseReport(folder, title, tuple(findings), tuple(reports), time.monotonic() - began)


def _check_one(
    course: Course, assignment: Assignment, *, walls: Walls, jobs: int, wanted: Wanted, progress: Progress
) -> AssignmentReport:
    began = time.monotonic()
    title = {"nl": assignment.title.nl, "en": assignment.title.en}
    file = f"source/{assignment.id}"
    try:
        with tempfile.TemporaryDirectory(prefix="ll-check-") as scratch:
            place = Path(scratch)
            findings = bring_in(course.source(assignment.id), place / "source", file)
            if findings:
                return AssignmentReport(assignment.id, title, Outcome(findings=findings), time.monotonic() - began)
            cases, wrong_cases = _cases(course, assignment)
            english, about_english = _english(course, assignment, place / "english")
            findings += [*wrong_cases, *about_english]
            findings += _described(course, assignment, place / "source")
            plan = {
                "assignment": assignment.id,
                "cases": cases,
                "track": course.description.track.value,
                "bounds": {**_BOUNDS, **wanted.bounds},
                "least_wrong": wanted.least["wrong"],
                "least_other": wanted.least["other"],
                "explorables": list(assignment.explorables),
                "english": english,
                "real": wanted.learners is None or "reference-real" in wanted.learners,
                "only": None if wanted.learners is None else list(wanted.learners),
            }
            check = Check(
                _made(place / "check"), walls, plan, jobs, lambda done, all_: progress(assignment.id, done, all_)
            )
            _lay_out(place, check.desk, assignment.id, english=english)
            try:
                outcome = check.outcome()
            except StepFailed as error:
                outcome = Outcome(findings=[error.finding.model_copy(update={"file": file})])
    except OSError as error:
        raise LeerlabError(
            f"The check of {assignment.id} cannot write its own files: {error.strerror}.",
            "Nothing can be said of the assignment.",
            "Make room on the disk, or set TMPDIR to a folder with room.",
        ) from error
    whole = outcome.model_copy(update={"findings": [*findings, *outcome.findings]})
    return AssignmentReport(assignment.id, title, whole, time.monotonic() - began)


# As leerlab_lab.coursecheck.plan.Bounds; restart-and-run-all under a minute on two cores, as courses promise.
_BOUNDS: dict[str, float] = {
    "notebook_seconds": 60, "cell_seconds": 60, "case_seconds": 120, "memory": 2 * 2**30,
}  # fmt: skip


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    return folder


def _lay_out(place: Path, desk: Path, assignment: str, *, english: bool) -> None:
    """Put the sources where nbgrader looks for them."""
    own = desk / "course" / "source" / assignment
    own.parent.mkdir(parents=True)
    (place / "source").rename(own)
    if english:
        other = desk / "english" / "source" / assignment
        other.mkdir(parents=True)
        for path in own.rglob("*"):
            if path.is_file() and path.suffix != ".ipynb":
                target = other / path.relative_to(own)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
        (place / "english" / f"{assignment}.ipynb").rename(other / f"{assignment}.ipynb")


def _cases(course: Course, assignment: Assignment) -> tuple[list[dict[str, Any]], list[Finding]]:
    """The teacher's cases, and those that cannot be read."""
    cases: list[dict[str, Any]] = []
    findings = []
    for kind in ("wrong", "other"):
        for file in sorted((course.teacher(assignment.id) / kind).glob("*.yaml")):
            where = str(file.relative_to(course.folder))
            try:
                case = read_described(file, CaseFile)
                if kind == "wrong" and not (case.loses and case.message and case.misconception):
                    raise InputError(f"{file}: misconception, loses and message are needed.")
            except (InputError, ValidationError) as error:
                reason = str(error).replace(f"{course.folder}/", "")[:600]
                findings.append(Finding(code="case.invalid", file=where, params={"reason": reason}))
                continue
            idea = case.misconception or case.style
            cases.append(
                {
                    "name": file.stem,
                    "kind": kind,
                    "cells": case.cells,
                    "loses": case.loses,
                    "message": case.message,
                    "misconception": {"nl": idea.nl, "en": idea.en} if idea else {},
                }
            )
    return cases, findings


def _english(course: Course, assignment: Assignment, target: Path) -> tuple[bool, list[Finding]]:
    """Bring the English variant in, where there is one."""
    name = f"{assignment.id}.ipynb"
    folder = course.folder / "english"
    if not (folder / name).is_file():
        if course.description.track not in _BOTH_LANGUAGES:
            return False, []
        params: dict[str, str | int | float] = {"assignment": assignment.id}
        return False, [Finding(code="english.missing", file=f"english/{name}", params=params)]
    findings = bring_in(folder, target, "english")
    return not findings, findings


def _described(course: Course, assignment: Assignment, source: Path) -> list[Finding]:
    """Whether course.yaml and the teacher's folder fit the notebook."""
    graded = _graded_cells(source / f"{assignment.id}.ipynb")
    findings = []
    for outcome in assignment.outcomes:
        params: dict[str, str | int | float] = {"outcome": outcome, "assignment": assignment.id}
        cells = assignment.measured_by.get(outcome, ())
        if not cells:
            findings.append(Finding(code="outcome.unmeasured", file="course.yaml", params=params))
        findings += [
            Finding(code="outcome.unknown_cell", cell=cell, file="course.yaml", params=params)
            for cell in cells
            if cell not in graded
        ]
    teacher = course.teacher(assignment.id)
    needed = [("guide.missing", "docent.md")]
    if any(by_hand for by_hand in graded.values()):
        needed.append(("rubric.missing", "rubric.md"))
    for code, name in needed:
        if not (teacher / name).is_file():
            where = str((teacher / name).relative_to(course.folder))
            findings.append(Finding(code=code, file=where, params={"assignment": assignment.id}))
    return findings


def _graded_cells(file: Path) -> dict[str, bool]:
    """The cells with points, and whether a teacher marks them; none where the notebook cannot be read."""
    try:
        if file.stat().st_size > _LARGEST_NOTEBOOK:
            return {}
        cells = json.loads(file.read_bytes())["cells"]
        marks = [cell["metadata"].get("nbgrader", {}) for cell in cells]
        return {
            str(mark["grade_id"]): bool(mark.get("solution")) or cell["cell_type"] == "markdown"
            for mark, cell in zip(marks, cells, strict=True)
            if mark.get("grade")
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        # What is wrong with it is said by the step that reads it to release it.
        return {}


def course_folders(folder: Path) -> Collection[Path]:
    """The courses that a path names: itself, or those of the catalogue's tracks below it.

    Raises:
        InputError: there is none.
    """
    if (folder / "course.yaml").exists():
        return [folder]
    found = sorted(file.parent for file in folder.glob("*/*/course.yaml"))
    if not found:
        raise InputError(
            f"{folder} is no course.", "It has no course.yaml, and no folders of courses.", "Name a course's folder."
        )
    return found
