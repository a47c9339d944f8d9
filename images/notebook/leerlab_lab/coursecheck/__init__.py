"""Proves what an assignment promises, from inside a lab or behind the toolkit's wall.

    from leerlab_lab import coursecheck

    result = coursecheck.check(
        "mijn-opdracht.ipynb",
        wrong=[
            {
                "name": "telt-alles",
                "misconception": {"nl": "Telt alles op.", "en": "Adds up everything."},
                "loses": "controle-gemiddelde",
                "message": "Deel nog door het aantal.",
                "cells": {"gemiddelde": "def gemiddelde(x):\n    return sum(x)\n"},
            }
        ],
        other=[{"name": "met-een-lus", "cells": {"gemiddelde": "def gemiddelde(x): ..."}}],
    )
    result.ok          # True or False
    result             # in a notebook: a table in Dutch; result.in_language("en") in English
    result.findings    # what is wrong: .code, .cell, .case, .says("nl"), .why("nl"), .do("nl")
    result.cases       # one a case: .name, .kind, .ok, .seconds, .marks {grade_id: (got, most)}

`check(notebook, wrong=(), other=(), *, least_wrong=0, least_other=0, language="nl", jobs=None) -> Result`

- `notebook`: path of a source notebook in nbgrader's format, with `### BEGIN SOLUTION` and `### BEGIN HIDDEN TESTS`.
  Other files of its folder, except notebooks, go along. Nothing in that folder is changed.
- `wrong`, `other`: cases as in `wrong/*.yaml` and `other/*.yaml` of a course, as dicts.
- It makes the release with the real nbgrader, and has it grade the reference (twice), the untouched release, a
  learner who edits, deletes or renames a test cell, and every case. It never raises for a fault of the notebook:
  that is a finding.
- `ValueError`: an argument has not the form above. `FileNotFoundError`: there is no such notebook.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from leerlab_lab.coursecheck import local
from leerlab_lab.coursecheck.plan import COURSE, Bounds, Case, Kind, Plan
from leerlab_lab.coursecheck.result import CaseResult, Finding, Result

__all__ = ["CaseResult", "Finding", "Result", "check"]
_NAME = "opdracht"


def check(
    notebook: str | Path,
    wrong: Sequence[Mapping[str, Any]] = (),
    other: Sequence[Mapping[str, Any]] = (),
    *,
    least_wrong: int = 0,
    least_other: int = 0,
    language: str = "nl",
    jobs: int | None = None,
) -> Result:
    """Prove what an assignment promises.

    Args:
        notebook: path of a source notebook in nbgrader's format.
        wrong, other: cases, as dicts.
        least_wrong, least_other: how many of each there must be.
        language: `nl` or `en`, in which the result shows itself.
        jobs: how many cases run side by side; as many as there are cores without it.

    Raises:
        ValueError: a case has not the right form, or two have one name.
        FileNotFoundError: there is no such notebook.
    """
    source = Path(notebook).resolve(strict=True)
    cases = [
        Case.of(one, kind, n)
        for kind, some in ((Kind.WRONG, wrong), (Kind.OTHER, other))
        for n, one in enumerate(some, 1)
    ]
    if len({case.student for case in cases}) < len(cases):
        raise ValueError("two cases have the same name")
    plan = Plan(_NAME, tuple(cases), bounds=Bounds(), least_wrong=least_wrong, least_other=least_other)
    with tempfile.TemporaryDirectory(prefix="check-") as scratch:
        folder = Path(scratch).resolve()
        own = folder / COURSE / "source" / _NAME
        shutil.copytree(source.parent, own, ignore=_others)
        shutil.copyfile(source, own / f"{_NAME}.ipynb")
        try:
            said = local.run(folder, plan, jobs or len(os.sched_getaffinity(0)))
        except local.StepFailed as error:
            finding = Finding("check.failed", file=source.name, params={"reason": str(error)})
            return Result((finding,), (), (), language)
    return Result.of(said, language)


def _others(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name.endswith(".ipynb") or name.startswith(".") or name == "__pycache__"]
