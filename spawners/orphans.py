"""Jobs that must not live on: those of this hub whose start is known to have ended, and no others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any

from jupyterhub import orm

from cluster.errors import SlurmRefused, SlurmUnavailable
from cluster.jobs import Job
from cluster.watcher import Watcher
from spawners.starts import ended_in, of_comment, uid_of

LOOK_SECONDS = 2.0
"""Between two looks at the watcher's memory, which cost Slurm nothing."""
Cancel = Callable[[Iterable[tuple[int, int | None]]], Awaitable[None]]
log = logging.getLogger(__name__)


def orphans(jobs: Iterable[Job], hub: str, ended: Collection[str]) -> list[tuple[int, int | None]]:
    """The ids of jobs to cancel, and the number of the unix account of each; None: the site's own.

    A start that this hub does not know is left alone: its database may be empty, restored, or another hub's.

    Args:
        jobs: what Slurm has.
        hub: this hub's id.
        ended: ids of starts that are known to have ended.
    """
    return [
        (job.id, uid_of(job.comment))
        for job in jobs
        if not job.state.ended and (name := of_comment(job.comment)) is not None and name[0] == hub and name[1] in ended
    ]


def ended_starts(session: Any) -> set[str]:
    """The ids of all starts that the hub's database says have ended.

    Args:
        session: the hub's database session.
    """
    return {each for spawner in session.query(orm.Spawner) for each in ended_in(spawner.state)}


class Sweep:
    """Cancels orphans, at the hub's start and whenever one turns up later, such as a submission that took too long.

    Args:
        cancel: `Facility.cancel`.
        watcher: tells when it knows something new.
        hub: this hub's id.
    """

    def __init__(self, cancel: Cancel, watcher: Watcher, hub: str) -> None:
        self.ended: set[str] = set()
        self._cancel = cancel
        self._watcher = watcher
        self._hub = hub

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> list[int]:
        """Cancel the orphans in the newest snapshot; returns their ids."""
        found = orphans(queue.jobs, self._hub, self.ended) if (queue := self._watcher.queue) else []
        if found:
            log.warning("Cancelling jobs %s: their starts have ended", [job for job, _ in found])
            try:
                await self._cancel(found)
            except (SlurmUnavailable, SlurmRefused) as error:
                log.warning("Not cancelled now, tried again at the next look: %s", error)
        return [job for job, _ in found]
