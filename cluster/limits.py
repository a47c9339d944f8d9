"""The `limits:` section of site.yaml: how much the members of a group may have, each and together; Slurm keeps it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from cluster.gpus import GPU

PEOPLE = "leerlab-people"
"""The account above those of all people."""
LIMIT = "leerlab-limit-"
"""How the accounts begin that hold what a group has together."""
PERSON = "person-"
"""How the accounts of persons begin."""
_HOUR = 60


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Share(_Section):
    """So much of the cluster; what is left out is not limited."""

    servers: Annotated[int, Field(ge=1, le=100_000, strict=True)] | None = Field(
        None, description="Most notebook servers that run at once; more wait in Slurm until one ends."
    )
    gpus: Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)] | None = Field(
        None, description="Most GPUs in use at once: shards and MIG slices count as their part, so 0.25 is possible."
    )
    gpu_hours: Annotated[int, Field(ge=0, le=1_000_000, strict=True)] | None = Field(
        None,
        description="Hours of one GPU in all, which are used up once; a start whose whole time does not fit waits.",
    )


class GroupLimits(_Section):
    """What the members of some groups may have. Of several that fit a person, the first in the list holds."""

    id: str = Field(pattern=r"^[a-z][a-z0-9-]{0,20}$", description="Names its account in Slurm; never shown to people.")
    groups: tuple[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")], ...] = Field(
        (), description="Groups whose members it is for; empty for everybody."
    )
    each: Share = Field(Share(), description="What one person may have.")
    together: Share = Field(Share(), description="What all of them together may have.")
    named_servers: Annotated[int, Field(ge=0, le=20, strict=True)] = Field(
        0, description="How many servers with a name a person may have beside the first."
    )


@dataclass(frozen=True)
class Grant:
    """What an account in Slurm may have, in Slurm's own units; None: not limited.

    Args:
        jobs: that run at once (`GrpJobs`).
        billing: thousandths of a GPU in use at once (`GrpTRES`).
        minutes: thousandths of a GPU, times minutes, in all (`GrpTRESMins`).
    """

    jobs: int | None = None
    billing: int | None = None
    minutes: int | None = None

    @classmethod
    def of(cls, share: Share) -> Grant:
        """What a share is in Slurm."""
        return cls(
            share.servers,
            None if share.gpus is None else max(1, round(share.gpus * GPU)),
            None if share.gpu_hours is None else share.gpu_hours * _HOUR * GPU,
        )

    @property
    def limited(self) -> bool:
        """Whether anything is limited."""
        return self != Grant()

    def words(self) -> tuple[str, str, str]:
        """As sacctmgr sets it: a limit of -1 takes one away."""
        jobs, billing, minutes = (-1 if one is None else one for one in (self.jobs, self.billing, self.minutes))
        return f"GrpJobs={jobs}", f"GrpTRES=billing={billing}", f"GrpTRESMins=billing={minutes}"


def limits_of(limits: Sequence[GroupLimits], groups: Collection[str]) -> GroupLimits | None:
    """The limits that hold for a member of these groups; None: nothing is limited."""
    return next((one for one in limits if not one.groups or set(one.groups) & set(groups)), None)


def kept_by_slurm(limits: Sequence[GroupLimits]) -> bool:
    """Whether any of it is for Slurm to keep, so that each person needs an account of their own."""
    return any(Grant.of(share).limited for one in limits for share in (one.each, one.together))


def person_account(person: str) -> str:
    """The account that a person's own servers are charged to."""
    return PERSON + person


def limit_account(limits: GroupLimits | None) -> str:
    """The account above those of the persons for whom these limits hold."""
    return PEOPLE if limits is None else LIMIT + limits.id
