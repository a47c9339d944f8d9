"""Why a start was refused or failed: a message code for our own pages, a sentence for JupyterHub's."""

from __future__ import annotations

import re

from jupyterhub.spawner import SpawnException

from base.errors import LeerlabError
from base.messages import Message
from cluster.jobs import Job, JobState

LAST_LINES = "log"
"""The parameter of a failure's message that holds the job's last lines: of a person's own code, so text only."""


class StartRefused(LeerlabError):
    """The request for a server is not one that this person may make; becomes HTTP status 400.

    Args:
        message: what to tell the person.
        what: the same in one English sentence, for logs and for other programs.
    """

    def __init__(self, message: Message, what: str) -> None:
        self.message = message
        super().__init__(what)


class SpawnRefused(SpawnException):  # type: ignore[misc]  # jupyterhub has no types
    """`StartRefused` as JupyterHub reports it: status 400 with the sentence."""

    def __init__(self, refusal: StartRefused, sentence: str) -> None:
        self.code = refusal.message
        self.jupyterhub_message = sentence
        super().__init__(sentence, reason="refused", log_message=refusal.what, status_code=400)


class StartFailed(SpawnException):  # type: ignore[misc]  # jupyterhub has no types
    """A start that cannot succeed any more: the job ended, Slurm refused it, or it took too long.

    Args:
        message: code and parameters for the page.
        sentence: the same as a sentence in the site's language.
    """

    def __init__(self, message: Message, sentence: str) -> None:
        self.code = message
        # JupyterHub shows this attribute, escaped; it is never set as HTML, because log lines are a person's own text.
        self.jupyterhub_message = sentence
        super().__init__(sentence, reason="start-failed", status_code=500)


_ENDINGS = {
    JobState.OUT_OF_MEMORY: "start.failed.memory",
    JobState.NODE_FAIL: "start.failed.node",
    JobState.BOOT_FAIL: "start.failed.node",
    JobState.CANCELLED: "start.failed.cancelled",
    JobState.PREEMPTED: "start.failed.preempted",
    JobState.TIMEOUT: "start.failed.time",
    JobState.DEADLINE: "start.failed.time",
}


# Where no cgroup does it, slurmstepd ends a job that uses too much with SIGKILL, and says so in the job's output
# (JobAcctGatherParams=OverMemoryKill in slurm.conf(5)); the state is FAILED then. What runs inside the wall writes
# to another file.
_OVER_MEMORY = re.compile(r"slurmstepd\S*: error: .*exceeded (?:job )?memory limit", re.IGNORECASE)
_KILLED = 9


def ended_early(job: Job | None, log: str, outside: str = "") -> Message:
    """Why a server's job ended before it answered.

    Args:
        job: the ended job; None when Slurm does not know it any more.
        log: its last lines.
        outside: the last lines of what was written outside the wall, by Slurm and the wrapper.
    """
    params: dict[str, str | int | float] = {LAST_LINES: log}
    if job is None:
        return Message("start.failed.ended", params)
    if job.state in _ENDINGS:
        return Message(_ENDINGS[job.state], params)
    if job.signal == _KILLED and _OVER_MEMORY.search(outside):
        return Message("start.failed.memory", params)
    return Message("start.failed.exit", {**params, "exit_code": job.exit_code or 0, "signal": job.signal or 0})


def too_slow(seconds: float, log: str) -> Message:
    """The job runs, but nothing answered for so many seconds."""
    return Message("start.failed.slow", {"seconds": round(seconds), LAST_LINES: log})
