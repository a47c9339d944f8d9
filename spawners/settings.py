"""The section `profiles:` of site.yaml: what one notebook server may use, and who may choose it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Protocol

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, Field, model_validator

from base.quantities import Duration, Size
from cluster.gpus import GpuType
from cluster.request import Resources
from cluster.settings import OWN_QOS, QosName, ReservationName, SlurmName
from images.manifest import LABEL

_MEBIBYTE = 2**20


class Title(BaseModel):
    """A short name in both languages."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    nl: str = Field(min_length=1, max_length=80, description="In Dutch.")
    en: str = Field(min_length=1, max_length=80, description="In English.")


class Extension(BaseModel):
    """How far a person may lengthen a running server by themselves."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: Annotated[Duration, Ge(Duration(minutes=1)), Le(Duration(days=7))] = Field(
        description="Time that one click adds; Slurm counts whole minutes, rounded up."
    )
    most: int = Field(default=1, ge=1, le=24, description="How often, for one server.")


class SharedData(BaseModel):
    """A folder that everybody with a profile may read, such as a course's data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_-]{0,40}$", description="What it is called inside: people find it as /srv/data/<name>."
    )
    folder: str = Field(
        pattern=r"^/[A-Za-z0-9._/-]{1,300}$",
        description="Absolute path of the folder, the same on every machine of the site; everybody can read it there.",
    )

    @model_validator(mode="after")
    def _straight(self) -> SharedData:
        if ".." in self.folder.split("/"):
            raise ValueError(f"the folder {self.folder} leads upwards (allowed: a path without ..)")
        return self


class Profile(BaseModel):
    """What one notebook server gets: one choice on the start page."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[a-z][a-z0-9-]{0,30}$", description="Name in requests and settings; never shown.")
    title: Title = Field(description="What people read on the start page.")
    partition: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$", description="Slurm partition of the job.")
    cpus: int = Field(ge=1, le=1024, description="Processor cores.")
    memory: Annotated[Size, Ge(128 * _MEBIBYTE), Le(2**44)] = Field(
        description="Memory of everything in the server together; Slurm ends a server that goes above it."
    )
    time: Annotated[Duration, Ge(Duration(minutes=1)), Le(Duration(days=31))] = Field(
        description="Longest time that the server runs; Slurm ends it then."
    )
    gpus: int = Field(default=0, ge=0, le=64, description="GPUs, or MIG slices; not together with `shards`.")
    gpu_type: GpuType | None = Field(
        None,
        description="Which GPUs, as Slurm's gres calls them: a make, or a MIG slice such as 1g.10gb (a part of a GPU "
        "with memory of its own). Without it any will do. Only with `gpus`.",
    )
    shards: int = Field(default=0, ge=0, le=4096, description="Parts of a shared GPU; not together with `gpus`.")
    extend: Extension | None = Field(
        default=None,
        description="Lets people lengthen a running server; all of it together still within what the partition allows.",
    )
    qos: QosName | None = Field(
        None, description="QOS of the job, one of `cluster.qos`; not together with `per_person`."
    )
    account: SlurmName | None = Field(
        None,
        description="Account that the job is charged to, one of `cluster.accounts`; without it, Leerlab's own.",
    )
    reservation: ReservationName | None = Field(
        None,
        description="Reservation that the job runs in, one of `cluster.reservations`, such as a class hour: it waits "
        "until that begins.",
    )
    image: str | None = Field(
        None, pattern=LABEL, max_length=72,
        description="Image that its servers run from: `images.notebook` or one of `images.others`; without it the "
        "first.",
    )  # fmt: skip
    home_size: Annotated[Size, Ge(64 * _MEBIBYTE), Le(2**50)] | None = Field(
        None,
        description="What the person's own files may take together. The lab says so when there is little room left, "
        "and a server whose home takes a tenth more is stopped; without it, nobody looks.",
    )
    data: tuple[SharedData, ...] = Field(
        (), max_length=32, description="Folders that its servers see, read-only, below /srv/data."
    )
    per_person: Annotated[int, Ge(1), Le(100)] | None = Field(
        None,
        description="Most of its servers that one person has running at once; more wait in Slurm. Needs accounting.",
    )
    groups: tuple[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")], ...] = Field(
        default=(), description="Groups whose members may choose it; empty for everybody who may log in."
    )

    @model_validator(mode="after")
    def _one_kind_of_gpu(self) -> Profile:
        if self.gpus and self.shards:
            raise ValueError("a profile has either gpus (whole ones) or shards (parts of a shared one), not both")
        if self.gpu_type is not None and not self.gpus:
            raise ValueError("gpu_type says which gpus, and there are none (allowed: gpu_type only with gpus)")
        return self

    @model_validator(mode="after")
    def _data_once(self) -> Profile:
        names = [one.name for one in self.data]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"data named twice: {', '.join(repeated)} (allowed: every name once)")
        return self

    @model_validator(mode="after")
    def _one_qos(self) -> Profile:
        if self.per_person is not None and self.qos is not None:
            raise ValueError(
                "per_person is kept by a QOS of Leerlab's own, and a job has one QOS (allowed: qos or per_person)"
            )
        return self

    @property
    def resources(self) -> Resources:
        """What it asks of Slurm, but for the account."""
        return Resources(
            partition=self.partition, cpus=self.cpus, memory=self.memory, time=self.time, gpus=self.gpus,
            gpu_type=self.gpu_type, shards=self.shards, reservation=self.reservation,
            qos=self.qos if self.per_person is None else OWN_QOS + self.id,
        )  # fmt: skip


class LessonSettings(BaseModel):
    """Servers that a teacher starts ahead of a lesson."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    unused: Annotated[Duration, Ge(Duration(minutes=1)), Le(Duration(hours=8))] = Field(
        Duration(minutes=30), description="How long such a server waits for its owner once it is ready; then it ends."
    )


class BoundedCluster(Protocol):
    """What `problems_of` asks of the `cluster:` section; both kinds of `cluster.settings` answer it."""

    @property
    def qos_names(self) -> tuple[str, ...]:
        """The QOS that profiles may name."""

    @property
    def account_names(self) -> tuple[str, ...] | None:
        """The accounts that profiles may name; None where all accounts are Leerlab's own."""

    @property
    def reservations(self) -> tuple[str, ...]:
        """The reservations that profiles may name."""

    @property
    def accounting(self) -> bool:
        """Whether Slurm counts and limits what jobs use."""

    def time_limit(self, partition: str) -> timedelta:
        """Longest that a job may run there; KeyError for an unknown partition."""

    @property
    def lengthens_jobs(self) -> bool:
        """Whether Slurm lets the site's account lengthen a job that runs."""

    def gpu_types_of(self, partition: str) -> tuple[str, ...]:
        """Types of GPUs there; KeyError for an unknown partition."""

    def fits(
        self, partition: str, cpus: int, memory: Size, gpus: int = 0, shards: int = 0, *, gpu_type: str | None = None
    ) -> bool:
        """Whether one of its nodes, when empty, can run a job of this size."""


@dataclass(frozen=True)
class Unfit:
    """Why a profile could never run on its cluster.

    Args:
        key: of the profile, that is wrong; empty: several together.
        message: what is wrong, one sentence.
        allowed: what would be right; empty where the message says so.
    """

    key: str
    message: str
    allowed: str = ""

    def __str__(self) -> str:
        return self.message + (f" (allowed: {self.allowed})" if self.allowed else "")


def check_profiles(profiles: Sequence[Profile], cluster: BoundedCluster) -> list[str]:
    """What is wrong with the profiles, each problem one sentence; nothing when all is well.

    Args:
        profiles: the section `profiles:`.
        cluster: the section `cluster:`.
    """
    problems: list[str] = []
    seen: set[str] = set()
    for profile in profiles:
        if profile.id in seen:
            problems.append(f"profile {profile.id}: the id is used twice (every profile needs its own)")
        seen.add(profile.id)
        problems += [f"profile {profile.id}: {problem}" for problem in problems_of(profile, cluster)]
    return problems


def problems_of(profile: Profile, cluster: BoundedCluster) -> Iterator[Unfit]:
    """Why this profile could never run on this cluster."""
    try:
        longest = cluster.time_limit(profile.partition)
    except KeyError:
        yield Unfit(
            "partition", f"partition {profile.partition!r} does not exist", "a partition of the section cluster"
        )
        return
    if profile.time > longest:
        yield Unfit(
            "time",
            f"time {profile.time} is longer than partition {profile.partition} allows "
            f"(at most {Duration(seconds=longest.total_seconds())})",
        )
    if profile.extend is not None:
        whole = profile.time + profile.extend.by * profile.extend.most
        if profile.time <= longest < whole:
            yield Unfit(
                "extend",
                f"time {profile.time} and extend together are {Duration(seconds=whole.total_seconds())}, longer than "
                f"partition {profile.partition} allows (at most {Duration(seconds=longest.total_seconds())})",
            )
        if not cluster.lengthens_jobs:
            yield Unfit(
                "extend",
                "extend needs a Slurm of which the site's account is an administrator",
                "leave it out, or cluster.accounting: true",
            )
    types = cluster.gpu_types_of(profile.partition)
    if profile.gpu_type is not None and profile.gpu_type not in types:
        where = f"partition {profile.partition} has no GPUs of type {profile.gpu_type}"
        yield Unfit("gpu_type", where, ", ".join(types) or "no gpu_type: that partition names no types")
    elif not cluster.fits(
        profile.partition, profile.cpus, profile.memory, profile.gpus, profile.shards, gpu_type=profile.gpu_type
    ):
        yield Unfit(
            "",
            f"asks more than any node of partition {profile.partition} has: cpus {profile.cpus}, "
            f"memory {profile.memory}, gpus {profile.gpus}, shards {profile.shards}",
        )
    yield from _names_unknown(profile, cluster)


def _names_unknown(profile: Profile, cluster: BoundedCluster) -> Iterator[Unfit]:
    """What the profile names that the cluster does not have."""
    if profile.qos is not None and profile.qos not in cluster.qos_names:
        yield Unfit("qos", f"qos {profile.qos} is not in cluster.qos", ", ".join(cluster.qos_names) or "none is there")
    if profile.reservation is not None and profile.reservation not in cluster.reservations:
        message = f"reservation {profile.reservation} is not in cluster.reservations"
        yield Unfit("reservation", message, ", ".join(cluster.reservations) or "none is there")
    accounts = cluster.account_names
    if profile.account is not None and accounts is None:
        message = "account is of a Slurm that exists already; the embedded one has Leerlab's own accounts alone"
        yield Unfit("account", message, "no account")
    elif profile.account is not None and profile.account not in (accounts or ()):
        message = f"account {profile.account} is not in cluster.accounts"
        yield Unfit("account", message, ", ".join(accounts or ()) or "none is there")
    if profile.per_person is not None and not cluster.accounting:
        yield Unfit("per_person", "per_person is kept by Slurm's accounting", "only with `cluster.accounting: true`")
    if profile.per_person is not None and profile.account is not None:
        message = f"account {profile.account} is everybody's together, so Slurm cannot count for each person"
        yield Unfit("per_person", message, "per_person or account")
