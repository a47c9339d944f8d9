"""Measures running sandboxes' disk space, and stops the servers of one that takes far more than it may.

It looks every few seconds and is no quota of the kernel: a sandbox can be above its size for as long as that. A real
site gives the folders a quota of the file system as well. Who comes to clean up is let in (`base.disk_use.Allowance`).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from tornado.web import HTTPError

from base.disk_use import Allowance, disk_use
from base.paths import State
from hub_config.sandboxes import Members
from sandboxes.folders import Folders
from spawners.stopping import stop_without_request

LOOK_SECONDS = 10.0
STOP_SECONDS = 120.0

log = logging.getLogger("leerlab.sandboxes")


class Quota:
    """Keeps sandboxes to their size.

    Args:
        state: the site's state folder.
        size: bytes that one sandbox may take.
        members: whose servers belong to which sandbox.
    """

    def __init__(self, state: State, size: int, members: Members) -> None:
        self._state = state
        self._size = size
        self._members = members
        self._allowances: dict[str, Allowance] = {}
        self._taken: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Quota:
        """traitlets copies every configured value; there is one."""
        return self

    def begin(self, hub: Any) -> None:
        """Look from now on.

        Args:
            hub: JupyterHub's application.
        """
        self._task = asyncio.create_task(self._run(hub))

    async def close(self) -> None:
        """Stop, and wait until that is done."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, hub: Any) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look(hub)
            except Exception:
                log.exception("Disk space could not be measured; the next look tries again")

    async def look(self, hub: Any) -> None:
        """Measure the sandboxes in which something runs, and act on what was found."""
        running: dict[str, list[Any]] = {}
        for account, membership in self._members.all().items():
            if account in hub.users and hub.users[account].spawners[""].active:
                running.setdefault(membership.sandbox, []).append(hub.users[account])
        # Whoever comes back later begins with what was there when they left.
        self._allowances = {
            one: self._allowances.get(one) or Allowance(self._size, self._taken.get(one, 0)) for one in running
        }
        for sandbox, users in running.items():
            used = await asyncio.to_thread(disk_use, Folders(self._state, sandbox).root)
            self._taken[sandbox] = used.bytes
            if self._allowances[sandbox].broken(used) or not used.complete:
                del self._allowances[sandbox]
                log.warning("Sandbox %s takes %d bytes of %d: its servers are stopped", sandbox, used.bytes, self._size)
                for user in users:
                    await self._stop(hub, user)

    async def _stop(self, hub: Any, user: Any) -> None:
        try:
            await asyncio.wait_for(stop_without_request(hub, user), timeout=STOP_SECONDS)
        except (TimeoutError, HTTPError) as error:
            log.error("The server of %s could not be stopped: %r; the next look tries again", user.name, error)
