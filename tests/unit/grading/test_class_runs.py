"""Which runs begin when: the service's real lanes and client, against a hub and a course's server that only answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from base.in_force import InForce
from grading.class_runs import MOST_TRIES, ClassRuns, Paces
from grading.course_server import CourseServer, Ways
from grading.exchange import Journal
from grading.grade_rules import GradeRules
from grading.run import Stage
from grading.run_records import Record, Records
from grading.store import Store
from grading.tree import TreeLimits
from grading.when import GradeRule

ZONE = ZoneInfo("Europe/Amsterdam")
FAST = Paces(look=0.02, settle=0.01, linger=0.1, retry=60, longest=3600)
LIMITS = TreeLimits(total=10_000, files=10)


@dataclass
class Course:
    """A hub and a course's server, which answer as hub_config/course_servers.py and formgrader/actions.py do."""

    standing: str = "ready"
    left: int = 0
    collected: int = 0
    begun: int = 0
    uncollected: str = ""
    cancelled: bool = False
    failing: dict[str, str] = field(default_factory=dict)
    going: asyncio.Event = field(default_factory=asyncio.Event)
    run: dict[str, Any] = field(default_factory=dict)

    async def server(self, request: Request) -> Response:
        self.left += request.method == "DELETE"
        return JSONResponse({"standing": self.standing, "why": "the disk is full", "token": "t" * 8})

    async def collect(self, _request: Request) -> Response:
        self.collected += 1
        log = f"[INFO] Collecting\n{self.uncollected}"
        return JSONResponse({"success": not self.uncollected, "log": log, "error": None})

    async def class_run(self, request: Request) -> Response:
        if request.method == "POST" and not self._told().get("running"):
            self.begun += 1
            self.run = {"total": 2, "failed": dict(self.failing)}
        if request.method == "DELETE":
            self.cancelled = True
        return JSONResponse(self._told())

    def _told(self) -> dict[str, Any]:
        if not self.run:
            return {}
        running = not self.going.is_set() and not self.cancelled
        done = 0 if running else self.run["total"] - len(self.failing)
        return {**self.run, "running": running, "stage": "running", "done": done, "cancelled": self.cancelled}

    def app(self) -> Starlette:
        run = "/user/course-les/formgrader/api/assignment/week-1/"
        return Starlette(
            routes=[
                Route("/hub/api/leerlab/courses/les/server", self.server, methods=["GET", "POST", "DELETE"]),
                Route(run + "collect", self.collect, methods=["POST"]),
                Route(run + "class_run", self.class_run, methods=["GET", "POST", "DELETE"]),
            ]
        )


@dataclass
class Clock:
    now: datetime = datetime(2026, 12, 1, 12, tzinfo=ZONE)

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Site:
    """What outlives the service."""

    folder: Path
    course: Course = field(default_factory=Course)
    clock: Clock = field(default_factory=Clock)
    rule: str = "on_submit"
    deadline: datetime | None = None
    handed_in: int = 0
    recorded: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.course.going.set()
        self.store = Store(self.folder / "exchange", LIMITS)
        self.work = self.folder / "work"
        self.work.mkdir()
        (self.work / "les.ipynb").write_text("{}")
        self.store.release("les", "week-1", self.store.incoming_copy(self.work), by="course-les")

    def hand_in(self, name: str = "sanne") -> None:
        self.handed_in += 1
        # The same once more, as by a double click, would be no other hand-in.
        (self.work / "les.ipynb").write_text(f'{{"number": {self.handed_in}}}')
        self.store.submit("les", "week-1", name, self.store.incoming_copy(self.work))

    def record(self) -> Record:
        return Records(self.folder / "runs").of("les", "week-1")

    @asynccontextmanager
    async def service(self) -> AsyncIterator[ClassRuns]:
        """The service's part that begins runs, from its start to its end."""
        transport = httpx.ASGITransport(app=self.course.app())
        async with (
            httpx.AsyncClient(transport=transport, base_url="http://hub/hub/api/") as hub,
            httpx.AsyncClient(transport=transport, base_url="http://proxy") as proxy,
        ):
            ways = Ways(hub, "secret", proxy, "leerlab.localhost")
            rules = GradeRules({}, {"les": {"week-1": GradeRule.parse(self.rule)}}, InForce(self.folder / "published"))
            journal = Journal(lambda _who, action, _what, details: self.recorded.append((action, details)))
            runs = ClassRuns(
                self.store, Records(self.folder / "runs"), rules, server=lambda name: CourseServer(name, ways),
                deadline=lambda _course, _assignment: self.deadline, journal=journal, now=self.clock, paces=FAST,
            )  # fmt: skip
            task = asyncio.create_task(runs.run())
            try:
                yield runs
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def until(true: Callable[[], object], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - of several objects
            await asyncio.sleep(0.01)


async def looked_again(site: Site, runs: ClassRuns) -> None:
    """Long enough for whatever is due to have begun: each of these looks at everything."""
    for _ in range(3):
        await runs.look()
        await until(lambda: runs.stage("les", "week-1") is Stage.IDLE)


async def test_what_came_in_while_nothing_ran_is_graded_once(site: Site) -> None:
    site.hand_in()
    for _ in range(2):
        async with site.service() as runs:
            await until(lambda: site.record().covered)
            await looked_again(site, runs)
    assert (site.course.begun, site.course.collected) == (1, 1)
    assert [action for action, _ in site.recorded] == ["class-run.begin", "class-run.end"]


async def test_a_hundred_hand_ins_during_a_run_cost_one_more(site: Site) -> None:
    site.course.going.clear()
    async with site.service() as runs:
        site.hand_in()
        runs.handed_in("les", "week-1")
        await until(lambda: site.course.begun == 1)
        for _ in range(100):
            site.hand_in("jelmer")
            runs.handed_in("les", "week-1")
        await runs.look()
        assert site.course.begun == 1
        site.course.going.set()
        await until(lambda: site.record().covered == site.store.stands("les", "week-1"))
        await looked_again(site, runs)
    assert site.course.begun == 2


async def test_the_server_is_left_when_nothing_waits_any_more(site: Site) -> None:
    site.hand_in()
    async with site.service():
        await until(lambda: site.course.left == 1)
    assert site.course.begun == 1


async def test_a_server_that_was_started_before_the_service_was_killed_is_left_by_the_next(site: Site) -> None:
    site.hand_in()
    async with site.service():
        await until(lambda: site.record().covered)
    left = site.course.left
    async with site.service():
        await until(lambda: site.course.left == left + 1)


@pytest.mark.fault
async def test_a_run_that_the_service_did_not_see_end_is_followed_by_the_next_service(site: Site) -> None:
    site.course.going.clear()
    site.hand_in()
    async with site.service():
        await until(lambda: site.course.begun == 1)
    assert site.record().ended is None
    async with site.service() as runs:
        await until(lambda: runs.stage("les", "week-1") is not Stage.IDLE)
        site.course.going.set()
        await until(lambda: site.record().ended)
    assert site.record().covered == site.store.stands("les", "week-1")


@pytest.mark.fault
async def test_a_server_that_cannot_start_is_tried_again_later_and_longer_each_time(site: Site) -> None:
    site.course.standing = "stopped"
    site.hand_in()
    pauses = []
    async with site.service() as runs:
        for tries in range(1, 9):
            await until(lambda tries=tries: site.record().tries == tries)
            record = site.record()
            assert "could not be started" in record.trouble and "the disk is full" in record.trouble
            assert record.again
            pauses.append((record.again - site.clock.now).total_seconds())
            await looked_again(site, runs)
            assert site.record().tries == tries
            site.clock.now = record.again
            await runs.look()
        site.course.standing = "ready"
        site.clock.now += timedelta(hours=1)
        await until(lambda: site.record().covered)
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert (site.record().tries, site.record().trouble, site.course.begun) == (0, "", 1)


async def test_students_who_cannot_be_graded_are_tried_some_times_and_then_said_for_good(site: Site) -> None:
    site.course.failing = {"sanne": "There is no notebook."}
    site.hand_in()
    async with site.service() as runs:
        for begun in range(1, MOST_TRIES + 1):
            await until(lambda begun=begun: site.course.begun == begun and runs.stage("les", "week-1") is Stage.IDLE)
            site.clock.now += timedelta(hours=2)
        site.clock.now += timedelta(days=1)
        await looked_again(site, runs)
        assert site.course.begun == MOST_TRIES
        assert "1 of 2 could not be graded: There is no notebook." in runs.told("les", "week-1")["trouble"]
        site.hand_in()
        runs.handed_in("les", "week-1")
        await until(lambda: site.course.begun == MOST_TRIES + 1)


async def test_who_could_not_be_collected_keeps_nobody_else_waiting(site: Site) -> None:
    site.course.uncollected = "Not collected: jelmer. All others were. Collect again."
    site.hand_in()
    async with site.service() as runs:
        await until(lambda: site.record().tries == 1)
        record = site.record()
        assert record.result is not None and record.result.done == 2
        assert record.trouble == f"Not everything could be collected. {site.course.uncollected}"
        site.course.uncollected = ""
        site.clock.now += timedelta(hours=1)
        await until(lambda: site.record().covered)
        await looked_again(site, runs)
    assert (site.course.collected, site.record().trouble) == (2, "")


async def test_what_an_operator_stops_does_not_begin_again_by_itself(site: Site) -> None:
    site.course.going.clear()
    site.hand_in()
    async with site.service() as runs:
        await until(lambda: site.course.begun == 1)
        assert await runs.stop("les", "week-1")
        await until(lambda: site.record().ended)
        assert site.course.cancelled and site.record().result is not None
        await looked_again(site, runs)
        assert not await runs.stop("les", "week-1")
    assert site.course.begun == 1


async def test_a_stop_answers_what_was_asked_for_behind_the_run_too(site: Site) -> None:
    site.course.going.clear()
    site.hand_in()
    async with site.service() as runs:
        await until(lambda: site.course.begun == 1)
        number = await runs.ask("les", "week-1")
        assert await runs.stop("les", "week-1")
        await until(lambda: site.record().answered == number)
        assert site.record().by == "on_submit" and site.record().ended
        await looked_again(site, runs)
        assert site.course.begun == 1
        site.course.cancelled = False
        site.course.going.set()
        again = await runs.ask("les", "week-1")
        await until(lambda: site.record().answered == again)
    assert site.course.begun == 2


async def test_a_teacher_who_grades_everything_again_is_waited_for_and_not_stopped(site: Site) -> None:
    site.course.going.clear()
    site.course.run = {"total": 2, "failed": {}, "again": True}
    site.hand_in()
    async with site.service() as runs:
        await until(lambda: runs.stage("les", "week-1") is Stage.STARTING)
        assert await runs.stop("les", "week-1")
        await until(lambda: site.record().ended)
        assert not site.course.cancelled and not site.course.collected
        number = await runs.ask("les", "week-1")
        await until(lambda: runs.stage("les", "week-1") is Stage.STARTING)
        assert site.course.begun == 0
        site.course.going.set()
        await until(lambda: site.record().answered == number)
    assert (site.course.begun, site.course.collected) == (1, 1)


async def test_an_operators_run_is_kept_until_it_was_made(site: Site) -> None:
    site.rule = "by_hand"
    site.hand_in()
    async with site.service() as runs:
        await looked_again(site, runs)
        assert site.course.begun == 0
    Records(site.folder / "runs").keep("les", "week-1", Record(asked=3, answered=2))
    async with site.service() as runs:
        await until(lambda: site.record().answered == 3)
        await looked_again(site, runs)
        assert site.course.begun == 1
        assert await runs.ask("les", "week-1") == 4
        await until(lambda: site.record().answered == 4)
    assert site.record().by == "operator"


async def test_a_schedule_is_kept_once_a_day_and_a_missed_one_is_made_up_for_once(site: Site) -> None:
    site.rule = "daily at 03:00"
    site.hand_in()
    async with site.service() as runs:
        await until(lambda: site.record().scheduled)
        await looked_again(site, runs)
        assert site.course.begun == 0, "a new schedule begins with its next moment"
        site.clock.now = datetime(2026, 12, 2, 2, 59, tzinfo=ZONE)
        await looked_again(site, runs)
        assert site.course.begun == 0
        site.clock.now = datetime(2026, 12, 2, 3, 0, tzinfo=ZONE)
        await until(lambda: site.course.begun == 1)
        site.clock.now = datetime(2026, 12, 2, 9, 0, tzinfo=ZONE)
        await looked_again(site, runs)
        assert site.course.begun == 1
        site.hand_in()
        runs.handed_in("les", "week-1")
        await looked_again(site, runs)
        assert site.course.begun == 1, "not before its time"
    # Nothing ran for three nights.
    site.clock.now = datetime(2026, 12, 5, 12, 0, tzinfo=ZONE)
    async with site.service() as runs:
        await until(lambda: site.course.begun == 2)
        await looked_again(site, runs)
        site.clock.now = datetime(2026, 12, 6, 12, 0, tzinfo=ZONE)
        await until(lambda: (site.record().scheduled or site.clock.now) >= site.clock.now)
        await looked_again(site, runs)
    assert site.course.begun == 2, "nothing new came in"


async def test_after_its_deadline_and_not_before_everything_is_graded_and_then_what_comes_late(site: Site) -> None:
    site.rule = "after_deadline"
    site.hand_in()
    async with site.service() as runs:
        await looked_again(site, runs)
        assert site.course.begun == 0, "there is no deadline"
        site.deadline = site.clock.now + timedelta(hours=1)
        await looked_again(site, runs)
        assert site.course.begun == 0
        site.clock.now = site.deadline
        await until(lambda: site.course.begun == 1)
        await until(lambda: site.record().covered)
        await looked_again(site, runs)
        assert site.course.begun == 1
        site.hand_in("jelmer")
        runs.handed_in("les", "week-1")
        await until(lambda: site.course.begun == 2)


@pytest.mark.fault
async def test_a_record_that_cannot_be_read_costs_a_run_and_no_work(site: Site) -> None:
    site.hand_in()
    async with site.service():
        await until(lambda: site.record().covered)
    (site.folder / "runs" / "les" / "week-1.json").write_text("{")
    async with site.service():
        await until(lambda: site.course.begun == 2)
