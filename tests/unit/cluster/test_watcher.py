"""The watcher concludes nothing that Slurm did not say."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from cluster.errors import SlurmUnavailable
from cluster.jobs import Job, JobState, Queue
from cluster.settings import Interval
from cluster.watcher import GONE, UNKNOWN, Watcher

QUICK = Interval(starting=0.2, idle=0.5, failing=1.0)
EARLIER = datetime(2026, 1, 1, tzinfo=UTC)
# Every wait takes this much longer than was asked for.
LATE = 0.001


@pytest.fixture(autouse=True)
async def _a_clock_that_only_waits_move(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop's clock goes on by what is waited for: a machine that stands still for a while changes no count."""
    loop = asyncio.get_running_loop()
    now, select = loop.time(), loop._selector.select

    def wait(seconds: float | None):
        nonlocal now
        if seconds is None:
            return select(None)
        if seconds > 0:
            now += seconds + LATE
        return select(0)

    monkeypatch.setattr(loop, "time", lambda: now)
    monkeypatch.setattr(loop._selector, "select", wait)


def job(number: int, state: JobState = JobState.RUNNING) -> Job:
    return Job(number, state, "", ("n1",), "hub:1", "lab", "cpu", EARLIER)


class ScriptedSlurm:
    """A Slurm whose answers the test writes; real ones are in the integration tests."""

    def __init__(self, *jobs: Job) -> None:
        self.alive = {job.id: job for job in jobs}
        self.remembered: dict[int, Job] = {}
        self.broken = False
        self.asked: datetime | None = None
        self.queries = 0
        self.looked_up: list[int] = []

    async def queue(self) -> Queue:
        self.queries += 1
        now = datetime.now(UTC)
        await asyncio.sleep(0)
        if self.broken:
            raise SlurmUnavailable("no answer")
        return Queue(tuple(self.alive.values()), self.asked or now, datetime.now(UTC))

    async def jobs(self, job_ids):
        self.looked_up += job_ids
        return {number: self.remembered[number] for number in job_ids if number in self.remembered}


async def final(watcher: Watcher, number: int, submitted: datetime):
    async with asyncio.timeout(5):
        return [answer async for answer in watcher.updates(number, submitted)]


async def test_a_job_missing_from_a_snapshot_older_than_its_submission_is_unknown():
    slurm = ScriptedSlurm()
    submitted = datetime.now(UTC)
    slurm.asked = submitted - timedelta(milliseconds=1)
    async with Watcher(slurm, QUICK) as watcher:
        assert await watcher.wait_change(5, submitted, UNKNOWN, timeout=0.6) is UNKNOWN
        assert slurm.looked_up == []
        slurm.asked = None
        assert await watcher.wait_change(5, submitted, UNKNOWN, timeout=5) is GONE
    assert slurm.looked_up == [5]


async def test_how_a_job_ended_is_looked_up_once_and_remembered():
    slurm = ScriptedSlurm(job(5))
    async with Watcher(slurm, QUICK) as watcher:
        running = await watcher.wait_change(5, EARLIER, UNKNOWN, timeout=5)
        slurm.remembered = {5: job(5, JobState.FAILED)}
        slurm.alive = {}
        ended = await watcher.wait_change(5, EARLIER, running, timeout=5)
        slurm.broken = True
        await asyncio.sleep(0.6)
        assert watcher.job(5, EARLIER) == ended == job(5, JobState.FAILED)
    assert slurm.looked_up == [5]


async def test_while_slurm_fails_a_running_job_is_unknown_and_never_gone():
    slurm = ScriptedSlurm(job(5))
    async with Watcher(slurm, QUICK) as watcher:
        running = await watcher.wait_change(5, EARLIER, UNKNOWN, timeout=5)
        slurm.broken, slurm.alive = True, {}
        assert await watcher.wait_change(5, EARLIER, running, timeout=5) is UNKNOWN
        slurm.broken, slurm.alive = False, {5: job(5)}
        assert await watcher.wait_change(5, EARLIER, UNKNOWN, timeout=5) == running


async def test_a_number_given_out_again_is_another_job():
    slurm = ScriptedSlurm()
    async with Watcher(slurm, QUICK) as watcher:
        assert await final(watcher, 5, EARLIER) == [UNKNOWN, GONE]
        assert watcher.job(5, datetime.now(UTC)) is UNKNOWN


async def test_many_who_wait_share_one_query():
    slurm = ScriptedSlurm(*(job(number, JobState.PENDING) for number in range(1, 101)))
    async with Watcher(slurm, QUICK) as watcher:
        await watcher.wait_change(1, EARLIER, UNKNOWN, timeout=5)
        waits = [
            asyncio.create_task(watcher.wait_change(n, EARLIER, job(n, JobState.PENDING), 1.0)) for n in range(1, 101)
        ]
        await asyncio.gather(*waits)
    assert 2 <= slurm.queries <= 7


async def test_it_asks_fast_while_somebody_waits_slower_when_idle_and_slower_still_when_slurm_fails():
    async def queries(slurm: ScriptedSlurm, wait: bool) -> int:
        async with Watcher(slurm, Interval(starting=0.2, idle=1.0, failing=5.0)) as watcher:
            if wait:
                watcher.job(5, EARLIER)
            await asyncio.sleep(1.9)
        return slurm.queries

    broken = ScriptedSlurm()
    broken.broken = True
    fast, idle, failing = await asyncio.gather(
        queries(ScriptedSlurm(job(5, JobState.PENDING)), True), queries(ScriptedSlurm(), False), queries(broken, True)
    )
    assert fast >= 6
    assert idle == 2
    assert failing <= 3


@pytest.mark.parametrize("servers", [1, 10, 200])
@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.PENDING])
async def test_queries_do_not_grow_with_the_servers_that_run_or_wait(
    servers: int, state: JobState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.watcher._EAGER", 0.0)
    slurm = ScriptedSlurm(*(job(number, state) for number in range(1, servers + 1)))
    async with Watcher(slurm, Interval(starting=0.2, idle=0.8, failing=5.0)) as watcher:
        assert await watcher.next_answer(5)
        slurm.queries, begin = 0, asyncio.get_running_loop().time()
        # As spawners do: each looks again and again, and waits for a change that does not come.
        known = [watcher.job(number, EARLIER) for number in range(1, servers + 1)]
        for _ in range(4):
            await asyncio.gather(
                *(watcher.wait_change(n, EARLIER, answer, 0.6) for n, answer in enumerate(known, start=1))
            )
        took = asyncio.get_running_loop().time() - begin
    assert slurm.looked_up == []
    assert 1 <= slurm.queries <= took / 0.8 + 1


async def test_it_looks_fast_after_a_submission_a_beginning_and_a_cancel_and_slowly_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cluster.watcher._EAGER", 1.0)
    slurm = ScriptedSlurm(job(5, JobState.PENDING))

    async def queries(seconds: float) -> int:
        before = slurm.queries
        await asyncio.sleep(seconds)
        return slurm.queries - before

    async with Watcher(slurm, Interval(starting=0.2, idle=5.0, failing=5.0)) as watcher:
        assert await watcher.next_answer(5)
        pending = await watcher.wait_change(5, datetime.now(UTC), UNKNOWN, timeout=5)
        submitted = await queries(0.8)
        await asyncio.sleep(0.6)
        waits = await queries(1.0)
        running = asyncio.create_task(watcher.wait_change(5, EARLIER, pending, timeout=20))
        slurm.alive = {5: job(5)}
        await running
        begun = await queries(0.8)
        await asyncio.sleep(0.6)
        runs = await queries(1.0)
        ending = asyncio.create_task(watcher.wait_change(5, EARLIER, running.result(), timeout=1.0, eager=True))
        ended = await queries(0.8)
        await ending
    assert min(submitted, begun, ended) >= 2
    assert max(waits, runs) <= 1


async def test_a_slow_slurm_is_asked_no_more_than_a_fifth_of_the_time() -> None:
    class Slow(ScriptedSlurm):
        async def queue(self) -> Queue:
            await asyncio.sleep(0.3)
            return await super().queue()

    slurm = Slow(job(5, JobState.PENDING))
    async with Watcher(slurm, Interval(starting=0.2, idle=0.5, failing=5.0)) as watcher:
        waiting = asyncio.create_task(
            watcher.wait_change(5, EARLIER, job(5, JobState.PENDING), timeout=4.0, eager=True)
        )
        await asyncio.sleep(4.0)
        await waiting
    # 0.3 s of every 1.5 s: three, where a fast Slurm is asked twenty times.
    assert slurm.queries <= 4


async def test_closing_tells_everybody_who_waits():
    watcher = Watcher(ScriptedSlurm(job(5)), QUICK)
    assert watcher.job(5, EARLIER) is UNKNOWN
    watcher.start()
    running = await watcher.wait_change(5, EARLIER, UNKNOWN, timeout=5)
    waiting = asyncio.create_task(watcher.wait_change(5, EARLIER, running, timeout=60))
    await asyncio.sleep(0)
    await watcher.close()
    async with asyncio.timeout(1):
        assert await waiting is UNKNOWN
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "slurm-watcher"]


@pytest.mark.fault
async def test_an_error_that_nobody_expected_makes_everything_unknown():
    class Broken(ScriptedSlurm):
        async def queue(self) -> Queue:
            raise ZeroDivisionError

    watcher = Watcher(Broken(), QUICK)
    watcher.start()
    assert await watcher.wait_change(5, EARLIER, UNKNOWN, timeout=1) is UNKNOWN
    assert not watcher.answering
    with pytest.raises(ZeroDivisionError):
        await watcher.close()


async def test_who_waits_for_the_next_answer_gets_one_that_slurm_gave_after_that():
    slurm = ScriptedSlurm(job(1))
    async with Watcher(slurm, QUICK) as watcher:
        first = await watcher.next_answer(5)
        assert first is not None and [each.id for each in first.jobs] == [1]
        slurm.alive[2] = job(2)
        second = await watcher.next_answer(5)
        assert second is not None and [each.id for each in second.jobs] == [1, 2]
        slurm.broken = True
        assert await watcher.next_answer(0.8) is None
        waiting = asyncio.create_task(watcher.next_answer(60))
        await asyncio.sleep(0)
    assert await asyncio.wait_for(waiting, 5) is None
