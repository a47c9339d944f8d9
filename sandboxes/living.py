"""In which sandboxes something runs still, as Slurm says.

The hub counts a server as stopped once its end was asked for. While Slurm is away, its job goes on all the same, and
would write into what is being packed or erased.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from cluster.commands import Slurm
from spawners.starts import of_comment
from spawners.submission import OWNER

_ACCOUNT = re.compile(r"box-([a-z2-7]{8})-.+")


async def living(slurm: Slurm, jobs: Path) -> frozenset[str]:
    """The ids of sandboxes with a job that has not ended.

    Args:
        slurm: the site's.
        jobs: the folder of all jobs' folders, in which each says whose it is.

    Raises:
        SlurmUnavailable: Slurm does not say; whatever it was, may run still.
    """
    queue = await slurm.queue()
    starts = [start for job in queue.jobs if (start := of_comment(job.comment)) is not None]
    return await asyncio.to_thread(_sandboxes, [jobs / start / OWNER for _, start in starts])


def _sandboxes(owners: list[Path]) -> frozenset[str]:
    found = set()
    for owner in owners:
        try:
            account = _ACCOUNT.fullmatch(owner.read_text())
        except FileNotFoundError:
            continue  # another hub's job on the same cluster, or one that Slurm is just done with
        if account is not None:
            found.add(account[1])
    return frozenset(found)
