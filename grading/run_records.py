"""What the service remembers of each assignment's class runs: one small file each, whole or as it was before.

    class-runs/<course>/<assignment>.json

Nothing here is needed to keep work or marks. Without a file, work that is newer than its marks is graded again.
"""

from __future__ import annotations

import logging
import os
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from grading.names import identifier

log = logging.getLogger("grading")


class Told(BaseModel):
    """What a course's server tells of a class run (leerlab_lab/formgrader/class_run.py).

    Args:
        running: whether it goes on.
        done: students who were marked.
        total: students whose work was newer than their marks when it began.
        failed: by student, why they were not marked.
        cancelled: whether somebody stopped it.
        again: whether it is a teacher's, who grades everything again and decides afterwards whether it counts.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    running: bool
    done: int = Field(ge=0)
    total: int = Field(ge=0)
    failed: dict[str, str] = {}
    cancelled: bool = False
    again: bool = False


class Record(BaseModel):
    """One assignment's runs so far.

    Args:
        asked: how often an operator has asked for a run.
        answered: which of these the newest ended run answers; less than `asked`: one is due.
        covered: what had been handed in (`Store.stands`) when the newest whole run began.
        scheduled: the newest moment of a schedule that was dealt with.
        tries: runs in a row that failed, wholly or for some students.
        again: not before this moment by itself.
        trouble: why the newest run failed; empty: it did not.
        by: who or what began the newest run.
        began, ended: of the newest run.
        result: what the course's server told of it last.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    asked: int = 0
    answered: int = 0
    covered: str = ""
    scheduled: datetime | None = None
    tries: int = 0
    again: datetime | None = None
    trouble: str = ""
    by: str = ""
    began: datetime | None = None
    ended: datetime | None = None
    result: Told | None = None


class Records:
    """All records of one site; one process writes them.

    Args:
        root: `State.class_runs`.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[tuple[str, str], Record] = {}

    def courses(self) -> list[str]:
        """Courses that have ever had a run."""
        try:
            return sorted(entry.name for entry in os.scandir(self._root) if entry.is_dir(follow_symlinks=False))
        except FileNotFoundError:
            return []

    def of(self, course: str, assignment: str) -> Record:
        """The record of one assignment; an empty one where there is none, or none that can be read."""
        key = course, assignment
        if key not in self._known:
            self._known[key] = self._read(self._file(course, assignment))
        return self._known[key]

    def keep(self, course: str, assignment: str, record: Record) -> None:
        """Replace a record: on disk when this returns. One that cannot be written holds until the service ends."""
        self._known[course, assignment] = record
        file = self._file(course, assignment)
        fresh = file.with_name(f".{file.name}")
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with fresh.open("wb") as stream:
                stream.write(record.model_dump_json().encode())
                stream.flush()
                os.fsync(stream.fileno())
            fresh.replace(file)
        except OSError as error:
            log.error("%s cannot be written: %s. Marks and work are not touched.", file, error)

    def _file(self, course: str, assignment: str) -> Path:
        return self._root / identifier("course", course) / f"{identifier('assignment', assignment)}.json"

    def _read(self, file: Path) -> Record:
        try:
            return Record.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            return Record()
        except (OSError, ValidationError) as error:
            log.error("%s cannot be read, so what is newer than its marks is graded again: %s", file, error)
            return Record()
