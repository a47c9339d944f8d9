"""What a job is as Slurm tells it, what a node is, and one moment's whole queue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from base.quantities import Size


class JobState(Enum):
    """A job's state (squeue(1), job state codes), and one word for those that a newer Slurm may add."""

    PENDING = "PENDING"
    CONFIGURING = "CONFIGURING"
    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    STOPPED = "STOPPED"
    SIGNALING = "SIGNALING"
    RESIZING = "RESIZING"
    STAGE_OUT = "STAGE_OUT"
    COMPLETING = "COMPLETING"
    REQUEUED = "REQUEUED"
    REQUEUE_FED = "REQUEUE_FED"
    REQUEUE_HOLD = "REQUEUE_HOLD"
    RESV_DEL_HOLD = "RESV_DEL_HOLD"
    SPECIAL_EXIT = "SPECIAL_EXIT"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"
    TIMEOUT = "TIMEOUT"
    NODE_FAIL = "NODE_FAIL"
    PREEMPTED = "PREEMPTED"
    BOOT_FAIL = "BOOT_FAIL"
    DEADLINE = "DEADLINE"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    REVOKED = "REVOKED"
    UNRECOGNISED = "UNRECOGNISED"

    @classmethod
    def parse(cls, word: str) -> JobState:
        """The state that Slurm names; a word that is new to Leerlab counts as alive, because unknown is not dead."""
        try:
            return cls(word)
        except ValueError:
            return cls.UNRECOGNISED

    @property
    def waiting(self) -> bool:
        """The job's script has not begun and still will."""
        return self in _WAITING

    @property
    def ended(self) -> bool:
        """The job is over and all its processes are gone."""
        return self in _ENDED


_WAITING = frozenset(
    {JobState.PENDING, JobState.CONFIGURING, JobState.REQUEUED, JobState.REQUEUE_FED, JobState.REQUEUE_HOLD,
     JobState.RESV_DEL_HOLD, JobState.SPECIAL_EXIT}
)  # fmt: skip
_ENDED = frozenset(
    {JobState.COMPLETED, JobState.CANCELLED, JobState.FAILED, JobState.TIMEOUT, JobState.NODE_FAIL, JobState.PREEMPTED,
     JobState.BOOT_FAIL, JobState.DEADLINE, JobState.OUT_OF_MEMORY, JobState.REVOKED}
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """A job as Slurm tells it.

    Args:
        id: Slurm's number.
        state: its state.
        reason: why it waits or ended, Slurm's word (squeue(1), job reason codes) such as `Resources`; empty if none.
        nodes: the nodes that it has.
        comment: what was given as comment; the hub's own mark.
        name: its name.
        partition: its partition, or several with commas between them while it waits.
        submitted: when Slurm took it.
        started: when its script began; None while it waits.
        estimate: when Slurm expects it to begin; None if it does not wait, or Slurm cannot tell yet.
        ended: when it ended; None before.
        ends: when Slurm ends it because of its time limit; None if it does not run.
        position: its place among those that wait for the same partition, 1 first; None if it does not wait.
        exit_code: the script's exit code; known of ended jobs that were asked for by number.
        signal: the signal that ended the script, 0 if none; known when `exit_code` is.
    """

    id: int
    state: JobState
    reason: str
    nodes: tuple[str, ...]
    comment: str
    name: str
    partition: str
    submitted: datetime
    started: datetime | None = None
    estimate: datetime | None = None
    ended: datetime | None = None
    position: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    ends: datetime | None = None


@dataclass(frozen=True)
class Queue:
    """All jobs that Slurm had not ended at one moment between two times of this machine's clock.

    Args:
        jobs: the jobs.
        asked: just before the question; a job that was submitted later may be missing.
        answered: when the answer was complete.
    """

    jobs: tuple[Job, ...]
    asked: datetime
    answered: datetime


@dataclass(frozen=True)
class ClusterNode:
    """A node as Slurm tells it.

    Args:
        name: its name.
        address: where it is reached: a host name or an IP address.
        state: Slurm's words, such as `IDLE` or `MIXED+DRAIN`; `*` at the end: does not answer Slurm.
        usable: whether it can take a job now, if enough of it is free.
        partitions: partitions that it is in.
        cpus, cpus_used: processor cores.
        memory, memory_used: bytes.
        gpus, gpus_used: whole GPUs; a GPU of which shards are in use does not count as used.
        shards, shards_used: parts of its GPUs; None where Slurm does not tell how many are used.
        gpus_of: its GPUs that have a type, and how many of them are used, by type.
    """

    name: str
    address: str
    state: str
    usable: bool
    partitions: tuple[str, ...]
    cpus: int
    cpus_used: int
    memory: Size
    memory_used: int
    gpus: int
    gpus_used: int
    shards: int = 0
    shards_used: int | None = 0
    gpus_of: Mapping[str, tuple[int, int]] = field(default_factory=dict)
