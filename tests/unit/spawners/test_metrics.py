"""What is counted of starts, and that no number says who started."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY, generate_latest

from base.messages import Message
from cluster.errors import SlurmUnavailable
from cluster.jobs import Job, JobState, Queue
from cluster.settings import Interval
from cluster.watcher import UNKNOWN, Watcher
from spawners import metrics
from spawners.failures import SpawnRefused, StartFailed, StartRefused
from spawners.starts import Start

HUB = "0123456789ab"
AT = datetime(2026, 11, 1, 12, tzinfo=UTC)


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def failure(code: str) -> StartFailed:
    return StartFailed(Message(code, {"log": "sanne@example.nl"}), "a sentence")


ENDS = [
    (None, "ready", ""),
    (failure("start.failed.memory"), "failed", "memory"),
    (failure("start.failed.cancelled"), "cancelled", ""),
    (asyncio.CancelledError(), "cancelled", ""),
    (SpawnRefused(StartRefused(Message("start.refused.profile"), "no"), "nee"), "refused", "profile"),
    (ZeroDivisionError(), "failed", "error"),
]


def counts() -> dict[tuple[str, str], float]:
    kinds = {(outcome, reason) for _, outcome, reason in ENDS}
    return {kind: value("leerlab_starts_total", outcome=kind[0], reason=kind[1]) for kind in kinds}


@pytest.mark.parametrize(("end", "outcome", "reason"), ENDS)
def test_each_end_of_a_start_is_counted_once_with_its_reason(
    end: BaseException | None, outcome: str, reason: str
) -> None:
    before = counts()
    with pytest.raises(type(end)) if end is not None else nullcontext(), metrics.counted(dict):
        if end is not None:
            raise end
    after = counts()
    assert {kind: after[kind] - before[kind] for kind in after if after[kind] != before[kind]} == {(outcome, reason): 1}
    assert "sanne" not in generate_latest(REGISTRY).decode()


def job(number: int, state: JobState, comment: str, **times: Any) -> Job:
    return Job(number, state, "", (), comment, "leerlab-server", "cpu", AT, **times)


def test_waiting_and_the_whole_start_are_told_apart() -> None:
    start = Start("a" * 16, "", None, "cpu-small", AT, AT, AT, 7)
    begun = job(7, JobState.RUNNING, "", started=AT + timedelta(seconds=40))
    before = {name: value(f"leerlab_start_{name}_seconds_sum") for name in ("wait", "ready")}
    metrics.ready(start, begun, AT + timedelta(seconds=43))
    metrics.ready(start, None, AT + timedelta(seconds=1))
    assert value("leerlab_start_wait_seconds_sum") - before["wait"] == 40
    assert value("leerlab_start_ready_seconds_sum") - before["ready"] == 44


class OneAnswer:
    """A Slurm with these jobs, until it breaks."""

    def __init__(self, *jobs: Job) -> None:
        self.told, self.broken = jobs, False

    async def queue(self) -> Queue:
        if self.broken:
            raise SlurmUnavailable("no answer")
        return Queue(self.told, datetime.now(UTC), datetime.now(UTC))

    async def jobs(self, _ids: Any) -> dict[int, Job]:
        return {}


def told(numbers: metrics.WatcherNumbers) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in numbers.collect()
        for sample in family.samples
    }


async def test_the_numbers_are_of_this_hubs_servers_and_of_the_last_answer() -> None:
    ours = f"{HUB}:{'1' * 16}"
    slurm = OneAnswer(
        job(1, JobState.RUNNING, ours), job(2, JobState.PENDING, ours), job(3, JobState.COMPLETING, ours),
        job(4, JobState.RUNNING, f"{'f' * 12}:{'1' * 16}"), job(5, JobState.RUNNING, f"{HUB}:execution-{'2' * 16}"),
        job(6, JobState.CONFIGURING, ours), job(7, JobState.RUNNING, ""),
    )  # fmt: skip
    watcher = Watcher(slurm, Interval(starting=0.2, idle=0.5, failing=1.0))
    numbers = metrics.WatcherNumbers(watcher, HUB)
    assert told(numbers)[("leerlab_slurm_answering",)] == 0
    assert ("leerlab_watcher_age_seconds",) not in told(numbers)
    async with watcher:
        assert await watcher.next_answer(5)
        now = told(numbers)
        assert {state: now[("leerlab_servers", state)] for state in ("running", "pending", "other")} == {
            "running": 1, "pending": 2, "other": 1,
        }  # fmt: skip
        assert now[("leerlab_slurm_answering",)] == 1
        slurm.broken = True
        first = watcher.job(1, AT)
        assert await watcher.wait_change(1, AT, first, timeout=5) is UNKNOWN
        later = told(numbers)
    assert later[("leerlab_slurm_answering",)] == 0
    assert later[("leerlab_watcher_age_seconds",)] > now[("leerlab_watcher_age_seconds",)]


def test_a_start_that_ends_is_one_line_with_its_ids(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with pytest.raises(StartFailed), metrics.counted(lambda: {"start": "a" * 16, "job": 7}):
        raise failure("start.failed.memory")
    (record,) = caplog.records
    told = {name: getattr(record, name) for name in ("event", "outcome", "reason", "start", "job")}
    assert told == {"event": "start", "outcome": "failed", "reason": "memory", "start": "a" * 16, "job": 7}
    assert record.getMessage() == "A start ended: failed (memory)"


async def test_they_are_served_only_while_they_are_shown_and_twice_is_refused() -> None:
    numbers = metrics.WatcherNumbers(Watcher(OneAnswer(), Interval()), HUB)
    metrics.show(numbers)
    try:
        assert b"leerlab_slurm_answering 0.0" in generate_latest(REGISTRY)
        with pytest.raises(ValueError, match="Duplicated"):
            metrics.show(numbers)
    finally:
        metrics.hide(numbers)
    assert b"leerlab_slurm_answering" not in generate_latest(REGISTRY)
