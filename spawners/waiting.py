"""What a waiting person is told: Slurm's state and reason of a job as a message code."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from base.messages import Message
from cluster.jobs import Job, JobState
from cluster.watcher import Absence, Answer
from spawners.estimates import Estimate, Estimates
from spawners.reasons import code_of, word_of
from spawners.starts import Start


@dataclass(frozen=True)
class Waiting:
    """Where a start stands, for one event of its progress.

    Args:
        progress: how far, of 100.
        message: what to tell; every code has the parameter `waited`, whole seconds since the request; who waits in
            Slurm's queue also has `position`, `starts_in` and `starts_from` (seconds from now: the latest, and where
            experience tells it the earliest), as far as they are known.
    """

    progress: int
    message: Message


def queued(job: Job, waited: int, at: datetime, estimate: Estimate | None = None) -> Waiting:
    """A job that Slurm has not started.

    Args:
        job: the job, which waits.
        waited: seconds since the person asked.
        at: this moment.
        estimate: when it is expected to start; None: nobody can tell.
    """
    code = "start.waiting.preparing" if job.state is JobState.CONFIGURING else code_of(job.reason)
    params: dict[str, str | int | float] = {"reason": word_of(job.reason), "waited": waited}
    if job.position is not None:
        params["position"] = job.position
    if estimate is not None:
        params["starts_in"] = estimate.latest
        if estimate.earliest is not None:
            params["starts_from"] = estimate.earliest
    return Waiting(20, Message(code, params))


def standing(
    start: Start, answer: Answer, at: datetime, *, silent: bool, estimates: Estimates | None = None
) -> Waiting:
    """Where a start stands.

    Args:
        start: the start.
        answer: what the watcher says of its job.
        at: this moment.
        silent: Slurm does not answer now.
        estimates: what is known of when waiting jobs start.
    """
    waited: dict[str, str | int | float] = {"waited": max(0, round((at - start.requested).total_seconds()))}
    if start.port is not None:
        return Waiting(90, Message("start.answering", waited))
    if silent:
        # A job that Slurm has keeps its place; one that it has not is handed over when it answers.
        code = "start.slurm-unreachable" if start.job is None else "start.slurm-unknown"
        return Waiting(5, Message(code, waited))
    if isinstance(answer, Absence):
        return Waiting(10, Message("start.requested", waited))
    if answer.state.waiting:
        return queued(answer, int(waited["waited"]), at, estimates.of(answer, at) if estimates else None)
    return Waiting(60, Message("start.starting", waited))
