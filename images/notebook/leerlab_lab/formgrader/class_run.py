"""Grading everybody's work for one assignment: prepared here, run by the cluster all together, marked here again.

nbgrader's steps are done one after the other in the one thread that may do them; in between the cluster runs up to
`MOST` notebooks in one job. nbgrader gives the marks in a draft of the gradebook, and each student's come into the
gradebook all at once, or, where everything is graded again, when a teacher accepts them. What was not graded, for a
reason that is not the student's, says so and is graded again the next time. A run that is broken off leaves the marks
that were there; one whose server ended goes on when that is back.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from nbgrader.apps.api import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import capture_log, temp_attrs
from sqlalchemy.exc import SQLAlchemyError

from leerlab_lab.came_back import CameBack
from leerlab_lab.formgrader.draft import Draft, NotTheSameTests, Sheet
from leerlab_lab.formgrader.outcome import MARKED, clear, keep_outcome, replace_work
from leerlab_lab.formgrader.plan import Kind, Plan, Sending, Stage, Taken, alone, broken_off, keep, place
from leerlab_lab.formgrader.sending import WITHOUT_END, Item, executed, items_in, send, standing
from leerlab_lab.formgrader.steps import ServerEnds, in_steps, patiently
from leerlab_lab.halves import FirstHalf, SecondHalf, TakeOver, begun
from leerlab_lab.preprocessors import NotGraded
from leerlab_lab.service import Service, ServiceError
from leerlab_lab.valuechecks.marking import Answers

MOST = 50
"""Notebooks in one job."""
MOST_AGAIN = 10
"""Notebooks in one job that are sent for the second time: one that takes others along takes few."""
LOOK_SECONDS = 1.0
MOST_NOTES = 10
LONGEST_WAIT = 6 * 3600.0
AWAY_SECONDS = 600.0
"""How long the service may be away, as at a restart, while the cluster goes on."""
_WARNING = "[WARNING]"
_AWAY = frozenset({0, 500, 502, 503, 504})
_CHANGED = "The assignment was changed while it was being graded. The marks that were there stay. Grade again."
_LOCKED = "The gradebook cannot be reached or written to now. The marks that were there stay. Grade again later."

log = logging.getLogger("leerlab.class_run")


class ClassRun:
    """One run over an assignment.

    Args:
        parent: what nbgrader's converters are configured by.
        plan: what is to be done, and what was done before this server began.
        steps: the executor of one thread in which nbgrader's steps are done.
    """

    _draft: Draft

    def __init__(self, parent: Any, plan: Plan, steps: Executor) -> None:
        self._parent, self.plan, self._steps = parent, plan, steps
        self._course = Path(CourseDirectory(parent=parent).root)
        self.folder = place(self._course, plan.kind, plan.assignment)
        self._stopped, self._writing = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"class run of {plan.assignment}", daemon=True)
        self._results: dict[tuple[str, str], CameBack | Answers] = {}
        self._arrived: set[tuple[str, str]] = set()
        self._heard = time.monotonic()

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin, in a thread of its own.

        Raises:
            Taken: another server of this course works on such a run.
            OSError: the plan cannot be kept, as when the disk is full; nothing was begun.
        """
        with ExitStack() as held:
            held.enter_context(alone(self.folder))
            keep(self.folder, self.plan)
            self._held = held.pop_all()
        self._thread.start()

    def cancel(self) -> None:
        """Stop after what is being marked now; what was marked stays so."""
        self.plan.cancelled = True
        self._stopped.set()
        if self.running:
            self._keep()

    def told(self) -> dict[str, Any]:
        """How far it is, for a page."""
        plan = self.plan
        return {
            "running": self.running, "stage": plan.stage.value, "done": len(plan.done), "total": len(plan.students),
            "failed": dict(plan.failed), "noted": dict(plan.noted), "cancelled": plan.cancelled,
            "again": plan.kind is Kind.AGAIN, "resumed": plan.resumed,
            "sent_again": sum(len(sending.items) for sending in plan.sendings if sending.again),
        }  # fmt: skip

    def _run(self) -> None:
        with self._held:
            try:
                self._whole()
            except ServerEnds:
                log.info("The run over %s goes on when this server is back", self.plan.assignment)

    def _whole(self) -> None:
        draft: Draft | None = None
        try:
            draft = patiently(partial(Draft, self._coursedir().db_url, self.plan.assignment), self._stopped)
            if self.plan.tests not in {"", draft.digest}:
                raise NotTheSameTests
            self.plan.tests = draft.digest
            self._draft = draft
            items = self._prepared() if self.plan.stage is Stage.PREPARING else self._prepared_before()
            if items and not self._stopped.is_set():
                self._graded(items)
            if not self._stopped.is_set():
                self._rest_failed("This was not graded. Grade it again.")
        except ServerEnds:
            raise
        except ServiceError as error:
            self._rest_failed(str(error))
        except NotTheSameTests:
            self._rest_failed(_CHANGED)
        except SQLAlchemyError as error:
            log.exception("The gradebook cannot be read")
            self._rest_failed(f"{_LOCKED} ({type(error).__name__})")
        except Exception as error:
            log.exception("The run over %s was broken off", self.plan.assignment)
            self._rest_failed(repr(error))
        finally:
            if draft is not None:
                draft.remove()
        self._ended()

    def _ended(self) -> None:
        """Clear up, and say that nothing more is to be done."""
        service = Service()
        for sending in self.plan.sendings:
            if sending.execution:
                try:
                    service.ask("DELETE", f"/executions/{sending.execution}")
                except ServiceError as error:
                    log.warning("Execution %s stays until the service clears it: %s", sending.execution, error)
        for student in self.plan.students:
            shutil.rmtree(begun(self._coursedir(), self.plan.assignment, student), ignore_errors=True)
        if self.plan.kind is Kind.GRADE:
            shutil.rmtree(self.folder / MARKED, ignore_errors=True)
        self.plan.stage = Stage.ENDED
        if self.plan.kind is Kind.AGAIN and (self.plan.cancelled or not self.plan.done):
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            self._keep()

    def _prepared(self) -> list[Item]:
        """The first half for every student."""
        self.plan.failed, self.plan.noted = {}, {}
        clear(self.folder)
        items: list[Item] = []
        for student in self.plan.students:
            if self._stopped.is_set():
                break
            folder = begun(self._coursedir(), self.plan.assignment, student)
            shutil.rmtree(folder, ignore_errors=True)
            said = self._step(FirstHalf, student)
            if said["success"]:
                items += items_in(folder, student)
            else:
                self.plan.failed[student] = _reason(said)
        return items

    def _prepared_before(self) -> list[Item]:
        """What the server that ended had prepared, of those who are not marked yet."""
        waiting = [one for one in self.plan.students if one not in self.plan.done and one not in self.plan.failed]
        found = [item for one in waiting for item in items_in(begun(self._coursedir(), self.plan.assignment, one), one)]
        there = {item.key for item in found}
        for student, notebook in [key for sending in self.plan.sendings for key in sending.items]:
            if student in waiting and (student, notebook) not in there:
                self.plan.failed[student] = "What was prepared of this work is gone. Grade it again."
        return [item for item in found if item.student not in self.plan.failed]

    def _graded(self, items: list[Item]) -> None:
        """Run everything, and mark each student as soon as all of theirs has come back."""
        plan, service, known = self.plan, Service(), {item.key: item for item in items}
        if plan.stage is Stage.PREPARING:
            plan.stage = Stage.RUNNING
            self._add_sendings(list(known), MOST, again=False)
            self._keep()
        left = Counter(item.student for item in items)
        self._send(service, known)
        until = time.monotonic() + LONGEST_WAIT
        while not all(sending.ended for sending in plan.sendings):
            if self._stopped.is_set():
                return
            if time.monotonic() > until:
                self._rest_failed(f"The cluster did not run this within {LONGEST_WAIT / 3600:.0f} hours. Grade again.")
                return
            for sending in [one for one in plan.sendings if not one.ended]:
                try:
                    self._look(service, sending, known, left)
                    self._send(service, known)
                    self._heard = time.monotonic()
                except ServiceError as error:
                    # Unknown is not lost: what was sent runs on.
                    if error.status not in _AWAY or time.monotonic() - self._heard > AWAY_SECONDS:
                        raise
            time.sleep(LOOK_SECONDS)

    def _add_sendings(self, keys: Sequence[tuple[str, str]], most: int, *, again: bool) -> None:
        sendings = self.plan.sendings
        for at in range(0, len(keys), most):
            sendings.append(Sending(f"{self.plan.id}-{len(sendings)}", list(keys[at : at + most]), again=again))

    def _send(self, service: Service, known: dict[tuple[str, str], Item]) -> None:
        """Send what is planned and was not sent yet, or of which it was not written down."""
        for sending in self.plan.sendings:
            if not sending.execution and not sending.ended:
                there = [key for key in sending.items if key in known]
                if there != sending.items:
                    # Some of them have failed since. Perhaps it was sent with them: the numbers are other ones now.
                    sending.items, sending.key = there, f"{sending.key}-{self.plan.resumed}"
                sending.execution = send(service, sending.key, [known[key] for key in there])
                self._keep()

    def _look(self, service: Service, sending: Sending, known: dict[tuple[str, str], Item], left: Counter[str]) -> None:
        """Take in what has come of a sending since the last look, each notebook once."""
        now = standing(service, sending.execution)
        again = {key for one in self.plan.sendings if one.again for key in one.items}
        lost = []
        for number, key in enumerate(sending.items):
            if key not in known or key in self._arrived or (not sending.again and key in again):
                continue
            outcome = now.outcome(number)
            if outcome is None:
                continue
            if outcome["outcome"] in WITHOUT_END and not sending.again:
                lost.append(key)
                continue
            result = executed(service, sending.execution, number)
            try:
                self._results[key] = known[key].came(outcome, result, log)
            except NotGraded as error:
                self.plan.failed[key[0]] = str(error)
            self._arrived.add(key)
            left[key[0]] -= 1
            if not left[key[0]]:
                self._marked(key[0])
        if now.ended:
            if lost and not self._stopped.is_set():
                log.warning("%d notebooks of %s are sent again", len(lost), self.plan.assignment)
                self._add_sendings(lost, MOST_AGAIN, again=True)
            sending.ended = True
            self._keep()

    def _marked(self, student: str) -> None:
        """The second half for one student."""
        results = {key: self._results.pop(key) for key in [key for key in self._results if key[0] == student]}
        if student not in self.plan.failed:
            try:
                present = patiently(partial(self._draft.bring, student), self._stopped)
                said = self._step(SecondHalf, student, results)
                if not said["success"]:
                    self.plan.failed[student] = _reason(said)
                else:
                    self._counted(student, present, self._draft.sheet(student))
                    self.plan.done.append(student)
            except NotTheSameTests:
                self.plan.failed[student] = _CHANGED
            except OSError as error:
                log.exception("The work of %s could not be kept", student)
                self.plan.failed[student] = f"This could not be kept: {error.strerror}. The marks that were there stay."
        self._keep()

    def _counted(self, student: str, present: Sheet, sheet: Sheet) -> None:
        """Have the marks count, or keep them until a teacher accepts them."""
        if self.plan.kind is Kind.AGAIN:
            keep_outcome(self.folder, student, present, sheet)
            return

        def settle() -> None:
            self._draft.settle(sheet)
            replace_work(self._coursedir(), self.folder, self.plan.assignment, student)

        # In the thread of nbgrader's steps, one of which may be about the same work.
        patiently(partial(in_steps, self._steps, settle), self._stopped)

    def _step(self, half: type[FirstHalf] | type[SecondHalf], student: str, results: Any = None) -> dict[str, Any]:
        """One of nbgrader's steps, in the thread that may do them."""
        said: dict[str, Any] = in_steps(self._steps, partial(self._in_thread, half, student, results or {}))
        lines = str(said.get("log") or "").splitlines()
        found = [line.removeprefix(_WARNING).strip() for line in lines if line.startswith(_WARNING)]
        before = self.plan.noted.get(student, [])
        if new := [line for line in found if line not in before][:MOST_NOTES]:
            self.plan.noted[student] = [*before, *new]
        return said

    def _in_thread(
        self, half: type[FirstHalf] | type[SecondHalf], student: str, results: dict[tuple[str, str], CameBack | Answers]
    ) -> dict[str, Any]:
        coursedir = self._coursedir()
        coursedir.db_url = self._draft.url
        coursedir.autograded_directory = str(Path(self.plan.kind, self.plan.assignment, MARKED))
        api = NbGraderAPI(coursedir, parent=self._parent)
        TakeOver.results.update(results)
        try:
            with temp_attrs(api.coursedir, assignment_id=self.plan.assignment, student_id=student):
                converter = half(coursedir=api.coursedir, parent=api)
                converter.force = converter.create_student = True
                return capture_log(converter)  # type: ignore[no-any-return]
        finally:
            TakeOver.results.clear()

    def _coursedir(self) -> CourseDirectory:
        # One of its own: nbgrader changes it while it works, and other requests read the shared one.
        return CourseDirectory(parent=self._parent)

    def _keep(self) -> None:
        """Write down how far it is. Where there is no room for that, a server that comes back does the rest again."""
        try:
            with self._writing:
                keep(self.folder, self.plan)
        except OSError as error:
            log.error("How far the run over %s is cannot be kept: %s", self.plan.assignment, error)

    def _rest_failed(self, why: str) -> None:
        for student in self.plan.students:
            if student not in self.plan.done:
                self.plan.failed.setdefault(student, why)


def taken_up(parent: Any, steps: Executor) -> list[ClassRun]:
    """Go on with what a server of this course that ended had begun.

    Args:
        parent: what nbgrader's converters are configured by.
        steps: the executor of one thread in which nbgrader's steps are done.
    """
    runs = []
    for plan in broken_off(Path(CourseDirectory(parent=parent).root)):
        plan.resumed += 1
        run = ClassRun(parent, plan, steps)
        if plan.cancelled:
            run.cancel()
        try:
            run.start()
        except (OSError, Taken) as error:
            log.error("The run over %s does not go on here: %r", plan.assignment, error)
        else:
            runs.append(run)
    return runs


def _reason(said: dict[str, Any]) -> str:
    """The last line that nbgrader wrote of why a step failed."""
    lines = f"{said.get('log') or ''}\n{said.get('error') or ''}".strip().splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")[:400]
