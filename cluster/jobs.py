"""What a job is: the request, the job as Slurm tells it, and one moment's whole queue."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import TypedDict

from base.quantities import Size
from cluster.errors import InvalidRequest


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


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_COMMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._-]{0,127}")
_PARTITION = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,30}")
# Slurm's own account `root` is above all others; lower case, because Slurm takes no notice of it.
ACCOUNT = re.compile(r"(?!root$)[a-z][a-z0-9-]{0,39}")
# Of a job: accounts that a site made itself may have an underscore.
_CHARGED = re.compile(r"(?!root$)[a-z][a-z0-9_-]{0,39}")
_QOS = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_RESERVATION = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,60}")
_GPU_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
# These would steer sbatch itself or the dynamic linker that loads it.
_STEERING = ("SBATCH_", "SLURM_", "SLURMD_", "LD_", "GLIBC_", "MALLOC_", "MUNGE_", "GCONV_", "LOCPATH", "PMI", "OMPI_")
# One environment string, name included: MAX_ARG_STRLEN in linux/binfmts.h, less the final NUL.
_LONGEST_VARIABLE = 32 * 4096 - 1


class Resources(TypedDict):
    """What a profile asks of Slurm: arguments of `JobRequest` by these names."""

    partition: str
    cpus: int
    memory: Size
    time: timedelta
    gpus: int
    gpu_type: str | None
    shards: int
    qos: str | None
    reservation: str | None


@dataclass(frozen=True)
class JobRequest:
    """One job on one node, checked so that no value can mean anything else to sbatch.

    Args:
        name: shown in the queue: letters, digits, `.`, `_` and `-`.
        comment: the hub's own mark, by which a job is found again; as `name`, and `:`. Everybody can read it.
        partition: the partition's name.
        cpus: processor cores.
        memory: for the whole job.
        time: how long it may run; Slurm counts whole minutes, rounded up.
        script: what runs, from `cluster.script.job_script`.
        output: absolute path of the file that its standard output and standard error are added to.
        environment: the job's environment, together with Slurm's own variables; reaches it in no argument and no file
            but Slurm's own state, so secrets are at home here.
        folder: absolute path of the folder it starts in.
        gpus: GPUs.
        gpu_type: which GPUs, by their gres type in Slurm, MIG slices too; None: any. Only with gpus.
        shards: parts of one GPU; not together with gpus.
        account: the account that the job is charged to; None: the default of Slurm.
        qos: the QOS under which it runs; None: the default of Slurm.
        reservation: the reservation in which it runs, and outside of which it waits; None: none.
        node: the only node on which it may run; None: any of the partition.

    Raises:
        InvalidRequest: a value is out of bounds or has a character that is not allowed.
    """

    name: str
    comment: str
    partition: str
    cpus: int
    memory: Size
    time: timedelta
    script: str
    output: Path
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    folder: Path = Path("/")
    gpus: int = 0
    shards: int = 0
    account: str | None = None
    node: str | None = None
    gpu_type: str | None = None
    qos: str | None = None
    reservation: str | None = None

    def __post_init__(self) -> None:
        for what, value, pattern in (
            ("name", self.name, _NAME),
            ("comment", self.comment, _COMMENT),
            ("partition", self.partition, _PARTITION),
            ("account", self.account, _CHARGED),
            ("node", self.node, _NAME),
            ("gpu_type", self.gpu_type, _GPU_TYPE),
            ("qos", self.qos, _QOS),
            ("reservation", self.reservation, _RESERVATION),
        ):
            if value is not None and not pattern.fullmatch(value):
                raise _invalid(
                    f"{what} {value[:80]!r} has characters or a length that are not allowed", pattern.pattern
                )
        for what, number, least in (
            ("cpus", self.cpus, 1), ("memory", self.memory, 1), ("gpus", self.gpus, 0), ("shards", self.shards, 0),
            ("time in seconds", self.time.total_seconds(), 1),
        ):  # fmt: skip
            if number < least:
                raise _invalid(f"{what} is {number}", f"at least {least}")
        if self.gpus and self.shards:
            raise _invalid(f"{self.gpus} gpus and {self.shards} shards", "one of the two")
        if self.gpu_type is not None and not self.gpus:
            raise _invalid(f"gpu_type {self.gpu_type} without gpus", "only with gpus")
        for what, path in (("output", self.output), ("folder", self.folder)):
            text = str(path)
            # sbatch replaces % and backslash sequences in file names (sbatch(1), filename pattern).
            if not path.is_absolute() or not text.isprintable() or "%" in text or "\\" in text:
                raise _invalid(f"{what} {text[:200]!r}", "an absolute path without %, backslash and control characters")
        if not self.script.startswith("#!/") or "\0" in self.script:
            raise _invalid("the script is not one of cluster.script.job_script", "a text that begins with #!/")
        for variable, value in self.environment.items():
            # Values may be secret: they are never shown.
            if not _VARIABLE.fullmatch(variable) or variable.startswith(_STEERING):
                raise _invalid(
                    f"environment variable {variable[:80]!r}", "a name that steers neither Slurm nor the linker"
                )
            if "\0" in value or len(f"{variable}={value}".encode()) > _LONGEST_VARIABLE:
                raise _invalid(
                    f"the value of environment variable {variable}", f"at most {_LONGEST_VARIABLE} bytes, no NUL"
                )


def _invalid(what: str, allowed: str) -> InvalidRequest:
    return InvalidRequest(f"Not a job that is sent to Slurm: {what} (allowed: {allowed}).", "Nothing was submitted.")
