"""Class runs that no teacher begins: after a hand-in, on a schedule, for an operator.

A course has one lane, in which one run follows the other, so that a hundred hand-ins cost one run at a time. Nothing is
written down when work comes in: the exchange holds it, and what a record does not cover is due, also after a restart.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from grading.course_server import Away, CourseServer, Stopped
from grading.exchange import Journal
from grading.grade_rules import GradeRules
from grading.run import Stage, Wanted, one_run
from grading.run_records import Record, Records, Told
from grading.store import Store
from grading.when import BY_HAND, GradeRule, Kind

AT_ONCE = 4
"""Courses that are graded side by side; the rest waits."""
MOST_TRIES = 30
"""Runs in a row, about a day of them, for students whose work could not be graded; then new work, the next moment of a
schedule or a person begins another."""
OPERATOR = "operator"
SERVICE = "grading"

log = logging.getLogger("grading")


@dataclass(frozen=True)
class Paces:
    """How fast things go, in seconds.

    Args:
        look: between two looks at schedules and at what is to be tried again.
        settle: from a hand-in to its run, for those that come with it.
        linger: a course's server is kept so long after its last run, for the next.
        retry: from the first failure to the next try; twice as long after each further one.
        longest: between two tries.
    """

    look: float = 20.0
    settle: float = 3.0
    linger: float = 120.0
    retry: float = 60.0
    longest: float = 3600.0

    def pause(self, tries: int) -> timedelta:
        """How long to wait after so many failures in a row."""
        return timedelta(seconds=min(self.longest, self.retry * 2 ** min(tries - 1, 20)))


@dataclass
class Lane:
    """What one course is doing.

    Args:
        waiting: assignments in the order in which they are graded, each with who or what asked.
        wanted: the assignment that is graded now.
        woken: something was put in.
    """

    waiting: dict[str, str] = field(default_factory=dict)
    wanted: Wanted | None = None
    woken: asyncio.Event = field(default_factory=asyncio.Event)


class ClassRuns:
    """All class runs that the service begins.

    Args:
        store: the exchange.
        records: what is remembered of runs.
        rules: when what is graded.
        server: makes a course's server known by the course's id.
        deadline: of a course's assignment; None: it has none.
        journal: what the ledger remembers.
        now: the time, with the site's time zone.
        paces: how fast things go.
    """

    def __init__(
        self, store: Store, records: Records, rules: GradeRules, *, server: Callable[[str], CourseServer],
        deadline: Callable[[str, str], datetime | None], journal: Journal, now: Callable[[], datetime], paces: Paces,
    ) -> None:  # fmt: skip
        self._store, self._records, self._rules, self._journal = store, records, rules, journal
        self._server, self._deadline, self._now, self._paces = server, deadline, now, paces
        self._fresh: set[tuple[str, str]] = set()
        self._lanes: dict[str, Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._handed_in, self._changing = asyncio.Event(), asyncio.Lock()

    def handed_in(self, course: str, assignment: str) -> None:
        """Work has come in and is kept. Waits for nothing and cannot fail."""
        self._fresh.add((course, assignment))
        self._handed_in.set()

    async def run(self) -> None:
        """Begin what is due, until cancelled; the courses' servers go on by themselves with what they have begun."""
        try:
            begun = False
            while True:
                try:
                    if not begun:
                        await self._begin()
                        begun = True
                    await self.look()
                except Exception:
                    log.exception("It could not be seen which classes are to be graded; the next look tries again")
                try:
                    async with asyncio.timeout(self._paces.look):
                        await self._handed_in.wait()
                except TimeoutError:
                    continue
                await asyncio.sleep(self._paces.settle)
                self._handed_in.clear()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _begin(self) -> None:
        """What came in while nobody looked counts as new; servers that were started for runs before are left."""
        for course in self._rules.courses():
            for assignment in await asyncio.to_thread(self._store.assignments, course):
                self._fresh.add((course, assignment))
        for course in set(await asyncio.to_thread(self._records.courses)) & set(self._rules.courses()):
            self._lane(course)

    async def look(self) -> None:
        """Put into lanes what is due now."""
        for course in self._rules.courses():
            for assignment in await asyncio.to_thread(self._store.assignments, course):
                record, rule = self._records.of(course, assignment), self._rules.of(course, assignment)
                if record.asked > record.answered:
                    self._put(course, assignment, OPERATOR)
                elif not self._may_be_due(rule, record, fresh=(course, assignment) in self._fresh):
                    continue
                elif rule.kind is not Kind.AFTER_DEADLINE or await self._is_over(course, assignment):
                    await self._look_at(course, assignment, rule, record)

    async def _is_over(self, course: str, assignment: str) -> bool:
        """Whether an assignment has a deadline, and it has passed for who has no extension."""
        due = await asyncio.to_thread(self._deadline, course, assignment)
        return due is not None and due <= self._now()

    def _may_be_due(self, rule: GradeRule, record: Record, *, fresh: bool) -> bool:
        """Whether a run is due if something was handed in that no run covers.

        Args:
            rule: of the assignment.
            record: its runs so far.
            fresh: whether something may have come in.
        """
        if rule == BY_HAND or (record.again is not None and record.again > self._now()):
            return False
        if rule.kind is Kind.DAILY:
            return bool(record.tries) or record.scheduled is None or rule.last(self._now()) > record.scheduled
        return bool(record.tries) or fresh

    async def _look_at(self, course: str, assignment: str, rule: GradeRule, record: Record) -> None:
        self._fresh.discard((course, assignment))
        if rule.kind is Kind.DAILY and record.scheduled is None:
            # A new schedule begins with its next moment.
            await self._change(course, assignment, {"scheduled": self._now()})
        elif await asyncio.to_thread(self._store.stands, course, assignment) != record.covered:
            self._put(course, assignment, str(rule))
        elif rule.kind is Kind.DAILY:
            await self._change(course, assignment, {"scheduled": self._now()})

    async def ask(self, course: str, assignment: str) -> int:
        """An operator wants a run now; kept until it was made. Returns the number to find in `Record.answered`."""
        async with self._changing:
            number = self._records.of(course, assignment).asked + 1
            await self._written(course, assignment, {"asked": number})
        self._put(course, assignment, OPERATOR)
        return number

    async def stop(self, course: str, assignment: str) -> bool:
        """Stop an assignment's run and take it out of the lane, whoever asked for it; whether there was anything."""
        lane, asked = self._lanes.get(course), self._records.of(course, assignment).asked
        if lane is None:
            return False
        waited = lane.waiting.pop(assignment, None) is not None
        if lane.wanted is not None and lane.wanted.assignment == assignment:
            lane.wanted.answers = asked
            lane.wanted.stop.set()
            return True
        if waited:
            await self._change(course, assignment, {"answered": asked})
        return waited

    def stage(self, course: str, assignment: str) -> Stage:
        """What is being done for an assignment now."""
        lane = self._lanes.get(course)
        if lane is not None and lane.wanted is not None and lane.wanted.assignment == assignment:
            return lane.wanted.stage
        return Stage.WAITING if lane is not None and assignment in lane.waiting else Stage.IDLE

    def told(self, course: str, assignment: str) -> dict[str, Any]:
        """All that there is to say of an assignment's runs, as JSON."""
        record, lane = self._records.of(course, assignment), self._lanes.get(course)
        stage = self.stage(course, assignment)
        result = record.result
        if lane is not None and lane.wanted is not None and lane.wanted.assignment == assignment:
            result = lane.wanted.told
        about = record.model_dump(mode="json", exclude={"covered", "scheduled", "result"})
        return {
            "course": course, "assignment": assignment, "rule": str(self._rules.of(course, assignment)),
            "stage": str(stage), **about, "result": result.model_dump(mode="json") if result else None,
        }  # fmt: skip

    def _lane(self, course: str) -> Lane:
        lane = self._lanes.get(course)
        if lane is None:
            lane = self._lanes[course] = Lane()
            self._own(self._work(course, lane))
        return lane

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _put(self, course: str, assignment: str, by: str) -> None:
        lane = self._lane(course)
        # What is being graded now may have begun before the newest work came in: then it is graded once more.
        lane.waiting.setdefault(assignment, by)
        lane.woken.set()

    async def _work(self, course: str, lane: Lane) -> None:
        """Grade what is in a lane, keep the server for a while, then leave it."""
        server = self._server(course)
        try:
            while True:
                try:
                    async with asyncio.timeout(self._paces.linger):
                        while not lane.waiting:
                            lane.woken.clear()
                            await lane.woken.wait()
                except TimeoutError:
                    await self._leave(server)
                    if not lane.waiting:
                        return
                async with self._slots:
                    await self._next(server, lane)
        except Exception:
            log.exception("Grading %s was broken off; the next look goes on", course)
        finally:
            del self._lanes[course]

    async def _leave(self, server: CourseServer) -> None:
        try:
            await server.leave()
        except Away as error:
            log.warning("The server of %s was not left; it ends when it is idle: %s", server.course, error)

    async def _next(self, server: CourseServer, lane: Lane) -> None:
        """Grade the first assignment of a lane, unless that is no longer due."""
        if not lane.waiting:
            return
        assignment, by = next(iter(lane.waiting.items()))
        lane.wanted = wanted = Wanted(assignment)
        del lane.waiting[assignment]
        try:
            record = self._records.of(server.course, assignment)
            stands = await asyncio.to_thread(self._store.stands, server.course, assignment)
            if self._still_due(server.course, assignment, record, stands):
                await self._graded(server, wanted, by, record, stands)
        finally:
            lane.wanted = None

    def _still_due(self, course: str, assignment: str, record: Record, stands: str) -> bool:
        """Whether something is left to do, since what waits may have been put in while it was being graded."""
        if record.asked > record.answered:
            return True
        return self._may_be_due(self._rules.of(course, assignment), record, fresh=True) and stands != record.covered

    async def _graded(self, server: CourseServer, wanted: Wanted, by: str, before: Record, stands: str) -> None:
        """One run, and what is remembered of it."""
        course, assignment = server.course, wanted.assignment
        subject, began, trouble = f"{course}/{assignment}", self._now(), ""
        log.info("Grading %s, by %s", subject, by)
        await self._journal.write(SERVICE, "class-run.begin", subject, by=by)
        try:
            await one_run(server, wanted)
        except Stopped:
            log.info("The run over %s was stopped before it began", subject)
        except Away as error:
            trouble = str(error)
        except Exception as error:
            log.exception("The run over %s was broken off", subject)
            trouble = f"The service made a mistake: {error!r}."
        automatic = self._rules.of(course, assignment) != BY_HAND
        changes = self._outcome(before, stands, wanted, trouble, automatic=automatic)
        times = {"began": began, "ended": self._now(), "scheduled": self._now()}
        answered = max(before.asked, wanted.answers)
        await self._change(course, assignment, {**changes, **times, "answered": answered, "by": by})
        await self._said(subject, self._records.of(course, assignment), stopped=wanted.stop.is_set())

    def _outcome(self, before: Record, stands: str, wanted: Wanted, trouble: str, *, automatic: bool) -> dict[str, Any]:
        """What a run has changed in its record.

        Args:
            before: the record before it.
            stands: what had been handed in when it began.
            trouble: why it was broken off; empty: it was not.
            automatic: whether it is tried again by itself.
        """
        told, given_up = wanted.told.model_copy(update={"running": False}) if wanted.told else None, False
        stopped = wanted.stop.is_set() or (told is not None and told.cancelled)
        if not trouble and not stopped and (trouble := wanted.incomplete or _of_students(told)):
            given_up = before.tries + 1 >= MOST_TRIES
        if not trouble or stopped or given_up:
            # Who stops a run does not want it to begin again by itself.
            return {"covered": stands, "tries": 0, "again": None, "trouble": trouble, "result": told}
        tries = before.tries + 1 if automatic else 0
        again = self._now() + self._paces.pause(tries) if tries else None
        return {"tries": tries, "again": again, "trouble": trouble, "result": told}

    async def _said(self, subject: str, record: Record, *, stopped: bool) -> None:
        done, total = (record.result.done, record.result.total) if record.result else (0, 0)
        if record.trouble:
            again = f" It is tried again at {record.again:%Y-%m-%d %H:%M:%S %Z}." if record.again else ""
            log.error("%s could not be graded as a whole: %s%s", subject, record.trouble, again)
        else:
            log.info("%s: %d of %d graded%s", subject, done, total, ", then stopped" if stopped else "")
        await self._journal.write(
            SERVICE, "class-run.end", subject, done=done, total=total, stopped=stopped, trouble=record.trouble
        )

    async def _change(self, course: str, assignment: str, changes: dict[str, Any]) -> None:
        async with self._changing:
            await self._written(course, assignment, changes)

    async def _written(self, course: str, assignment: str, changes: dict[str, Any]) -> None:
        record = self._records.of(course, assignment).model_copy(update=changes)
        await asyncio.to_thread(self._records.keep, course, assignment, record)


def _of_students(told: Told | None) -> str:
    """Who was not graded, in a sentence; empty: everybody was."""
    if told is None or not told.failed:
        return ""
    return f"{len(told.failed)} of {told.total} could not be graded: {next(iter(told.failed.values()))}"
