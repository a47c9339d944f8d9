"""When a waiting job will start: Slurm's word, then what experience makes of it, and never more than is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from cluster.jobs import Job, JobState
from spawners.estimates import FEWEST, Estimate, Estimates

AT = datetime(2026, 9, 1, 9, 0, tzinfo=UTC)
JOB = Job(
    id=7, state=JobState.PENDING, reason="Resources", nodes=(), comment="", name="leerlab-server", partition="gpu",
    submitted=AT, estimate=AT + timedelta(minutes=100),
)  # fmt: skip


def experienced(minutes: list[int]) -> Estimates:
    """After starts that Slurm expected in 100 minutes and that came after so many."""
    known = Estimates()
    for number, took in enumerate(minutes, start=100):
        waiting = replace(JOB, id=number)
        known.see(waiting, AT)
        # Later words about the same job do not count: people plan by the first.
        known.see(replace(waiting, estimate=AT + timedelta(minutes=900)), AT + timedelta(minutes=1))
        known.see(
            replace(waiting, state=JobState.RUNNING, estimate=None, started=AT + timedelta(minutes=took)),
            AT + timedelta(minutes=took),
        )
    return known


def test_without_experience_slurms_word_is_a_latest_time_and_nothing_more() -> None:
    assert Estimates().of(JOB, AT) == Estimate(6000)
    assert experienced([20] * (FEWEST - 1)).of(JOB, AT) == Estimate(6000)


def test_experience_says_between_which_times() -> None:
    assert experienced([10, *range(20, 100, 10), 150]).of(JOB, AT) == Estimate(latest=5400, earliest=1200)
    # Half of it has passed: what is left shrinks with it.
    assert experienced([50] * FEWEST).of(JOB, AT + timedelta(minutes=50)) == Estimate(1500, 1500)


def test_where_slurm_expects_nothing_nothing_is_said() -> None:
    known = experienced([50] * FEWEST)
    assert known.of(replace(JOB, estimate=None), AT) is None
    assert known.of(JOB, AT + timedelta(minutes=101)) is None


def test_starts_that_were_cancelled_or_hardly_waited_teach_nothing() -> None:
    known = experienced([50] * (FEWEST - 1))
    known.see(JOB, AT)
    known.forget(JOB.id)
    known.see(replace(JOB, state=JobState.RUNNING, started=AT), AT)
    short = replace(JOB, id=8, estimate=AT + timedelta(seconds=5))
    known.see(short, AT)
    known.see(replace(short, state=JobState.RUNNING, started=AT), AT)
    assert known.of(JOB, AT) == Estimate(6000)
