"""The `cluster:` section of site.yaml: the embedded one-machine Slurm, or a Slurm that exists already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.functional_validators import AfterValidator

from base.ports import LOOPBACK
from base.quantities import Duration, Size
from cluster.gpus import GpuType, is_slice

# Beside the nodes' folders, which have the nodes' names.
STATE_FOLDERS = ("controller", "accounting")


def _within(low: Size, high: Size) -> AfterValidator:
    def check(size: Size) -> Size:
        if not low <= size <= high:
            raise ValueError(f"{size} is out of bounds (allowed: {low} to {high})")
        return size

    return AfterValidator(check)


def _at_most(longest: Duration) -> AfterValidator:
    def check(time: Duration) -> Duration:
        if time > longest:
            raise ValueError(f"{time} is too long (allowed: at most {longest})")
        return time

    return AfterValidator(check)


# Lower case keeps out the words that Slurm gives a meaning of its own (ALL, DEFAULT, NONE, NULL, UNLIMITED).
NodeName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,14}$", examples=["gpu01"])]
PartitionName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,30}$", examples=["gpu"])]
Memory = Annotated[Size, _within(Size.parse("128M"), Size.parse("16T"))]
PartitionTime = Annotated[Duration, _at_most(Duration.parse("30d"))]
Cpus = Annotated[int, Field(ge=1, le=4096, strict=True)]
Gpus = Annotated[int, Field(ge=0, le=64, strict=True)]
Shards = Annotated[int, Field(ge=0, le=4096, strict=True)]
OWN_QOS = "leerlab-"
"""How the names of the QOS begin that Leerlab makes for profiles."""
# Words with a meaning of their own in Slurm; `normal` is the QOS that each Slurm begins with.
_MEANING = ("root", "normal", "all", "none", "null", "default", "unlimited")
SlurmName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$", examples=["onderwijs"])]
QosName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,30}$", examples=["les"])]
ReservationName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9._-]{0,60}$", examples=["les-dinsdag"])]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Interval(_Section):
    """How often the one watcher asks Slurm about all jobs, and how long it waits for an answer."""

    starting: float = Field(
        0.5,
        ge=0.2,
        le=60,
        allow_inf_nan=False,
        description="Seconds between two queries just after a job was submitted or began, and while one is ended.",
    )
    idle: float = Field(
        5.0,
        ge=0.5,
        le=300,
        allow_inf_nan=False,
        description="Seconds between two queries otherwise, however many jobs run or wait.",
    )
    failing: float = Field(
        30.0,
        ge=1,
        le=600,
        allow_inf_nan=False,
        description="Most seconds between two queries while Slurm does not answer; reached by doubling.",
    )
    answer: float = Field(
        10.0,
        ge=1,
        le=120,
        allow_inf_nan=False,
        description="Seconds that one command of Slurm may take; after that its outcome counts as unknown.",
    )

    @model_validator(mode="after")
    def _starting_is_fastest(self) -> Self:
        if self.starting > self.idle:
            raise ValueError(f"starting ({self.starting}) is slower than idle ({self.idle}) (allowed: at most idle)")
        return self


class Node(_Section):
    """One node of the embedded Slurm: a part of this machine that Slurm gives out."""

    name: NodeName = Field(description="The node's name in Slurm.")
    cpus: Cpus = Field(description="Processor cores that Slurm gives out; may be more than this machine has.")
    memory: Memory = Field(description="Memory that Slurm gives out.")
    gpus: Gpus = Field(0, description="GPUs of this machine that belong to this node.")
    gpu_type: GpuType | None = Field(
        None,
        description="What its GPUs are called in Slurm's gres, for profiles that ask for them by type: a make such as "
        "h200, or a MIG slice such as 1g.10gb.",
    )
    shards: Shards = Field(
        0, description="Parts into which all its GPUs together are divided, for jobs that share one."
    )

    @model_validator(mode="after")
    def _shards_divide_gpus(self) -> Self:
        if self.shards and not self.gpus:
            raise ValueError(f"node {self.name} has shards but no gpus (allowed: shards only with gpus)")
        if self.gpu_type is not None and not self.gpus:
            raise ValueError(f"node {self.name} has a gpu_type but no gpus (allowed: gpu_type only with gpus)")
        if self.shards and is_slice(self.gpu_type):
            raise ValueError(f"node {self.name} has shards of MIG slices (allowed: shards of whole GPUs)")
        if self.gpus and self.shards % self.gpus:
            raise ValueError(
                f"node {self.name} has {self.shards} shards on {self.gpus} gpus (allowed: a multiple of {self.gpus})"
            )
        return self


class EmbeddedPartition(_Section):
    """A queue of the embedded Slurm and the nodes behind it."""

    name: PartitionName = Field(description="The partition's name in Slurm; profiles refer to it.")
    nodes: tuple[NodeName, ...] = Field(min_length=1, description="Names of its nodes, from `cluster.nodes`.")
    time: PartitionTime = Field(description="Longest that a job may run; Slurm counts whole minutes, rounded up.")
    default: bool = Field(False, description="Whether jobs that name no partition come here; true for exactly one.")


class ExistingPartition(_Section):
    """A partition of an existing Slurm, with what one of its nodes has: profiles are checked against it."""

    name: PartitionName = Field(description="The partition's name in Slurm; profiles refer to it.")
    time: PartitionTime = Field(description="Longest that a job may run there.")
    cpus: Cpus = Field(description="Most processor cores that one job gets on one node.")
    memory: Memory = Field(description="Most memory that one job gets on one node.")
    gpus: Gpus = Field(0, description="Most GPUs that one job gets on one node.")
    gpu_types: tuple[GpuType, ...] = Field(
        (), description="What its GPUs are called in Slurm's gres, for profiles that ask for them by type."
    )
    shards: Shards = Field(0, description="Most shards that one job gets on one node.")
    default: bool = Field(False, description="Whether jobs that name no partition come here; true for exactly one.")


class Qos(_Section):
    """A QOS of the embedded Slurm that profiles may name: Leerlab makes it and keeps it as it is here."""

    name: QosName = Field(description="Its name in Slurm.")
    priority: Annotated[int, Field(ge=0, le=1_000_000, strict=True)] = Field(
        0, description="Jobs of a QOS with a higher number go before others in the queue; without one all are equal."
    )


def _repeated(names: Iterable[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


class EmbeddedCluster(_Section):
    """A Slurm of this site's own, on this one machine, started by `leerlab up` and run by an ordinary account."""

    kind: Literal["embedded"] = Field(description="`embedded`: Leerlab starts its own Slurm on this machine.")
    nodes: tuple[Node, ...] = Field(min_length=1, max_length=64, description="The nodes that this machine plays.")
    partitions: tuple[EmbeddedPartition, ...] = Field(min_length=1, max_length=64, description="Its partitions.")
    demonstration: bool = Field(
        default=False,
        description="Whether nodes that have more GPUs than this machine may share the ones it has.",
    )
    accounting: bool = Field(
        default=False,
        strict=True,
        description="Whether Slurm records what every job used and enforces GPU budgets; needs MariaDB and slurmdbd.",
    )
    qos: tuple[Qos, ...] = Field((), max_length=64, description="QOS that profiles may name; only with accounting.")
    reservations: tuple[ReservationName, ...] = Field(
        (),
        max_length=64,
        description="Reservations that profiles may name, such as a class hour; an operator makes them with scontrol.",
    )
    interval: Interval = Field(default_factory=Interval, description="How often Slurm is asked.")

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        _check_names(qos=[one.name for one in self.qos], reservation=self.reservations)
        if self.qos and not self.accounting:
            raise ValueError("qos without accounting: Slurm would not know them (allowed: only with accounting: true)")
        slices = [node.name for node in self.nodes if is_slice(node.gpu_type)]
        if slices and not self.demonstration:
            raise ValueError(
                f"node {slices[0]} has MIG slices, and Leerlab's own Slurm gives out whole GPUs "
                "(allowed: kind existing, with a gres.conf that names the slices; or demonstration: true)"
            )
        if repeated := _repeated(node.name for node in self.nodes):
            raise ValueError(f"nodes with the same name: {', '.join(repeated)} (allowed: every name once)")
        if reserved := sorted(node.name for node in self.nodes if node.name in STATE_FOLDERS):
            raise ValueError(
                f"node name that Leerlab keeps for Slurm's own state: {reserved[0]} (allowed: another name)"
            )
        known = {node.name for node in self.nodes}
        for partition in self.partitions:
            if missing := sorted(set(partition.nodes) - known):
                raise ValueError(
                    f"partition {partition.name} names nodes that do not exist: {', '.join(missing)} "
                    f"(allowed: {', '.join(sorted(known))})"
                )
            if repeated := _repeated(partition.nodes):
                raise ValueError(f"partition {partition.name} names twice: {', '.join(repeated)} (allowed: once)")
        _check_partitions(self.partitions)
        return self

    @property
    def publish_on(self) -> str:
        """Where jobs offer what they serve."""
        return LOOPBACK

    @property
    def lengthens_jobs(self) -> bool:
        """Whether Slurm lets the site's account lengthen a job that runs: this Slurm is its own."""
        return True

    def time_limit(self, partition: str) -> timedelta:
        """Longest that a job in this partition may run.

        Raises:
            KeyError: no such partition.
        """
        return _named(self.partitions, partition).time

    @property
    def qos_names(self) -> tuple[str, ...]:
        """The QOS that profiles may name."""
        return tuple(one.name for one in self.qos)

    @property
    def account_names(self) -> None:
        """No accounts that profiles may name: those of this Slurm are all Leerlab's own."""
        return

    def gpu_types_of(self, partition: str) -> tuple[str, ...]:
        """The types of GPUs that jobs in this partition may ask for.

        Raises:
            KeyError: no such partition.
        """
        names = _named(self.partitions, partition).nodes
        types = (node.gpu_type for node in self.nodes if node.name in names)
        return tuple(dict.fromkeys(one for one in types if one is not None))

    def fits(
        self, partition: str, cpus: int, memory: Size, gpus: int = 0, shards: int = 0, *, gpu_type: str | None = None
    ) -> bool:
        """Whether some node of the partition, when empty, can run a job of this size.

        Args:
            partition: its name.
            cpus: processor cores.
            memory: for the whole job.
            gpus: GPUs.
            shards: parts of one GPU: a job's shards come from a single GPU.
            gpu_type: which GPUs; None: any.

        Raises:
            KeyError: no such partition.
        """
        names = _named(self.partitions, partition).nodes
        return any(
            cpus <= node.cpus
            and memory <= node.memory
            and gpus <= node.gpus
            and shards <= (node.shards // node.gpus if node.gpus else 0)
            and gpu_type in (None, node.gpu_type)
            for node in self.nodes
            if node.name in names
        )


class ExistingCluster(_Section):
    """A Slurm that runs already; Leerlab only submits, asks and cancels."""

    kind: Literal["existing"] = Field(description="`existing`: Leerlab uses a Slurm that runs already.")
    slurm_conf: Path = Field(
        description="Absolute path of slurm.conf on the machine of the hub.", examples=["/etc/slurm/slurm.conf"]
    )
    commands: Path = Field(
        Path("/usr/bin"), description="Absolute path of the folder that holds sbatch, squeue, scancel and scontrol."
    )
    partitions: tuple[ExistingPartition, ...] = Field(
        min_length=1, max_length=64, description="Partitions that profiles use."
    )
    network: IPv4Network | IPv6Network | None = Field(
        None,
        description="Network in which the hub's machine reaches the nodes: a notebook server is offered at its node's "
        "address in it, and at no other. Without it the nodes are this very machine.",
        examples=["10.20.0.0/16"],
    )
    accounting: bool = Field(
        default=False,
        strict=True,
        description="Whether this Slurm counts what jobs use and enforces GPU budgets: with slurmdbd, of which the "
        "site's account is an administrator; `leerlab doctor` says what is missing.",
    )
    qos: tuple[QosName, ...] = Field((), max_length=64, description="QOS of this Slurm that profiles may name.")
    accounts: tuple[SlurmName, ...] = Field(
        (), max_length=64, description="Accounts of this Slurm that profiles may name and the site's account may use."
    )
    reservations: tuple[ReservationName, ...] = Field(
        (), max_length=64, description="Reservations of this Slurm that profiles may name, such as a class hour."
    )
    interval: Interval = Field(default_factory=Interval, description="How often Slurm is asked.")

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        for name, path in (("slurm_conf", self.slurm_conf), ("commands", self.commands)):
            if not path.is_absolute():
                raise ValueError(f"{name} {path} is not an absolute path (allowed: such as /etc/slurm/slurm.conf)")
        if self.network is not None and self.network.is_loopback:
            raise ValueError(f"network {self.network} reaches no other machine (allowed: none for this very machine)")
        _check_names(qos=self.qos, account=self.accounts, reservation=self.reservations)
        _check_partitions(self.partitions)
        return self

    @property
    def publish_on(self) -> str:
        """Where jobs offer what they serve: an address, or the network in which their node has one."""
        return LOOPBACK if self.network is None else str(self.network)

    @property
    def lengthens_jobs(self) -> bool:
        """Whether Slurm lets the site's account lengthen a job that runs, as only administrators may."""
        return self.accounting

    def time_limit(self, partition: str) -> timedelta:
        """Longest that a job in this partition may run.

        Raises:
            KeyError: no such partition.
        """
        return _named(self.partitions, partition).time

    @property
    def qos_names(self) -> tuple[str, ...]:
        """The QOS that profiles may name."""
        return self.qos

    @property
    def account_names(self) -> tuple[str, ...]:
        """The accounts that profiles may name."""
        return self.accounts

    def gpu_types_of(self, partition: str) -> tuple[str, ...]:
        """The types of GPUs that jobs in this partition may ask for.

        Raises:
            KeyError: no such partition.
        """
        return _named(self.partitions, partition).gpu_types

    def fits(
        self, partition: str, cpus: int, memory: Size, gpus: int = 0, shards: int = 0, *, gpu_type: str | None = None
    ) -> bool:
        """Whether one job of this size stays within what the partition's nodes have.

        Args:
            partition: its name.
            cpus: processor cores.
            memory: for the whole job.
            gpus: GPUs.
            shards: parts of a GPU.
            gpu_type: which GPUs; None: any.

        Raises:
            KeyError: no such partition.
        """
        one = _named(self.partitions, partition)
        known = gpu_type is None or gpu_type in one.gpu_types
        return cpus <= one.cpus and memory <= one.memory and gpus <= one.gpus and shards <= one.shards and known


def _check_names(**lists: Iterable[str]) -> None:
    """Names that profiles refer to, each kind by itself: once each, and none with a meaning of its own."""
    for what, found in lists.items():
        names = list(found)
        if repeated := _repeated(name.lower() for name in names):
            raise ValueError(f"{what} named twice: {', '.join(repeated)} (allowed: every name once)")
        for name in names:
            if name.lower() in _MEANING or name.startswith(OWN_QOS):
                raise ValueError(f"{what} with a name that is kept: {name} (allowed: another name)")


def _check_partitions(partitions: tuple[EmbeddedPartition, ...] | tuple[ExistingPartition, ...]) -> None:
    if repeated := _repeated(partition.name.lower() for partition in partitions):
        raise ValueError(f"partitions with the same name: {', '.join(repeated)} (allowed: every name once)")
    if reserved := [partition.name for partition in partitions if partition.name.lower() in ("default", "all", "none")]:
        raise ValueError(f"partition name with a meaning of its own in Slurm: {reserved[0]} (allowed: another name)")
    defaults = [partition.name for partition in partitions if partition.default]
    if len(defaults) != 1:
        raise ValueError(
            f"{len(defaults)} partitions are the default{': ' if defaults else ''}{', '.join(defaults)} "
            "(allowed: `default: true` on exactly one)"
        )


_P = TypeVar("_P", EmbeddedPartition, ExistingPartition)


def _named(partitions: tuple[_P, ...], name: str) -> _P:
    for partition in partitions:
        if partition.name == name:
            return partition
    raise KeyError(name)


Cluster = Annotated[EmbeddedCluster | ExistingCluster, Field(discriminator="kind")]
"""The type of the `cluster:` section."""
