"""Looks jobs up by their numbers at once, many askers in one query."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Protocol

from cluster.errors import SlurmError
from cluster.jobs import Job


class Source(Protocol):
    """What is asked: `cluster.commands.Slurm`."""

    async def jobs(self, job_ids: Collection[int]) -> dict[int, Job]: ...


class Lookups:
    """One query at a time: who asks while one goes on shares the next with everybody else who does.

    So a whole class whose servers report at the same moment costs Slurm as many queries as fit one after another into
    that moment, and never two at once.

    Args:
        slurm: the cluster's Slurm.
    """

    def __init__(self, slurm: Source) -> None:
        self._slurm = slurm
        self._turn = asyncio.Lock()
        self._waiting: list[tuple[int, asyncio.Future[Job | None]]] = []

    async def job(self, job_id: int) -> Job | None:
        """The job as Slurm tells it in a query that begins after this call; None when Slurm knows none of this number.

        Raises:
            SlurmUnavailable: no answer.
        """
        told: asyncio.Future[Job | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((job_id, told))
        try:
            async with self._turn:
                if not told.done():
                    await self._ask()
            return told.result()
        finally:
            told.cancel()

    async def _ask(self) -> None:
        """One query for all who have asked since the last one began."""
        asked, self._waiting = [(job_id, told) for job_id, told in self._waiting if not told.done()], []
        try:
            found = await self._slurm.jobs({job_id for job_id, _ in asked})
        except asyncio.CancelledError:
            # Only the one who happened to ask for all has gone: somebody else asks.
            self._waiting = [*asked, *self._waiting]
            raise
        except SlurmError as error:
            for _, told in asked:
                if not told.done():
                    told.set_exception(error)
            return
        for job_id, told in asked:
            if not told.done():
                told.set_result(found.get(job_id))
