"""The catalogue's own courses and the template keep every promise, and the quick way of running is the real one."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from small_course import Checker, SmallCourse

from confinement.run import start
from confinement.wall import HOME
from courses.catalogue import Course
from courses.model import Track
from courses.toolkit.check import CourseReport
from courses.toolkit.new import new_course
from courses.toolkit.steps import Check, Walls

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

CODE = Path(__file__).resolve().parents[3]
COURSES = sorted(file.parent for file in (CODE / "courses").glob("*/*/course.yaml"))
# What differs between two runs of the same code: numbers of widgets, places in memory, and the cell's own number.
_PASSING = re.compile(r"[0-9a-f]{32}|0x[0-9a-f]+|ipykernel_\d+/\d+|case-\w+|\x1b\[[0-9;]*m")


def failures(report: CourseReport) -> list[str]:
    found = [*report.findings, *(one for each in report.assignments for one in each.outcome.findings)]
    return [f"{one.cell} {one.case}: {one.what('en')}" for one in found if not one.is_note]


@pytest.mark.slow
@pytest.mark.parametrize("folder", COURSES, ids=lambda folder: folder.name)
def test_a_course_of_the_catalogue_keeps_every_promise(check: Checker, folder: Path) -> None:
    report = check(folder, everybody=True)
    assert failures(report) == []
    assert [one.id for one in report.assignments] == [one.id for one in Course.load(folder).assignments()]


@pytest.mark.slow
@pytest.mark.parametrize("track", [Track.MBO, Track.HBO])
def test_a_new_course_keeps_every_promise_at_once(check: Checker, tmp_path: Path, track: Track) -> None:
    report = check(new_course(tmp_path / "mijn-cursus", track), everybody=True)
    assert failures(report) == []
    (one,) = report.assignments
    assert {"en.reference", "reference-real", "wrong.een-hoge-meting"} <= {case.name for case in one.outcome.cases}


@pytest.mark.slow
def test_a_forked_kernel_gives_every_case_what_a_real_one_gives(
    walls: Walls, course: SmallCourse, tmp_path: Path
) -> None:
    cases = ("reference", "untouched", "wrong.optellen", "wrong.overgetypt", "other.met-macht", "edited")
    place = tmp_path / "check"
    place.mkdir(mode=0o700)
    bounds = {"notebook_seconds": 60, "cell_seconds": 60, "case_seconds": 120, "memory": 2**31}
    teacher = course.folder / "teacher" / "rekenen"
    plan = {
        "assignment": "rekenen", "track": "mbo", "bounds": bounds, "least_wrong": 0, "least_other": 0,
        "explorables": None, "english": False, "real": False, "only": list(cases),
        "cases": [
            {"name": file.stem, "kind": kind, "loses": "", "message": "", "misconception": {},
             "cells": json.loads(next(line for line in file.read_text().splitlines() if line.startswith("cells"))[7:])}
            for kind in ("wrong", "other") for file in sorted((teacher / kind).glob("*.yaml"))
        ],
    }  # fmt: skip
    made = Check(place, walls, plan, 2, lambda *_: None)
    shutil.copytree(course.folder / "source", made.desk / "course" / "source")
    made.outcome()
    names = [f"{HOME}/{name}" for name in ("notebook.ipynb", "executed.ipynb")]
    for case in cases:
        forked = place / "floor" / "runs" / case
        home = tmp_path / case
        (home / "files").mkdir(parents=True)
        shutil.copyfile(forked / "notebook.ipynb", home / "notebook.ipynb")
        command = ("/opt/notebook/bin/python", "-m", "leerlab_lab.execute", *names, "--cell-time", "60")
        with start(replace(walls.step(home, "run"), command=command, folder=Path(HOME, "files"))) as walled:
            assert walled.wait(60) == 0
        assert outputs(forked / "executed.ipynb") == outputs(home / "executed.ipynb"), case


def outputs(file: Path) -> list[str]:
    cells = nbformat.read(file, as_version=4).cells  # type: ignore[no-untyped-call]
    return [_PASSING.sub("", json.dumps(cell.get("outputs", []), sort_keys=True)) for cell in cells]
