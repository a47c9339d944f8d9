"""Everything graded again: the new marks wait here, and count when a teacher accepts them.

Until then nothing of the gradebook changes. When they are accepted, each student's marks change all at once, one
student after the other; what was replaced stays in `.regraded/<assignment>/`. A server that ends half-way goes on with
it when it is back. Who was graded otherwise since, or whose marks cannot be put in, keeps the marks that were there.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from nbgrader.converters.base import NbGraderException
from nbgrader.coursedir import CourseDirectory
from sqlalchemy.exc import SQLAlchemyError

from leerlab_lab.formgrader.differences import OfStudent, as_plain, compared
from leerlab_lab.formgrader.draft import Draft, NotTheSameTests, Task, read
from leerlab_lab.formgrader.outcome import REPLACED, keep_outcome, outcome_of, replace_work
from leerlab_lab.formgrader.plan import Kind, Plan, Stage, Taken, alone, kept, place, replace_with
from leerlab_lab.formgrader.steps import ServerEnds, in_steps, patiently

RECORDS = ".regraded"
_ACCEPTED = "accepted.json"
_RECORD = re.compile(r"[0-9a-f]{16}\Z")
MEANWHILE = "This work was graded in another way meanwhile. Those marks stay."
OTHER_TESTS = "The assignment was changed again. The marks that were there stay."
_NOT_KEPT = "The new marks could not be kept now ({why}). The marks that were there stay."

log = logging.getLogger("leerlab.again")


class NotNow(Exception):
    """The new marks cannot be accepted or thrown away now; the text says why, as a code."""


def waiting(course: Path, assignment: str) -> Plan | None:
    """The run whose marks wait for a teacher's word, if there is one.

    Args:
        course: the course's folder.
    """
    plan = kept(place(course, Kind.AGAIN, assignment))
    return plan if plan is not None and plan.stage is Stage.ENDED and plan.done else None


def report(course: Path, gradebook: str, plan: Plan) -> tuple[list[OfStudent], bool]:
    """What would change, by the marks of this moment, and whether they are by the tests of this moment.

    Args:
        course: the course's folder.
        gradebook: its address.
        plan: of the run whose marks wait.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the gradebook cannot be read.
    """
    folder = place(course, Kind.AGAIN, plan.assignment)
    now = read(gradebook, plan.assignment, plan.done)
    rows = []
    for student in plan.done:
        if (outcome := outcome_of(folder, student)) is not None:
            rows.append(compared(student, now.sheets[student], outcome.after, now.tasks))
    return rows, now.digest == plan.tests


def discard(course: Path, assignment: str, report_id: str) -> None:
    """Throw the new marks away.

    Raises:
        NotNow: there are none, they are others, or they are being accepted.
    """
    folder = place(course, Kind.AGAIN, assignment)

    def there() -> bool:
        plan = waiting(course, assignment)
        return plan is not None and plan.id == report_id

    try:
        if not there():
            raise NotNow("other")
        with alone(folder):
            if not there():
                raise NotNow("other")
            if (folder / _ACCEPTED).exists():
                raise NotNow("accepted")
            shutil.rmtree(folder)
    except Taken:
        raise NotNow("accepted") from None


def put_in_before(folder: Path, plan: Plan) -> tuple[list[str], dict[str, str]] | None:
    """Who has accepted marks already, and who keeps the old ones, with the reason; None when they were not accepted.

    Args:
        folder: of the run that made the marks.
        plan: its plan.
    """
    try:
        said = json.loads((folder / _ACCEPTED).read_text("utf-8"))
    except FileNotFoundError:
        return None
    return (said["done"], said["failed"]) if said["report"] == plan.id else None


class Acceptance:
    """New marks that a teacher has accepted, on their way into the gradebook.

    Args:
        parent: what nbgrader's converters are configured by.
        plan: of the run that made the marks.
        steps: the executor of one thread in which nbgrader's steps are done.
    """

    def __init__(self, parent: Any, plan: Plan, steps: Executor) -> None:
        self._parent, self.plan, self._steps = parent, plan, steps
        self._course = Path(CourseDirectory(parent=parent).root)
        self.folder = place(self._course, Kind.AGAIN, plan.assignment)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"new marks of {plan.assignment}", daemon=True)
        self.done, self.failed = put_in_before(self.folder, plan) or ([], {})

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin, in a thread of its own; from here on a server that comes back goes on.

        Raises:
            Taken: another server of this course does so, or grades everything again.
            OSError: that cannot be kept, as when the disk is full; nothing was begun.
        """
        with ExitStack() as held:
            held.enter_context(alone(self.folder))
            self._keep()
            self._held = held.pop_all()
        self._thread.start()

    def told(self) -> dict[str, Any]:
        """How far it is, for a page."""
        return {
            "running": self.running, "stage": "running", "done": len(self.done), "total": len(self.plan.done),
            "failed": dict(self.failed), "report": self.plan.id,
        }  # fmt: skip

    def _run(self) -> None:
        with self._held:
            try:
                self._whole()
            except ServerEnds:
                log.info("The new marks of %s go on when this server is back", self.plan.assignment)
            except (OSError, SQLAlchemyError, NbGraderException):
                # What is in stays in; the page says how far it came, and a second yes or the next start goes on.
                log.exception("The new marks of %s cannot be put in now", self.plan.assignment)

    def _whole(self) -> None:
        coursedir = CourseDirectory(parent=self._parent)
        draft = patiently(partial(Draft, coursedir.db_url, self.plan.assignment), self._stopped)
        try:
            for student in self.plan.done:
                if student in self.done or student in self.failed:
                    continue
                try:
                    # In the thread of nbgrader's steps, one of which may be about the same work.
                    act = partial(in_steps, self._steps, partial(self._put, draft, coursedir, student))
                    patiently(act, self._stopped)
                except NotTheSameTests:
                    self.failed[student] = OTHER_TESTS
                except OSError as error:
                    log.exception("The new marks of %s could not be put in", student)
                    self.failed[student] = _NOT_KEPT.format(why=type(error).__name__)
                self._keep()
        finally:
            draft.remove()
        record(self._course, self.plan, self._rows(coursedir.db_url), self.failed)
        shutil.rmtree(self.folder)

    def _put(self, draft: Draft, coursedir: CourseDirectory, student: str) -> None:
        """Have one student's new marks count: all of them or none. Done again, it changes nothing."""
        outcome = outcome_of(self.folder, student)
        if outcome is None:
            self.failed[student] = _NOT_KEPT.format(why="lost")
            return
        if draft.digest != self.plan.tests:
            raise NotTheSameTests
        present = draft.bring(student)
        replaced = outcome_of(self.folder, student, REPLACED)
        if replaced is None and present.automatic != outcome.before.automatic:
            self.failed[student] = MEANWHILE
            return
        after = draft.put(outcome.after, self._parent)
        keep_outcome(self.folder, student, replaced.before if replaced else present, after, REPLACED)
        draft.settle(after)
        replace_work(coursedir, self.folder, self.plan.assignment, student)
        self.done.append(student)

    def _rows(self, gradebook: str) -> list[OfStudent]:
        tasks: Sequence[Task] = read(gradebook, self.plan.assignment).tasks
        found = [(student, outcome_of(self.folder, student, REPLACED)) for student in self.done]
        return [compared(student, one.before, one.after, tasks) for student, one in found if one is not None]

    def _keep(self) -> None:
        said = {"report": self.plan.id, "done": self.done, "failed": self.failed}
        replace_with(self.folder / _ACCEPTED, json.dumps(said))


def gone_on(parent: Any, steps: Executor) -> list[Acceptance]:
    """Go on with new marks that were accepted when a server of this course ended.

    Args:
        parent: what nbgrader's converters are configured by.
        steps: the executor of one thread in which nbgrader's steps are done.
    """
    course, found = Path(CourseDirectory(parent=parent).root), []
    for file in sorted((course / Kind.AGAIN).glob(f"*/{_ACCEPTED}")):
        plan = waiting(course, file.parent.name)
        if plan is None:
            continue
        acceptance = Acceptance(parent, plan, steps)
        try:
            acceptance.start()
        except (OSError, Taken) as error:
            log.error("The new marks of %s are not put in here: %r", plan.assignment, error)
        else:
            found.append(acceptance)
    return found


def record(course: Path, plan: Plan, rows: Sequence[OfStudent], stayed: dict[str, str]) -> None:
    """Keep what was replaced, and by what.

    Args:
        course: the course's folder.
        plan: of the run that made the marks.
        rows: the marks before and after.
        stayed: who kept the marks that were there, with the reason.
    """
    folder = course / RECORDS / plan.assignment
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    said = {"id": plan.id, "began": plan.began, "rows": as_plain(rows), "stayed": {**plan.failed, **stayed}}
    replace_with(folder / f"{plan.id}.json", json.dumps(said))


def records(course: Path, assignment: str) -> list[tuple[str, str]]:
    """Id and moment of what was graded again before, the last first."""
    found = []
    for file in (course / RECORDS / assignment).glob("*.json"):
        said = json.loads(file.read_text("utf-8"))
        found.append((str(said["id"]), str(said["began"])))
    return sorted(found, key=lambda one: one[1], reverse=True)


def recorded(course: Path, assignment: str, report_id: str) -> tuple[list[OfStudent], dict[str, str]] | None:
    """What was replaced once, and who kept what was there; None where nothing is known under that id."""
    if not _RECORD.match(report_id):
        return None
    try:
        said = json.loads((course / RECORDS / assignment / f"{report_id}.json").read_text("utf-8"))
    except FileNotFoundError:
        return None
    return [OfStudent.of(row) for row in said["rows"]], said["stayed"]
