"""Many who look jobs up at one moment share a query, and one who gives up takes nothing from the others."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime

import pytest

from cluster.errors import SlurmUnavailable
from cluster.jobs import Job, JobState
from cluster.lookups import Lookups

EARLIER = datetime(2026, 1, 1, tzinfo=UTC)


class SlowSlurm:
    """Each query waits until the test lets it go on."""

    def __init__(self) -> None:
        self.asked: list[set[int]] = []
        self.at_once = self.most_at_once = 0
        self.go = asyncio.Event()
        self.broken = False

    async def jobs(self, job_ids: Collection[int]) -> dict[int, Job]:
        self.asked.append(set(job_ids))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.go.wait()
        finally:
            self.at_once -= 1
        if self.broken:
            raise SlurmUnavailable("no answer")
        return {
            number: Job(number, JobState.RUNNING, "", ("n1",), "hub:1", "lab", "cpu", EARLIER)
            for number in job_ids
            if number < 1000
        }


async def asking(slurm: SlowSlurm, queries: int) -> None:
    async with asyncio.timeout(5):
        while len(slurm.asked) < queries:  # noqa: ASYNC110  nothing announces it
            await asyncio.sleep(0)


async def test_a_hundred_at_one_moment_cost_two_queries_one_after_the_other() -> None:
    slurm = SlowSlurm()
    lookups = Lookups(slurm)
    first = asyncio.create_task(lookups.job(0))
    await asking(slurm, 1)
    others = [asyncio.create_task(lookups.job(number)) for number in range(1, 100)]
    await asyncio.sleep(0)
    slurm.go.set()
    found = await asyncio.gather(first, *others)
    assert [job.id for job in found if job is not None] == list(range(100))
    # Who asked while the first went on does not get its answer: it may be of before.
    assert slurm.asked == [{0}, set(range(1, 100))]
    assert slurm.most_at_once == 1


async def test_a_number_that_slurm_does_not_know_is_none_and_two_may_ask_for_the_same() -> None:
    slurm = SlowSlurm()
    slurm.go.set()
    lookups = Lookups(slurm)
    unknown, one, same = await asyncio.gather(lookups.job(2000), lookups.job(3), lookups.job(3))
    assert unknown is None and one is not None and one == same


@pytest.mark.fault
async def test_who_asks_for_all_and_is_cancelled_leaves_the_others_their_answer() -> None:
    slurm = SlowSlurm()
    lookups = Lookups(slurm)
    first = asyncio.create_task(lookups.job(1))
    await asking(slurm, 1)
    second, third = (asyncio.create_task(lookups.job(number)) for number in (2, 3))
    await asyncio.sleep(0)
    first.cancel()
    await asking(slurm, 2)
    second.cancel()
    slurm.go.set()
    async with asyncio.timeout(5):
        found = await third
    assert found is not None and found.id == 3
    for cancelled in (first, second):
        with pytest.raises(asyncio.CancelledError):
            await cancelled


@pytest.mark.fault
async def test_no_answer_is_told_to_everybody_and_the_next_query_is_a_new_one() -> None:
    slurm = SlowSlurm()
    slurm.broken = True
    slurm.go.set()
    lookups = Lookups(slurm)
    told = await asyncio.gather(*(lookups.job(number) for number in range(5)), return_exceptions=True)
    assert [type(each) for each in told] == [SlurmUnavailable] * 5
    slurm.broken = False
    assert await lookups.job(1) is not None
