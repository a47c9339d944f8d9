"""The exchange on disk: what was released, handed in and given back; complete or not there at all, never overwritten.

    <course>/released/<assignment>/<stamp>/               files/ and manifest.json
    <course>/submissions/<assignment>/<person>/<stamp>/   idem
    <course>/feedback/<assignment>/<person>/<stamp of the submission>/<stamp>/   idem
    incoming/<process>/<random>/                          on its way in; emptied when that process starts

Each innermost folder is a deposit: written in `incoming`, synced, then renamed to its place under the course's lock.
A stamp is the server's own time; a later deposit in the same folder always has a later stamp. Taking a release back is
a deposit without files, so that history stays.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from grading.errors import Conflict, NotFound, TooLarge
from grading.manifest import Kind, Manifest, Remembered
from grading.names import identifier, person, stamp
from grading.terms import Rules
from grading.tree import (
    TreeLimits,
    TreeWriter,
    describe,
    digest,
    full_disk_said_clearly,
    remove,
    stream,
    sync_folder,
)

SAME = timedelta(minutes=1)
"""The same files again within so long are the same hand-in: somebody clicked twice."""
MOST_SUBMISSIONS = 200  # of one person for one assignment: far above use, below what would fill a disk unseen
STAMP = "%Y%m%dT%H%M%S.%fZ"


@dataclass(frozen=True)
class Deposit:
    """A complete deposit: its manifest and where its files are."""

    manifest: Manifest
    folder: Path

    @property
    def files(self) -> Path:
        return self.folder / "files"


@dataclass(frozen=True)
class HandedIn:
    """That something was handed in: when, by its stamp, and whether there is feedback on it."""

    assignment: str
    student: str
    stamp: str
    feedback: bool


class Incoming:
    """A tree on its way in: fed piece by piece, then kept by one of the store's methods, or given up."""

    def __init__(self, folder: Path, limits: TreeLimits) -> None:
        folder.mkdir(mode=0o700)
        self.folder = folder
        self.writer = TreeWriter(folder / "files", limits)

    def give_up(self) -> None:
        """Remove what arrived; does nothing once the tree was kept."""
        self.writer.close()
        remove(self.folder)


class Store:
    """The exchange of one site. Safe to use from several threads and from `up` and the service at once.

    Args:
        root: `State.exchange`.
        limits: how much one tree may hold.
        process: what the process is called below `incoming/`; no two that run at once share it.
        now: the clock, in UTC.
    """

    def __init__(
        self,
        root: Path,
        limits: TreeLimits,
        process: str = "service",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._root = root
        self._incoming = root / "incoming" / process
        self._limits = limits
        self._now = now
        self._manifests = Remembered()

    def clear_incoming(self) -> None:
        """Remove what was on its way in when this process last ended; called before anything comes in."""
        remove(self._incoming)

    def incoming(self) -> Incoming:
        """Begin to take in a tree.

        Raises:
            DiskFull: no space left.
        """
        with full_disk_said_clearly():
            self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
            return Incoming(self._incoming / secrets.token_hex(12), self._limits)

    def incoming_copy(self, source: Path) -> Incoming:
        """A local folder of plain files as a tree on its way in.

        Raises:
            WrongTree: the folder holds links, special files or names that may not travel.
            TooLarge: it holds more than the limits.
        """
        incoming = self.incoming()
        try:
            for block in stream(source, describe(source)):
                incoming.writer.feed(block)
        except BaseException:
            incoming.give_up()
            raise
        return incoming

    def release(self, course: str, assignment: str, incoming: Incoming, *, by: str, force: bool = False) -> Deposit:
        """Make an assignment visible to the course's students.

        Args:
            force: replace what students see now; the earlier version stays in the history.

        Raises:
            Conflict: it is released already and force is not given.
        """
        place = self._place(course, "released", identifier("assignment", assignment))
        with self._locked(course):
            if not force and self._current(place) is not None:
                raise Conflict(
                    f"{assignment} of {course} is released already.",
                    "Students see the version that was released before.",
                    "Take the release back first, or release with --force.",
                )
            return self._keep(place, incoming, kind="release", course=course, assignment=assignment, by=by)

    def withdraw(self, course: str, assignment: str, *, by: str) -> Deposit:
        """Take a release back: students no longer see it; nothing that was handed in is touched.

        Raises:
            NotFound: it is not released.
        """
        place = self._place(course, "released", identifier("assignment", assignment))
        with self._locked(course):
            if self._current(place) is None:
                raise NotFound(f"{assignment} of {course} is not released.")
            incoming = self.incoming()
            incoming.writer.feed(b'{"files":[]}\n')
            return self._keep(place, incoming, kind="withdrawal", course=course, assignment=assignment, by=by)

    def released(self, course: str) -> list[Deposit]:
        """What the course's students see now, sorted by assignment."""
        place = self._place(course, "released")
        found = (self._current(place / name) for name in _names(place))
        return [deposit for deposit in found if deposit is not None]

    def release_of(self, course: str, assignment: str) -> Deposit:
        """The version of one assignment that students see now.

        Raises:
            NotFound: it is not released.
        """
        deposit = self._current(self._place(course, "released", identifier("assignment", assignment)))
        if deposit is None:
            raise NotFound(f"{course} has no released assignment {assignment}.")
        return deposit

    def submit(
        self,
        course: str,
        assignment: str,
        student: str,
        incoming: Incoming,
        *,
        key: str = "",
        rules: Rules | None = None,
    ) -> Deposit:
        """Keep what a student hands in, next to all that was handed in before.

        Args:
            key: the sender's own name for this sending; the same key again gives the same submission, and so do the
                same files within `SAME`.
            rules: deadline and attempts; without them everything is taken in.

        Raises:
            NotFound: the assignment is not released.
            TooLate, NoAttemptsLeft: the rules say so.
            TooLarge: the student handed this assignment in more than `MOST_SUBMISSIONS` times.
        """
        self.release_of(course, assignment)
        place = self._place(course, "submissions", identifier("assignment", assignment), person(student))
        with self._locked(course):
            earlier = self._deposits(place)
            same = self._sent_before(earlier, key) or self._just_now(earlier, incoming)
            if same is not None:
                incoming.give_up()
                return same
            if len(earlier) >= MOST_SUBMISSIONS:
                raise TooLarge(
                    f"{assignment} was handed in {len(earlier)} times.",
                    "No more can be taken in for this assignment; what was handed in is safe.",
                    "Ask your teacher.",
                )
            return self._keep(
                place,
                incoming,
                kind="submission",
                course=course,
                assignment=assignment,
                student=student,
                by=student,
                key=key,
                rules=rules or Rules(),
                before=len(earlier),
            )

    def must_be_taken_in(self, course: str, assignment: str, student: str, *, key: str, rules: Rules) -> None:
        """Say that work would not be taken in, before it travels; arguments and errors as of `submit`."""
        self.release_of(course, assignment)
        earlier = self._deposits(self._place(course, "submissions", assignment, person(student)))
        if self._sent_before(earlier, key) is None and not (earlier and self._recent(earlier[-1])):
            rules.judge(self._now(), len(earlier))

    @staticmethod
    def _sent_before(earlier: list[Deposit], key: str) -> Deposit | None:
        return next((deposit for deposit in reversed(earlier) if key and deposit.manifest.key == key), None)

    def _recent(self, deposit: Deposit) -> bool:
        return abs(self._now() - deposit.manifest.time) < SAME

    def _just_now(self, earlier: list[Deposit], incoming: Incoming) -> Deposit | None:
        """The newest submission, where it was made just now of the same files."""
        if not earlier or not self._recent(earlier[-1]):
            return None
        return earlier[-1] if earlier[-1].manifest.sha256 == digest(incoming.writer.finish()) else None

    def submissions(self, course: str, assignment: str = "", student: str = "") -> list[Deposit]:
        """What was handed in, oldest first per assignment and person.

        Args:
            assignment: only of this assignment; empty for all.
            student: only of this person; empty for all.
        """
        place = self._place(course, "submissions")
        assignments = [identifier("assignment", assignment)] if assignment else _names(place)
        found = []
        for one in assignments:
            students = [person(student)] if student else _names(place / one)
            for name in students:
                found += self._deposits(place / one / name)
        return found

    def handed_in(self, course: str, assignment: str = "") -> list[HandedIn]:
        """Who handed in what and when, by the names of folders alone: no manifest of a whole class is read.

        Args:
            assignment: only of this one; empty for all.
        """
        given, about = self._place(course, "submissions"), self._place(course, "feedback")
        found = []
        for one in [identifier("assignment", assignment)] if assignment else _names(given):
            answered = set(_names(about / one))
            for student in _names(given / one):
                place = about / one / student
                on = {name for name in _names(place) if _names(place / name)} if student in answered else set()
                found += [HandedIn(one, student, moment, moment in on) for moment in _names(given / one / student)]
        return found

    def submission(self, course: str, assignment: str, student: str, moment: str) -> Deposit:
        """One submission.

        Raises:
            NotFound: there is none of that name.
        """
        place = self._place(course, "submissions", identifier("assignment", assignment), person(student))
        return self._deposit(place / stamp(moment))

    def assignments(self, course: str) -> list[str]:
        """Assignments for which anything was handed in."""
        return _names(self._place(course, "submissions"))

    def stands(self, course: str, assignment: str) -> str:
        """A digest of what was handed in for an assignment: another one as soon as anything was added."""
        place = self._place(course, "submissions", identifier("assignment", assignment))
        newest = ((student, *_names(place / student)[-1:]) for student in _names(place))
        return hashlib.sha256(repr(list(newest)).encode()).hexdigest()

    def give_feedback(
        self, course: str, assignment: str, student: str, moment: str, incoming: Incoming, *, by: str
    ) -> Deposit:
        """Keep feedback on one submission; later feedback replaces earlier for the student, and both are kept.

        Raises:
            NotFound: there is no such submission.
        """
        about = self.submission(course, assignment, student, moment).manifest
        place = self._place(course, "feedback", about.assignment, about.student, about.stamp)
        with self._locked(course):
            return self._keep(
                place,
                incoming,
                kind="feedback",
                course=course,
                assignment=about.assignment,
                student=about.student,
                by=by,
                submission=about.stamp,
            )

    def feedback(self, course: str, assignment: str, student: str, moment: str) -> Deposit | None:
        """The newest feedback on one submission, if there is any."""
        place = self._place(course, "feedback", identifier("assignment", assignment), person(student), stamp(moment))
        deposits = self._deposits(place)
        return deposits[-1] if deposits else None

    def _place(self, course: str, *parts: str) -> Path:
        return self._root.joinpath(identifier("course", course), *parts)

    def _current(self, place: Path) -> Deposit | None:
        deposits = self._deposits(place)
        return deposits[-1] if deposits and deposits[-1].manifest.kind == "release" else None

    def _deposits(self, place: Path) -> list[Deposit]:
        return [self._deposit(place / name) for name in _names(place)]

    def _deposit(self, folder: Path) -> Deposit:
        # A deposit never changes, so its manifest is mostly read once.
        manifest = self._manifests.get(folder)
        if manifest is None:
            try:
                manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
            except FileNotFoundError:
                raise NotFound("That was not handed in or not given.") from None
            self._manifests.put(folder, manifest)
        return Deposit(manifest, folder)

    def _keep(
        self,
        place: Path,
        incoming: Incoming,
        *,
        kind: Kind,
        course: str,
        assignment: str,
        by: str,
        student: str = "",
        submission: str = "",
        key: str = "",
        rules: Rules | None = None,
        before: int = 0,
    ) -> Deposit:
        files = incoming.writer.finish()
        time = self._later_than(_names(place))
        standing = vars(rules.judge(time, before)) if rules is not None else {}
        manifest = Manifest(
            kind=kind,
            course=course,
            assignment=assignment,
            student=student,
            by=by,
            stamp=time.strftime(STAMP),
            time=time,
            submission=submission,
            key=key,
            files=tuple(files),
            size=sum(entry.size for entry in files),
            sha256=digest(files),
            **standing,
        )
        with full_disk_said_clearly():
            with (incoming.folder / "manifest.json").open("xb") as file:
                file.write(manifest.model_dump_json(indent=1).encode())
                file.flush()
                os.fsync(file.fileno())
            sync_folder(incoming.folder)
            self._make(place)
            target = place / manifest.stamp
            incoming.folder.rename(target)
            sync_folder(place)
        return Deposit(manifest, target)

    def _make(self, place: Path) -> None:
        """Make a folder below the root, every new name in it synced."""
        missing = [folder for folder in (place, *place.parents) if folder.is_relative_to(self._root)]
        for folder in reversed(missing):
            if not folder.is_dir():
                folder.mkdir(mode=0o700, exist_ok=True)
                sync_folder(folder.parent)

    def _later_than(self, names: list[str]) -> datetime:
        """Now, or just after the newest stamp where the clock was set back."""
        now = self._now().astimezone(UTC)
        if names:
            newest = datetime.strptime(names[-1], STAMP).replace(tzinfo=UTC)
            now = max(now, newest + timedelta(microseconds=1))
        return now

    @contextlib.contextmanager
    def _locked(self, course: str) -> Iterator[None]:
        """One change at a time per course, between threads and between processes."""
        place = self._place(course)
        with full_disk_said_clearly():
            self._make(place)
            descriptor = os.open(place / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _names(place: Path) -> list[str]:
    """Sorted names of the folders in a place that may not exist yet."""
    try:
        return sorted(entry.name for entry in os.scandir(place) if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []
