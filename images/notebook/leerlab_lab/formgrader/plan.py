"""What a run over everybody's work has begun and done, kept in the course's folder.

A course's server can end at any moment: its time is over, its machine fails, the hub starts it anew. What it had sent
to the cluster runs on there. The plan says what that is, so that the server that comes back goes on with it.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

FILE = "plan.json"
_LOCK = "lock"

log = logging.getLogger("leerlab.class_run")


class Kind(StrEnum):
    """What a run is for; the value is also the name of the folder in the course's that it keeps things in."""

    GRADE = ".runs"
    """Marks for work that is other than what was graded; they count at once."""
    AGAIN = ".again"
    """New marks for all work; they count when a teacher accepts them."""


class Stage(StrEnum):
    """How far a run is."""

    PREPARING = "preparing"
    RUNNING = "running"
    ENDED = "ended"


@dataclass
class Sending:
    """Notebooks that were sent to the cluster together.

    Args:
        key: under which they are sent: the same key twice is one execution.
        items: student and notebook of each, in the order of their folders.
        execution: the service's id, once it is known.
        again: whether they are sent for the second time, since the first came to no end.
        ended: whether all that came of it has been taken in.
    """

    key: str
    items: list[tuple[str, str]]
    execution: str = ""
    again: bool = False
    ended: bool = False


@dataclass
class Plan:
    """A run, as its file keeps it.

    Args:
        assignment: its name.
        kind: what it is for.
        students: whose work it is about.
        id: its own; what it sends to the cluster is known by it.
        began: when, in UTC.
        tests: digest of the assignment by which marks are given (`draft.Draft.digest`); empty before that is known.
        done: those who have their new marks.
        failed: those who got none, with the reason.
        noted: what a teacher should look at, by student.
        cancelled: whether somebody stopped it.
        resumed: how many times a server that came back has gone on with it.
    """

    assignment: str
    kind: Kind
    students: list[str]
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    began: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    stage: Stage = Stage.PREPARING
    tests: str = ""
    sendings: list[Sending] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    noted: dict[str, list[str]] = field(default_factory=dict)
    cancelled: bool = False
    resumed: int = 0


def place(course: Path, kind: Kind, assignment: str) -> Path:
    """The folder of a run.

    Args:
        course: the course's folder.
    """
    return course / kind / assignment


def keep(folder: Path, plan: Plan) -> None:
    """Write a plan down: all of it, or the file stays as it was.

    Raises:
        OSError: there is no room, or the folder cannot be written to.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_with(folder / FILE, json.dumps(asdict(plan)))


def replace_with(path: Path, text: str) -> None:
    """Write a file anew, so that it has the old text or the new one whatever happens.

    Raises:
        OSError: it has the old one.
    """
    fresh = path.with_name(f".{path.name}.fresh")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def kept(folder: Path) -> Plan | None:
    """The plan in a folder; None where there is none that can be read."""
    try:
        raw: dict[str, Any] = json.loads((folder / FILE).read_text("utf-8"))
        sendings = [
            Sending(**{**one, "items": [(student, notebook) for student, notebook in one["items"]]})
            for one in raw.pop("sendings")
        ]
        return Plan(**{**raw, "kind": Kind(raw["kind"]), "stage": Stage(raw["stage"]), "sendings": sendings})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError):
        log.exception(
            "The plan in %s cannot be read; what was graded stays so, the rest is graded by a new run", folder
        )
        return None


def forget(folder: Path) -> None:
    """Remove the plan of a run that has ended and whose end was told."""
    with suppress(Taken), alone(folder):
        (folder / FILE).unlink(missing_ok=True)


def broken_off(course: Path) -> list[Plan]:
    """Plans in a course's folder that have not come to their end."""
    folders = sorted(folder for kind in Kind for folder in (course / kind).glob("*") if folder.is_dir())
    return [plan for folder in folders if (plan := kept(folder)) is not None and plan.stage is not Stage.ENDED]


class Taken(Exception):
    """Another server works on the same run."""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only one, among all processes, who works on a run; the kernel lets go when a process ends.

    Raises:
        Taken: somebody else does.
        OSError: the folder cannot be written to.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Taken from None
        yield
    finally:
        os.close(descriptor)
