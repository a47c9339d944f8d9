"""How many servers of a profile there is room for now: counted so that what is said to be free is free.

Slurm tells how many shards and GPUs of a node are used, not which: each is taken to be where it takes the most.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cluster.jobs import ClusterNode, Job
from spawners.reasons import TURN, code_of
from spawners.settings import Profile


def room_for(profile: Profile, nodes: Sequence[ClusterNode]) -> int | None:
    """How many servers of a profile could start now on these nodes together; None when nothing of it can be told.

    Args:
        profile: what each asks.
        nodes: all nodes.
    """
    # A node that is planned Slurm keeps for a job that waits.
    counts = [
        0 if "PLANNED" in node.state else room_on(profile, node)
        for node in nodes
        if profile.partition in node.partitions
    ]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def waiting_for(partition: str, jobs: Iterable[Job]) -> int:
    """How many jobs wait in a partition whose turn it is before anybody who comes now.

    Args:
        partition: its name.
        jobs: all jobs that have not ended.
    """
    return sum(
        job.state.waiting and code_of(job.reason) in TURN and partition in job.partition.split(",") for job in jobs
    )


def room_on(profile: Profile, node: ClusterNode) -> int | None:
    """How many servers of a profile have room now on one node, whoever it is kept for; None when nothing tells."""
    if not node.usable or profile.partition not in node.partitions:
        return 0
    room = min(
        (node.cpus - node.cpus_used) // profile.cpus,
        (int(node.memory) - node.memory_used) // int(profile.memory),
    )
    if not profile.gpus and not profile.shards:
        return max(0, room)
    if node.shards_used is None:
        return None
    if not node.gpus:
        return 0
    return max(0, min(room, _by_gpus(profile, node, node.shards_used)))


def _by_gpus(profile: Profile, node: ClusterNode, shards_used: int) -> int:
    if profile.gpus:
        free = node.gpus - node.gpus_used - min(shards_used, node.gpus)
        if profile.gpu_type is not None:
            have, used = node.gpus_of.get(profile.gpu_type, (0, 0))
            free = min(free, have - used)
        return free // profile.gpus
    each = node.shards // node.gpus
    free = node.shards - shards_used - node.gpus_used * each
    # The shards of one job are of one GPU: on each that is not used whole, as many are lost as are too few for one.
    spare = (node.gpus - node.gpus_used) * (profile.shards - 1)
    return -(-max(0, free - spare) // profile.shards) if each >= profile.shards else 0
