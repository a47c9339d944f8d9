"""A course's rules for hand-ins on disk: each change is a file of its own, so that what held when stays known.

    <course>/terms/<stamp>.json   all rules of the course, as they are from that moment on

The newest is in force. It lies in the exchange beside the work that it is about, and is backed up with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from grading.names import identifier
from grading.store import STAMP
from grading.terms import HandIn, Rules, Terms
from grading.tree import full_disk_said_clearly, sync_folder

PLACE = "terms"


class TermsShelf:
    """The rules of every course of a site. Safe to use from several threads and processes at once.

    Args:
        root: `State.exchange`.
        now: the clock, in UTC.
    """

    def __init__(self, root: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._root = root
        self._now = now
        self._read: dict[str, tuple[str, Terms]] = {}

    def of(self, course: str) -> Terms:
        """The rules of a course as they are now."""
        names = self._names(course)
        if not names:
            return Terms()
        known = self._read.get(course)
        if known is None or known[0] != names[-1]:
            # A file never changes, so each is read once.
            found = Terms.model_validate_json((self._place(course) / names[-1]).read_bytes())
            known = self._read[course] = (names[-1], found)
        return known[1]

    def rules(self, course: str, assignment: str, student: str) -> Rules:
        """What holds for one student and one assignment now."""
        return self.of(course).rules(assignment, student)

    def history(self, course: str) -> list[Terms]:
        """All rules that ever held, oldest first."""
        place = self._place(course)
        return [Terms.model_validate_json((place / name).read_bytes()) for name in self._names(course)]

    def change(self, course: str, by: str, changed: Callable[[Terms], Terms]) -> tuple[Terms, Terms]:
        """Put other rules in force; what is the same as before is not written down again.

        Args:
            by: who does it.
            changed: gives the new rules, from those that hold.

        Returns:
            What held before, and what holds now.

        Raises:
            DiskFull: nothing was changed.
        """
        with self._locked(course) as place:
            before = self.of(course)
            names = self._names(course)
            time = self._now()
            if names:
                newest = datetime.strptime(names[-1].removesuffix(".json"), STAMP).replace(tzinfo=UTC)
                time = max(time, newest + timedelta(microseconds=1))
            made = changed(before)
            if made == before:
                return before, before
            after = made.model_copy(update={"time": time, "by": by})
            self._write(place, f"{time.strftime(STAMP)}.json", after)
            return before, after

    def describe(self, course: str, hand_in: HandIn, *, by: str) -> None:
        """Take over what the course's own course.yaml says; errors as of `change`."""
        self.change(course, by, lambda terms: terms.model_copy(update={"described": hand_in}))

    def _write(self, place: Path, name: str, terms: Terms) -> None:
        fresh = place / f".{secrets.token_hex(8)}"
        with full_disk_said_clearly():
            try:
                with fresh.open("xb") as file:
                    file.write(terms.model_dump_json(indent=1).encode())
                    file.flush()
                    os.fsync(file.fileno())
                fresh.rename(place / name)
                sync_folder(place)
            finally:
                fresh.unlink(missing_ok=True)

    def _place(self, course: str) -> Path:
        return self._root / identifier("course", course) / PLACE

    def _names(self, course: str) -> list[str]:
        try:
            return sorted(name for name in os.listdir(self._place(course)) if not name.startswith("."))  # noqa: PTH208
        except FileNotFoundError:
            return []

    @contextlib.contextmanager
    def _locked(self, course: str) -> Iterator[Path]:
        """One change at a time for a course, between threads and between processes."""
        place = self._place(course)
        with full_disk_said_clearly():
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(place / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield place
        finally:
            os.close(descriptor)
