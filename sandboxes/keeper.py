"""Does what nobody clicks for: ended sandboxes are packed, kept and erased; files that wait are checked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime, timedelta

from base.disk_use import TOLERATED
from base.errors import LeerlabError
from base.paths import State
from cluster.errors import SlurmError
from ledger.sandboxes import Sandbox, SandboxLedger, SandboxState
from ledger.store import Ledger
from sandboxes.airlock.quarantine import Quarantine
from sandboxes.erasure import erase
from sandboxes.export import export
from sandboxes.life import CLOCK, Sandboxes

INTERVAL_SECONDS = 30.0
EXPORTED = "sandbox.exported"

log = logging.getLogger("leerlab.sandboxes")


class Keeper:
    """Looks at an interval for what has to be done.

    Args:
        life: the sandboxes.
        ledger: the site's ledger.
        state: the site's state folder.
        days_kept: days between the end of a sandbox and its erasure.
        follow: lets the hub stop the servers of who is no member of an active sandbox; whether it did.
        living: ids of the sandboxes in which Slurm runs something still.
        quarantine: files in it that nobody checks any more are checked next to it.
    """

    def __init__(
        self, life: Sandboxes, ledger: Ledger, state: State, *, days_kept: int, follow: Callable[[], Awaitable[bool]],
        living: Callable[[], Awaitable[Collection[str]]], quarantine: Quarantine | None = None,
    ) -> None:  # fmt: skip
        self._life = life
        self._ledger = ledger
        self._state = state
        self._kept = timedelta(days=days_kept)
        self._follow = follow
        self._living = living
        self._quarantine = quarantine
        self._settled = False

    async def run(self) -> None:
        """Look until cancelled; checks of files take as long as they take and keep no sandbox from its end."""
        async with asyncio.TaskGroup() as looking:
            looking.create_task(self._again(self.look, "Ended sandboxes"))
            if self._quarantine is not None:
                looking.create_task(self._again(self._quarantine.resume, "Files that wait"))

    @staticmethod
    async def _again(look: Callable[[], Awaitable[None]], what: str) -> None:
        while True:
            try:
                await look()
            except Exception:
                log.exception("%s could not be looked after; the next look tries again", what)
            await asyncio.sleep(INTERVAL_SECONDS)

    async def look(self) -> None:
        """Do what has to be done now; each sandbox by itself, so that one that fails keeps no other waiting.

        Raises:
            LeerlabError: the ledger cannot be read; nothing was packed or erased.
        """
        if not self._settled:
            # An erasure that was broken off at its very end left words in the ledger's journal.
            await asyncio.to_thread(self._ledger.settle)
            self._settled = True
        await asyncio.to_thread(self._life.end_overdue)
        await asyncio.to_thread(self._complete)
        await self._look_at_ended()

    def _complete(self) -> None:
        try:
            for sandbox in self._life.complete():
                log.warning("Sandbox %s had no files, because its making was broken off; it has them now", sandbox.id)
        except (LeerlabError, OSError) as error:
            # A full disk keeps no other sandbox from its end.
            log.error("A sandbox could not be made; the next look tries again: %s", error)

    async def _look_at_ended(self) -> None:
        ledger: SandboxLedger = self._life.ledger
        ending = await asyncio.to_thread(ledger.all, SandboxState.ENDING, SandboxState.REFUSED)
        if not ending:
            return
        if not await self._follow():
            log.warning("The hub has not stopped all servers of ended sandboxes; the next look tries again")
            return
        try:
            living = await self._living()
        except SlurmError as error:
            log.warning("Slurm does not say what runs in ended sandboxes; the next look tries again: %s", error)
            return
        for sandbox in ending:
            if sandbox.id in living:
                log.warning("A job of sandbox %s runs still; the next look tries again", sandbox.id)
                continue
            try:
                await asyncio.to_thread(self._go_on, sandbox)
            except Exception:
                # Whatever the members left there, the other sandboxes come to their end.
                log.exception("Sandbox %s could not be packed or erased; the next look tries again", sandbox.id)

    def _go_on(self, sandbox: Sandbox) -> None:
        pack(self._life, self._ledger, sandbox)
        if sandbox.ended is not None and sandbox.ended + self._kept <= datetime.now(UTC):
            self._settled = False
            erase(self._life.ledger, self._state, sandbox.id, CLOCK)
            self._settled = True


def pack(life: Sandboxes, ledger: Ledger, sandbox: Sandbox) -> None:
    """Make the export of a sandbox in which nothing runs any more, unless that was done; a refused one has none.

    Args:
        life: the sandboxes.
        ledger: the site's ledger; it gets the export's hash.
        sandbox: one that is ending.

    Raises:
        OSError: the disk is full; nothing of the export is left.
    """
    if sandbox.state is not SandboxState.ENDING or ledger.entries(action=EXPORTED, subject=sandbox.id, limit=1):
        return
    life.folders(sandbox.id).make()  # where its making was broken off there is nothing yet
    made = export(life.folders(sandbox.id), ledger, sandbox.id, int(life.size * TOLERATED))
    details = {"files": str(made.files), "left_out": str(len(made.left_out)), "sha256": made.sha256}
    ledger.record(CLOCK, EXPORTED, sandbox.id, details)
