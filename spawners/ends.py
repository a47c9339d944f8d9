"""Why a server that had been running ended, as its owner is told who comes back to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from base.messages import Message
from cluster.jobs import Job, JobState
from confinement.home_size import FULL

IDLE_SERVICE = "idle-culler"
"""The name of the service that stops servers that nobody uses."""

_CODES = {
    JobState.PREEMPTED: "server.ended.preempted",
    JobState.NODE_FAIL: "server.ended.node",
    JobState.BOOT_FAIL: "server.ended.node",
    JobState.TIMEOUT: "server.ended.time",
    JobState.DEADLINE: "server.ended.time",
    JobState.OUT_OF_MEMORY: "server.ended.memory",
    JobState.CANCELLED: "server.ended.cancelled",
    JobState.REVOKED: "server.ended.cancelled",
    JobState.COMPLETED: "server.ended.itself",
}


@dataclass(frozen=True)
class Ended:
    """The end of a server that its owner did not ask for.

    Args:
        message: why.
        at: when the hub noticed it.
        start: id of the start that it was; its log lies in the folder of that name.
    """

    message: Message
    at: datetime
    start: str

    def to_state(self) -> dict[str, Any]:
        """As JSON for JupyterHub's database."""
        params = dict(self.message.params)
        return {"code": self.message.code, "params": params, "at": self.at.isoformat(), "start": self.start}

    @classmethod
    def from_state(cls, state: object) -> Ended | None:
        """What `to_state` gave; None for anything else."""
        if not isinstance(state, Mapping):
            return None
        try:
            code, params = str(state["code"]), dict(state["params"])
            return cls(Message(code, params), datetime.fromisoformat(state["at"]), str(state["start"]))
        except (KeyError, TypeError, ValueError):
            return None


def ending(job: Job | None, *, site_stopped: bool = False) -> Message:
    """Why a server's job ended.

    Args:
        job: the ended job; None when Slurm does not know it any more.
        site_stopped: whether the whole site was stopped since the server's start, which cancels all jobs.
    """
    if site_stopped and (job is None or job.state is JobState.CANCELLED):
        return Message("server.ended.site")
    if job is None:
        return Message("server.ended.unknown")
    if (code := _CODES.get(job.state)) is not None:
        return Message(code)
    if job.exit_code == FULL:
        return Message("server.ended.home_full")
    return Message("server.ended.exit", {"exit_code": job.exit_code or 0, "signal": job.signal or 0})
