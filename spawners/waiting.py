"""What a waiting person is told: Slurm's state and reason of a job as a message code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from base.messages import Message
from cluster.jobs import Job, JobState
from cluster.watcher import Absence, Answer
from spawners.starts import Start

# Slurm's reasons (squeue(1), JOB REASON CODES) by what they mean for the person who waits.
_REASONS = {
    "None": "start.waiting.scheduling",
    "Resources": "start.waiting.resources",
    "Priority": "start.waiting.priority",
    "Dependency": "start.waiting.dependency",
    "DependencyNeverSatisfied": "start.waiting.never",
    "BeginTime": "start.waiting.begin-time",
    "ReqNodeNotAvail": "start.waiting.nodes",
    "NodeDown": "start.waiting.nodes",
    # `Nodes required for job are DOWN, DRAINED or reserved ...`: a sentence in place of a code (slurmctld, job_mgr.c).
    "NodesrequiredforjobareDOWN": "start.waiting.nodes",
    "PartitionDown": "start.waiting.closed",
    "PartitionInactive": "start.waiting.closed",
    "Reservation": "start.waiting.reservation",
    "JobHeldUser": "start.waiting.held",
    "JobHeldAdmin": "start.waiting.held",
    "JobLaunchFailure": "start.waiting.launch-failed",
    "launch_failed_requeued_held": "start.waiting.launch-failed",
    "PartitionTimeLimit": "start.waiting.never",
    "PartitionNodeLimit": "start.waiting.never",
    "BadConstraints": "start.waiting.never",
    "Licenses": "start.waiting.licences",
}
# Minutes that jobs may use in all: more of them do not come free when a job ends.
_BUDGET = re.compile(r"^(QOS|Assoc)Grp[A-Za-z]*Minutes")
_LIMIT = re.compile(r"^(QOS|Assoc|MaxJobsPer|MaxSubmit|JobArrayTaskLimit)")
_WORD = re.compile(r"[^A-Za-z0-9_]")


@dataclass(frozen=True)
class Waiting:
    """Where a start stands, for one event of its progress.

    Args:
        progress: how far, of 100.
        message: what to tell; every code has the parameter `waited`, whole seconds since the request.
    """

    progress: int
    message: Message


def queued(job: Job, waited: int, at: datetime) -> Waiting:
    """A job that Slurm has not started.

    Args:
        job: the job, which waits.
        waited: seconds since the person asked.
        at: this moment.
    """
    reason = _WORD.sub("", (job.reason or "None").partition(",")[0].strip("() "))
    code = "start.waiting.preparing" if job.state is JobState.CONFIGURING else _REASONS.get(reason)
    if code is None and _BUDGET.match(reason):
        code = "start.waiting.budget"
    elif code is None:
        code = "start.waiting.limit" if _LIMIT.match(reason) else "start.waiting.other"
    params: dict[str, str | int | float] = {"reason": reason, "waited": waited}
    if job.position is not None:
        params["position"] = job.position
    if job.estimate is not None and job.estimate > at:
        params["starts_in"] = round((job.estimate - at).total_seconds())
        params["starts_at"] = job.estimate.isoformat()
    return Waiting(20, Message(code, params))


def standing(start: Start, answer: Answer, at: datetime, *, silent: bool) -> Waiting:
    """Where a start stands.

    Args:
        start: the start.
        answer: what the watcher says of its job.
        at: this moment.
        silent: Slurm does not answer now.
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
        return queued(answer, int(waited["waited"]), at)
    return Waiting(60, Message("start.starting", waited))
