"""Brings a course of the catalogue into the site and releases assignments, without ever undoing a teacher's work.

What a course's folder got from the catalogue is remembered in `.leerlab.json` beside it. An assignment that still is as
it came is brought up to date when the catalogue changes; one that a teacher changed stays as it is, and the result says
so. nbgrader has one source for an assignment, and grades all work by it: work of another version would lose marks that
it has earned. Therefore an assignment that somebody has in hand, or handed in, gets other words and tests, but no other
graded cells. Marks that were given stay, until the teacher has everything graded again.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from base.errors import LeerlabError
from base.messages import Message
from base.paths import Installation, State
from confinement.run import start
from confinement.settings import ConfinementSettings
from confinement.wall import Wall
from grading.errors import NotFound
from grading.in_work import same_marks, who_has
from grading.names import identifier
from grading.plans import COMMANDS, LAB, NOTEBOOK_ENV, notebook_binds, seccomp_of
from grading.store import Store
from grading.tree import TreeLimits, describe, digest, remove

GENERATE_SECONDS = 180
REMEMBERED = ".leerlab.json"
ENGLISH = "english"
BY = "leerlab"
# The line of a traceback that names the reason.
_WHY = re.compile(r"^\s*((?:[\w.]*(?:Error|Exception)): .{1,400})$", re.MULTILINE)
_CONFIGURATION = "# Written by Leerlab at every start.\nc = get_config()\nc.CourseDirectory.course_id = {course!r}\n"


class Done(StrEnum):
    """What became of one assignment; the value is the code of a message with `course` and `assignment`."""

    RELEASED = "grading.release.released"
    UNCHANGED = "grading.release.unchanged"
    ADDED = "grading.release.added"
    TEACHERS_OWN = "grading.release.teachers_own"
    CORRECTED = "grading.release.corrected"
    HANDED_IN = "grading.release.handed_in"
    IN_WORK = "grading.release.in_work"
    DROPPED = "grading.release.dropped"
    TAKEN_BACK = "grading.release.taken_back"


class ReleaseFailed(LeerlabError):
    """An assignment could not be made ready for students."""


@dataclass(frozen=True)
class Result:
    """What became of one assignment; `people` are those who have it in hand, where that is why it stays."""

    assignment: str
    done: Done
    course: str
    people: tuple[str, ...] = ()

    @property
    def message(self) -> Message:
        """The same, to say to a person."""
        return Message(self.done.value, {"course": self.course, "assignment": self.assignment})


class _Remembered(BaseModel):
    """Digests of each assignment's source: as it came from the catalogue, and as it was released."""

    model_config = ConfigDict(extra="forbid")

    came: dict[str, str] = {}
    released: dict[str, str] = {}


def release(
    course: str,
    catalogue: Path,
    released: Sequence[str],
    *,
    state: State,
    installation: Installation,
    confinement: ConfinementSettings,
    limits: TreeLimits,
) -> list[Result]:
    """Bring all assignments of a course into the site, and release those that are named.

    Args:
        course: the course's id.
        catalogue: the course's folder, with `source/<assignment>`.
        released: assignments that students get.
        limits: how much one assignment may hold.

    Returns:
        What became of each assignment, in order.

    Raises:
        ReleaseFailed: the catalogue lacks an assignment that is to be released, or nbgrader does not accept it.
        LeerlabError: the wall cannot be built, the disk is full, or a folder holds links.
    """
    home = state.courses / identifier("course", course)
    home.mkdir(mode=0o700, exist_ok=True)
    (home / "source").mkdir(exist_ok=True)
    _write(home / "nbgrader_config.py", _CONFIGURATION.format(course=course))
    store = Store(state.exchange, limits, process="up")
    store.clear_incoming()
    offered = sorted(folder.name for folder in (catalogue / "source").iterdir() if folder.is_dir())
    missing = [name for name in released if name not in offered and not (home / "source" / name).is_dir()]
    if missing:
        raise ReleaseFailed(
            f"{course} has no assignment {missing[0]}.",
            f"The catalogue's folder {catalogue} offers {', '.join(offered) or 'none'}.",
            "Change `released` of this course in site.yaml.",
        )
    work = _Course(course, home, catalogue, store, _remembered(home), state, installation, confinement)
    results = []
    dropped = {name for name in work.remembered.came if (home / "source" / name).is_dir()}
    for assignment in sorted({*offered, *released, *dropped}):
        done = work.bring(identifier("assignment", assignment))
        if done not in (Done.HANDED_IN, Done.IN_WORK):
            work.bring_english(assignment)
        # Before the release, which may fail: else the next start would take this for a teacher's own work.
        _write(home / REMEMBERED, work.remembered.model_dump_json(indent=1))
        now = work.release(assignment) if assignment in released else Done.UNCHANGED
        if done is Done.CORRECTED:
            if now is not Done.RELEASED:
                # Nobody gets it any more, but what was handed in is graded by it.
                work.generate(assignment)
        elif now is not Done.UNCHANGED:
            done = now
        # Also when a later assignment fails: what was done is not done again.
        _write(home / REMEMBERED, work.remembered.model_dump_json(indent=1))
        people = who_has(state.homes, course, assignment) if done is Done.IN_WORK else ()
        results.append(Result(assignment, done, course, people))
    return results


@dataclass(frozen=True)
class _Course:
    """One course while it is brought in."""

    course: str
    home: Path
    catalogue: Path
    store: Store
    remembered: _Remembered
    state: State
    installation: Installation
    confinement: ConfinementSettings

    def bring(self, assignment: str) -> Done:
        """Bring the assignment's source in, or up to date."""
        offered, own = self.catalogue / "source" / assignment, self.home / "source" / assignment
        handed_in = False
        if not offered.is_dir():
            # It was part of the course before: who has it keeps it, and a teacher may take it back.
            return Done.DROPPED if assignment in self.remembered.came else Done.TEACHERS_OWN
        new = digest(describe(offered))
        if own.is_dir():
            now = digest(describe(own))
            if now == new:
                self.remembered.came[assignment] = new
                return Done.UNCHANGED
            if now != self.remembered.came.get(assignment):
                return Done.TEACHERS_OWN
            if handed_in := bool(self.store.submissions(self.course, assignment)):
                if not same_marks(own, offered, handed_in=True):
                    return Done.HANDED_IN
            elif not same_marks(own, offered) and who_has(self.state.homes, self.course, assignment):
                return Done.IN_WORK
        fresh = own.with_name(f".{assignment}.fresh")
        remove(fresh)
        shutil.copytree(offered, fresh, copy_function=shutil.copyfile)
        remove(own)
        fresh.rename(own)
        self.remembered.came[assignment] = new
        return Done.CORRECTED if handed_in else Done.ADDED

    def bring_english(self, assignment: str) -> None:
        """Bring the English words of an assignment in, as far as the assignment itself is as it came."""
        own = self.home / ENGLISH / f"{assignment}.ipynb"
        offered = self.catalogue / ENGLISH / f"{assignment}.ipynb"
        if self.remembered.came.get(assignment) != digest(describe(self.home / "source" / assignment)):
            return
        if not offered.is_file():
            own.unlink(missing_ok=True)
            return
        own.parent.mkdir(mode=0o700, exist_ok=True)
        fresh = own.with_name(f".{assignment}.fresh")
        shutil.copyfile(offered, fresh)
        fresh.replace(own)

    def _state(self, assignment: str) -> str:
        """Digest of all that a release is made of."""
        source = digest(describe(self.home / "source" / assignment))
        words = self.home / ENGLISH / f"{assignment}.ipynb"
        if not words.is_file():
            return source
        return hashlib.sha256(source.encode() + words.read_bytes()).hexdigest()

    def release(self, assignment: str) -> Done:
        """Release the assignment, if that is due."""
        now, before = self._state(assignment), self.remembered.released.get(assignment)
        as_it_came = self.remembered.came.get(assignment) == digest(describe(self.home / "source" / assignment))
        try:
            self.store.release_of(self.course, assignment)
        except NotFound:
            if before is not None:
                return Done.TAKEN_BACK
        else:
            # A teacher's changed source is released by the teacher, in formgrader.
            if before is None or before == now or not as_it_came:
                return Done.UNCHANGED
        self.generate(assignment)
        incoming = self.store.incoming_copy(self.home / "release" / assignment)
        try:
            self.store.release(self.course, assignment, incoming, by=BY, force=True)
        finally:
            incoming.give_up()
        self.remembered.released[assignment] = now
        return Done.RELEASED

    def generate(self, assignment: str) -> None:
        """nbgrader keeps the tests and makes the student version; behind a wall, for notebooks are somebody's work."""
        python = f"{NOTEBOOK_ENV}/bin/python"
        wall = Wall(
            command=(python, "-m", "leerlab_lab.english", assignment),
            home=self.home,
            seccomp=seccomp_of(self.state),
            binds=notebook_binds(self.installation, self.state),
            root=self.installation.image,
            environment={
                "PATH": COMMANDS,
                "PYTHONPATH": str(LAB),
                "JUPYTER_CONFIG_PATH": f"{LAB}/config/course",
                "JUPYTER_CONFIG_DIR": "/tmp/jupyter",  # noqa: S108 - the wall's own
                "JUPYTER_DATA_DIR": "/tmp/jupyter",  # noqa: S108
                "IPYTHONDIR": "/tmp/ipython",  # noqa: S108
            },
            **self.confinement.sizes(),
        )
        with start(wall) as walled:
            try:
                code = walled.wait(GENERATE_SECONDS)
            except TimeoutError:
                code = walled.terminate()
            said = walled.output.decode(errors="replace")
        if code:
            raise ReleaseFailed(
                f"nbgrader made no student version of {assignment} (exit code {code}).",
                "It said: " + "; ".join(_WHY.findall(said)[:1] or said.split("\n")[-3:]),
                "Repair the assignment's source.",
            )


def _remembered(home: Path) -> _Remembered:
    try:
        return _Remembered.model_validate_json((home / REMEMBERED).read_bytes())
    except FileNotFoundError:
        return _Remembered()


def _write(path: Path, text: str) -> None:
    fresh = path.with_name(f"{path.name}.fresh")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
