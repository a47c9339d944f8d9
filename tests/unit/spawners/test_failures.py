"""Why a start failed, from what Slurm and the job's own log tell."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cluster.jobs import Job, JobState
from spawners.failures import ended_early

OVER = "slurmstepd-cpu01: error: StepId=20.batch exceeded memory limit (686104576 > 536870912), being killed"


@pytest.mark.parametrize(
    ("state", "signal", "outside", "code"),
    [
        (JobState.OUT_OF_MEMORY, 0, "", "start.failed.memory"),
        (JobState.FAILED, 9, f"loading\n{OVER}", "start.failed.memory"),
        (JobState.FAILED, 9, "loading", "start.failed.exit"),
        # Another signal than slurmstepd's was something else's.
        (JobState.FAILED, 0, OVER, "start.failed.exit"),
        (JobState.NODE_FAIL, 0, "", "start.failed.node"),
        (JobState.CANCELLED, 0, "", "start.failed.cancelled"),
    ],
)
def test_the_end_of_a_job_is_told_by_its_cause(state: JobState, signal: int, outside: str, code: str) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    job = Job(1, state, "", (), "", "lab", "cpu", moment, exit_code=0, signal=signal)
    assert ended_early(job, "loaded", outside).code == code


def test_the_sentence_counts_only_where_nobodys_own_program_writes() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    job = Job(1, JobState.FAILED, "", (), "", "lab", "cpu", moment, exit_code=0, signal=9)
    assert ended_early(job, OVER, "").code == "start.failed.exit"


def test_a_job_that_slurm_has_forgotten_has_ended() -> None:
    assert ended_early(None, "").code == "start.failed.ended"
