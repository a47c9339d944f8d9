"""The section `profiles:` of site.yaml: what one notebook server may use, and who may choose it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Protocol

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, Field, model_validator

from base.quantities import Duration, Size

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
    gpus: int = Field(default=0, ge=0, le=64, description="Whole GPUs; not together with `shards`.")
    shards: int = Field(default=0, ge=0, le=4096, description="Parts of a shared GPU; not together with `gpus`.")
    extend: Extension | None = Field(
        default=None,
        description="Lets people lengthen a running server; all of it together still within what the partition allows.",
    )
    groups: tuple[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")], ...] = Field(
        default=(), description="Groups whose members may choose it; empty for everybody who may log in."
    )

    @model_validator(mode="after")
    def _one_kind_of_gpu(self) -> Profile:
        if self.gpus and self.shards:
            raise ValueError("a profile has either gpus (whole ones) or shards (parts of a shared one), not both")
        return self


class BoundedCluster(Protocol):
    """What `check_profiles` asks of the `cluster:` section; both kinds of `cluster.settings` answer it."""

    def time_limit(self, partition: str) -> timedelta:
        """Longest that a job may run there; KeyError for an unknown partition."""

    @property
    def lengthens_jobs(self) -> bool:
        """Whether Slurm lets the site's account lengthen a job that runs."""

    def fits(self, partition: str, cpus: int, memory: Size, gpus: int = 0, shards: int = 0) -> bool:
        """Whether one of its nodes, when empty, can run a job of this size."""


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
        problems += [f"profile {profile.id}: {problem}" for problem in _against(profile, cluster)]
    return problems


def _against(profile: Profile, cluster: BoundedCluster) -> list[str]:
    """Why this profile could never run on this cluster."""
    try:
        longest = cluster.time_limit(profile.partition)
    except KeyError:
        return [f"partition {profile.partition!r} does not exist (allowed: a partition of the section cluster)"]
    problems: list[str] = []
    if profile.time > longest:
        problems.append(
            f"time {profile.time} is longer than partition {profile.partition} allows "
            f"(at most {Duration(seconds=longest.total_seconds())})"
        )
    if profile.extend is not None:
        whole = profile.time + profile.extend.by * profile.extend.most
        if profile.time <= longest < whole:
            problems.append(
                f"time {profile.time} and extend together are {Duration(seconds=whole.total_seconds())}, longer than "
                f"partition {profile.partition} allows (at most {Duration(seconds=longest.total_seconds())})"
            )
        if not cluster.lengthens_jobs:
            problems.append(
                "extend needs a Slurm of which the site's account is an administrator "
                "(allowed: leave it out, or cluster.accounting: true)"
            )
    if not cluster.fits(profile.partition, profile.cpus, profile.memory, profile.gpus, profile.shards):
        problems.append(
            f"asks more than any node of partition {profile.partition} has: cpus {profile.cpus}, "
            f"memory {profile.memory}, gpus {profile.gpus}, shards {profile.shards}"
        )
    return problems
