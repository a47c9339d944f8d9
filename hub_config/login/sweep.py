"""The periodic sweep: every person's provider is asked whether the claims are still there."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any

from jupyterhub import orm

from hub_config.login.names import is_internal
from hub_config.login.standing import Standings

AT_ONCE = 8
"""People asked about at the same time."""
PERSON_SECONDS = 60.0

log = logging.getLogger("leerlab.login")


class Sweep:
    """Checks everybody at an interval, for as long as the hub runs.

    Args:
        standings: what to check with.
        interval: from the end of one sweep to the next.
    """

    def __init__(self, standings: Standings, interval: timedelta) -> None:
        self._standings = standings
        self._interval = interval.total_seconds()
        self._task: asyncio.Task[None] | None = None

    def begin(self, hub: Any) -> None:
        """Start, with a first sweep at once: claims may have gone while the hub was down.

        Args:
            hub: JupyterHub's application.
        """
        self._standings.hub = hub
        self._task = asyncio.create_task(self._run(hub))

    async def close(self) -> None:
        """Stop, and wait until that is done."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._standings.close()

    async def _run(self, hub: Any) -> None:
        while True:
            await self.once(hub)
            await asyncio.sleep(self._interval)

    async def once(self, hub: Any) -> None:
        """Check everybody who has, or may still have, rights that came from a provider.

        Args:
            hub: JupyterHub's application.
        """
        narrow = asyncio.Semaphore(AT_ONCE)

        async def check(user: Any) -> None:
            async with narrow:
                await asyncio.wait_for(self._standings.check(user), timeout=PERSON_SECONDS)

        people = [hub.users[row] for row in hub.db.query(orm.User) if not is_internal(row.name) and _has_something(row)]
        results = await asyncio.gather(*(check(user) for user in people), return_exceptions=True)
        for user, result in zip(people, results, strict=True):
            if isinstance(result, Exception):
                # One person's fault must not keep the others from being checked; this one comes again next time.
                log.error("The check of %s failed", user.name, exc_info=result)
        await self._standings.settle()


def _has_something(row: orm.User) -> bool:
    """Whether a person has, or may still have, rights that came from a provider, or a server that these began."""
    runs = any(spawner.server is not None for spawner in row.orm_spawners.values())
    return row.encrypted_auth_state is not None or bool(row.groups) or bool(row.api_tokens) or runs
