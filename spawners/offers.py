"""Choices that could start now, for a person whose own choice has to wait: from one look at the nodes, shared by all.

An offer is careful, for who takes it gives up a place: it is made only where a node that nobody is promised has enough
free, and where it is nobody else's turn in the same partition. What limits of accounts say of it, Slurm alone knows.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

from cluster.errors import SlurmError
from cluster.jobs import ClusterNode, Job
from spawners.reasons import BUDGET, TURN, UNAVAILABLE, code_of
from spawners.room import room_on
from spawners.settings import Profile

SECONDS = 15.0
"""How old a look at the nodes may be for a page; taking an offer looks anew."""
FRESH_SECONDS = 1.0
MOST = 3
"""Offers at once: a page that makes people choose again is of no help."""


class Nodes(Protocol):
    """What is asked: `cluster.commands.Slurm`."""

    async def nodes(self) -> tuple[ClusterNode, ...]: ...


class Looks:
    """Looks at the nodes, at most one in `SECONDS` however many people wait.

    Args:
        slurm: the cluster.
        clock: seconds that only go up.
    """

    def __init__(self, slurm: Nodes, clock: Callable[[], float] = time.monotonic) -> None:
        self._slurm, self._clock = slurm, clock
        self._seen: tuple[ClusterNode, ...] = ()
        self._at = float("-inf")
        self._one_at_a_time = asyncio.Lock()

    async def nodes(self, oldest: float = SECONDS) -> tuple[ClusterNode, ...]:
        """The nodes; none when Slurm does not answer.

        Args:
            oldest: most seconds since the look; less than `FRESH_SECONDS` is no newer.
        """
        async with self._one_at_a_time:
            if self._clock() - self._at >= max(oldest, FRESH_SECONDS):
                self._at = self._clock()
                try:
                    self._seen = await self._slurm.nodes()
                except SlurmError:
                    self._seen = ()
            return self._seen


def startable(
    profiles: Sequence[Profile], own: Job, jobs: Iterable[Job], nodes: Sequence[ClusterNode]
) -> list[Profile]:
    """Those of the profiles that could start now in place of a job that waits, at most `MOST`.

    Args:
        profiles: the person's other choices, in the site's order.
        own: the job that waits.
        jobs: all jobs that have not ended.
        nodes: all nodes.
    """
    code = code_of(own.reason)
    if not own.state.waiting or code not in UNAVAILABLE | {BUDGET}:
        return []
    wanted = {
        partition
        for job in jobs
        if job.id != own.id and job.state.waiting and code_of(job.reason) in TURN
        for partition in job.partition.split(",")
    }
    found = [
        profile
        for profile in profiles
        if profile.partition not in wanted
        and not (code == BUDGET and (profile.gpus or profile.shards))
        and any(room_on(profile, node) and not _promised(node, wanted) for node in nodes)
    ]
    return found[:MOST]


def _promised(node: ClusterNode, wanted: Collection[str]) -> bool:
    """Whether Slurm keeps a node for somebody else's job; it keeps it for one's own until that is withdrawn."""
    return "PLANNED" in node.state and any(partition in wanted for partition in node.partitions)
