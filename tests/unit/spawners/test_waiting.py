"""What a waiting person is told, and which jobs are cancelled."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from cluster.jobs import Job, JobState
from cluster.watcher import GONE, UNKNOWN
from spawners.estimates import Estimates
from spawners.orphans import orphans
from spawners.starts import Start
from spawners.waiting import standing

AT = datetime(2026, 9, 1, 9, 0, tzinfo=UTC)
HUB, OTHER_HUB = "0123456789ab", "ba9876543210"
START = replace(Start.new("small", None, AT - timedelta(seconds=42))[0], job=7, submitted=AT)
JOB = Job(
    id=7, state=JobState.PENDING, reason="Resources", nodes=(), comment=START.comment(HUB), name="leerlab-server",
    partition="cpu", submitted=AT, position=3, estimate=AT + timedelta(minutes=5),
)  # fmt: skip


def test_who_waits_is_told_the_reason_the_place_and_the_time() -> None:
    told = standing(START, JOB, AT, silent=False, estimates=Estimates()).message
    assert told.code == "start.waiting.resources"
    assert told.params == {"reason": "Resources", "waited": 42, "position": 3, "starts_in": 300}


def test_a_reason_is_never_more_than_a_word() -> None:
    told = standing(START, replace(JOB, reason="<script>"), AT, silent=False).message
    assert (told.code, told.params["reason"]) == ("start.waiting.other", "script")


def test_nothing_is_said_of_a_time_that_nobody_knows() -> None:
    known = standing(START, replace(JOB, estimate=None), AT, silent=False, estimates=Estimates()).message.params
    assert "starts_in" not in known and "starts_from" not in known


def test_a_start_moves_on_from_request_to_answer() -> None:
    steps = [
        standing(replace(START, job=None), UNKNOWN, AT, silent=True),
        standing(START, UNKNOWN, AT, silent=False),
        standing(START, JOB, AT, silent=False),
        standing(START, replace(JOB, state=JobState.RUNNING), AT, silent=False),
        standing(replace(START, port=40000), JOB, AT, silent=False),
    ]
    assert [step.message.code for step in steps] == [
        "start.slurm-unreachable", "start.requested", "start.waiting.resources", "start.starting", "start.answering",
    ]  # fmt: skip
    assert [step.progress for step in steps] == sorted(step.progress for step in steps)


def test_a_job_that_slurm_has_is_told_to_keep_its_place_while_slurm_is_silent() -> None:
    assert standing(START, GONE, AT, silent=True).message.code == "start.slurm-unknown"


def test_only_jobs_of_this_hub_with_a_known_ended_start_are_orphans() -> None:
    ended = Start.new("small", None, AT)[0]
    jobs = [
        replace(JOB, id=1, comment=ended.comment(HUB)),
        replace(JOB, id=2, comment=ended.comment(HUB), state=JobState.RUNNING),
        replace(JOB, id=3, comment=ended.comment(OTHER_HUB)),
        replace(JOB, id=4, comment=START.comment(HUB)),
        replace(JOB, id=5, comment=""),
        replace(JOB, id=6, comment=ended.comment(HUB), state=JobState.COMPLETED),
    ]
    assert orphans(jobs, HUB, {ended.id}) == [(1, None), (2, None)]
    assert orphans(jobs, HUB, set()) == []
