"""What is asked of Slurm: one job, checked so that no value can mean anything else to sbatch.

Standard library only: `spawners/launcher.py` reads it with Debian's own Python.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TypedDict

from cluster.errors import InvalidRequest

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
    memory: int
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
        memory: bytes, for the whole job.
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
    memory: int
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

    def arguments(self) -> list[str]:
        """The arguments of sbatch (sbatch(1)); every account on the machine can read them."""
        gpu = "gpu" if self.gpu_type is None else f"gpu:{self.gpu_type}"
        gres = [f"{kind}:{count}" for kind, count in ((gpu, self.gpus), ("shard", self.shards)) if count]
        return [
            "--parsable",
            "--no-requeue",
            "--export=ALL",
            "--nodes=1",
            "--ntasks=1",
            f"--job-name={self.name}",
            f"--comment={self.comment}",
            f"--partition={self.partition}",
            f"--cpus-per-task={self.cpus}",
            f"--mem={-(-self.memory // 2**20)}M",
            f"--time={math.ceil(self.time.total_seconds() / 60)}",
            f"--output={self.output}",
            "--open-mode=append",
            f"--chdir={self.folder}",
            *(f"--gres={one}" for one in gres),
            *([f"--account={self.account}"] if self.account is not None else ()),
            *([f"--nodelist={self.node}"] if self.node is not None else ()),
            *([f"--qos={self.qos}"] if self.qos is not None else ()),
            *([f"--reservation={self.reservation}"] if self.reservation is not None else ()),
        ]


def _invalid(what: str, allowed: str) -> InvalidRequest:
    return InvalidRequest(f"Not a job that is sent to Slurm: {what} (allowed: {allowed}).", "Nothing was submitted.")
