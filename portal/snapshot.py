"""What runs at this moment: the hub's servers and Slurm's queue, asked at most once in five seconds for all pages."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

from cluster.errors import SlurmError
from cluster.jobs import Job, Queue
from portal.errors import HubSilent
from portal.hub import HubUser

INTERVAL_SECONDS = 5.0
# A page that is asked for shows nothing older; many at once share one look.
FRESH_SECONDS = 1.0
# A page does not wait longer than this for the newest; it shows what was seen last, and says so.
PATIENCE_SECONDS = 3.0
# Older than this is not shown as the truth.
STALE_SECONDS = 20.0

log = logging.getLogger("portal")


class HubSource(Protocol):
    """What is asked of the hub: `portal.hub.Hub`."""

    async def active(self) -> dict[str, HubUser]: ...


class SlurmSource(Protocol):
    """What is asked of Slurm: `cluster.commands.Slurm`."""

    async def queue(self) -> Queue: ...


@dataclass(frozen=True)
class Snapshot:
    """One look at what runs.

    Args:
        users: users with a server that is not stopped, by name.
        hub_seen: whether the hub answered lately; when not, nothing may be concluded from `users`.
        jobs: Slurm's jobs by number.
        slurm_seen: whether Slurm answered lately.
        number: counts the looks.
    """

    users: Mapping[str, HubUser] = field(default_factory=dict)
    hub_seen: bool = False
    jobs: Mapping[int, Job] = field(default_factory=dict)
    slurm_seen: bool = False
    number: int = 0


class Looks:
    """The one poller of this process. It asks while somebody looks, and once for a page that nobody keeps open.

    Args:
        hub: the hub.
        slurm: Slurm.
        interval: seconds between two looks while pages are open.
        patience: longest that a page waits for a look, in seconds.
        clock: seconds that only go up.
    """

    def __init__(
        self,
        hub: HubSource,
        slurm: SlurmSource,
        interval: float = INTERVAL_SECONDS,
        patience: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hub, self._slurm = hub, slurm
        self._interval, self._patience, self._clock = interval, patience, clock
        self._newest = Snapshot()
        self._hub_at = self._slurm_at = self._asked = float("-inf")
        self._changed = asyncio.Condition()
        self._watching = 0
        self._loop: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None

    @property
    def watching(self) -> int:
        """How many pages are open."""
        return self._watching

    async def now(self, *, fresh: bool = False) -> Snapshot:
        """What runs, as of at most a second ago, or what was seen last when there is no answer in time.

        Args:
            fresh: ask now, however short ago the last look was: something has just been changed.
        """
        under_way = self._looking is not None and not self._looking.done()
        if fresh or under_way or self._clock() - self._asked >= FRESH_SECONDS:
            await asyncio.wait([self._look_now()], timeout=self._patience)
        return self._current()

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[Callable[[int], AsyncIterator[Snapshot]]]:
        """Keep looking while inside; gives a function that waits for looks after a number."""
        self._watching += 1
        if self._loop is None or self._loop.done():
            self._loop = asyncio.create_task(self._keep_looking())
        try:
            yield self._after
        finally:
            self._watching -= 1
            if not self._watching and self._loop is not None:
                self._loop.cancel()

    async def close(self) -> None:
        """End what is under way."""
        tasks = [task for task in (self._loop, self._looking) if task is not None and not task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _after(self, number: int) -> AsyncIterator[Snapshot]:
        while True:
            async with self._changed:
                while self._newest.number <= number:
                    await self._changed.wait()
            number = self._newest.number
            yield self._current()

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(max(0.0, self._asked + self._interval - self._clock()))
            await asyncio.wait([self._look_now()])

    def _look_now(self) -> asyncio.Task[None]:
        if self._looking is None or self._looking.done():
            self._asked = self._clock()
            self._looking = asyncio.create_task(self._look())
        return self._looking

    async def _look(self) -> None:
        await asyncio.gather(self._look_at_hub(), self._look_at_slurm())
        self._newest = replace(self._newest, number=self._newest.number + 1)
        async with self._changed:
            self._changed.notify_all()

    async def _look_at_hub(self) -> None:
        try:
            users = await self._hub.active()
        except HubSilent as error:
            log.warning("%s", error)
            return
        self._newest, self._hub_at = replace(self._newest, users=users), self._clock()

    async def _look_at_slurm(self) -> None:
        try:
            queue = await self._slurm.queue()
        except SlurmError as error:
            log.warning("%s", error)
            return
        self._newest = replace(self._newest, jobs={job.id: job for job in queue.jobs})
        self._slurm_at = self._clock()

    def _current(self) -> Snapshot:
        now = self._clock()
        return replace(
            self._newest,
            hub_seen=self._hub_at >= self._asked or now - self._hub_at < min(STALE_SECONDS, 2 * self._interval),
            slurm_seen=self._slurm_at >= self._asked or now - self._slurm_at < STALE_SECONDS,
        )
