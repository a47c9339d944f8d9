"""What came of a student's work in a run: marks that wait for a teacher's word, and the graded work itself.

In the run's folder:

outcomes/<student>.json     the marks that were there when it was graded again, and those that came of it
marked/<student>/<assignment>/   the graded work
replaced/<student>.json     while they are accepted: the marks that were replaced, and by which
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from nbgrader.coursedir import CourseDirectory

from leerlab_lab.formgrader.draft import Sheet
from leerlab_lab.formgrader.plan import replace_with

MARKED, OUTCOMES, REPLACED = "marked", "outcomes", "replaced"
_ASIDE = "aside"


@dataclass(frozen=True)
class Outcome:
    """What one student had, and has or would have."""

    before: Sheet
    after: Sheet


def keep_outcome(folder: Path, student: str, before: Sheet, after: Sheet, what: str = OUTCOMES) -> None:
    """Keep both, complete or not at all.

    Args:
        folder: the run's.
        what: which of the run's folders.

    Raises:
        OSError: there is no room.
    """
    (folder / what).mkdir(exist_ok=True)
    text = json.dumps({"before": before.to_json(), "after": after.to_json()})
    replace_with(folder / what / f"{student}.json", text)


def outcome_of(folder: Path, student: str, what: str = OUTCOMES) -> Outcome | None:
    """What was kept of one student, if anything was."""
    try:
        said = json.loads((folder / what / f"{student}.json").read_text("utf-8"))
    except FileNotFoundError:
        return None
    return Outcome(Sheet.from_json(said["before"]), Sheet.from_json(said["after"]))


def clear(folder: Path) -> None:
    """Remove what an earlier run has left in its folder."""
    for name in (MARKED, OUTCOMES, REPLACED, _ASIDE):
        shutil.rmtree(folder / name, ignore_errors=True)


def replace_work(coursedir: CourseDirectory, folder: Path, assignment: str, student: str) -> None:
    """Put the graded work of a run in the place of what was there; done again, it changes nothing.

    Args:
        coursedir: the course's.
        folder: the run's.
    """
    fresh = folder / MARKED / student / assignment
    if not fresh.is_dir():
        return
    target = Path(coursedir.format_path(coursedir.autograded_directory, student, assignment))
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = folder / _ASIDE / student
    shutil.rmtree(aside, ignore_errors=True)
    aside.parent.mkdir(exist_ok=True)
    if target.exists():
        target.rename(aside)
    fresh.rename(target)
    shutil.rmtree(aside, ignore_errors=True)
