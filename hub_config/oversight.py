"""What an operator sees of sandboxes and does with them from the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from base.disk_use import disk_use
from base.errors import InputError, LeerlabError
from base.paths import State
from hub_config.audit import existing_ledger
from hub_config.run.keys import secret
from hub_config.run.supervisor_client import Supervisor
from hub_config.site import Site
from hub_config.slurm import slurm_of
from ledger.sandboxes import NotPossibleNow, Sandbox, SandboxLedger, SandboxState
from ledger.store import Ledger
from ledger.transfers import TransferLedger
from portal.hub import Hub, hub_client
from sandboxes.erasure import Erased, erase, found, remains
from sandboxes.export import entries_of
from sandboxes.keeper import pack
from sandboxes.life import Sandboxes
from sandboxes.living import living
from sandboxes.taking import Taking

SHELL = "shell"
"""The actor of what was done from the command line: whoever may read the site's keys."""


@dataclass(frozen=True)
class Shown:
    """One sandbox with what belongs to it.

    Args:
        sandbox: from the ledger.
        members: pseudonyms of those who are in it now.
        disk: bytes that it takes.
        transfers: how many files went in or out, or were refused.
        trail: its part of the audit trail, one line an entry.
    """

    sandbox: Sandbox
    members: list[str]
    disk: int
    transfers: int
    trail: list[str]


@dataclass(frozen=True)
class Verified:
    """What a look for remains of an erased sandbox found.

    Args:
        remains: what is left of it, in words.
        places: files that hold the marker.
        entries: how many entries the audit trail has, all of them as they were written.
    """

    remains: list[str]
    places: list[str]
    entries: int

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.remains and not self.places


class Oversight:
    """An operator's hands on the sandboxes of one site; see `oversight`.

    Args:
        site: the checked settings, with a section `sandboxes:`.
        state: the site's state folder.
        ledger: the site's ledger.
    """

    def __init__(self, site: Site, state: State, ledger: Ledger) -> None:
        if site.sandboxes is None:
            raise InputError("This site has no sandboxes.", do="Add a section `sandboxes:` to its site.yaml.")
        self._site = site
        self._state = state
        self._trail = ledger
        self._ledger = SandboxLedger(ledger)
        self._transfers = TransferLedger(ledger)
        self._life = Sandboxes(self._ledger, state, site.sandboxes)

    def all(self) -> list[Sandbox]:
        """Every sandbox that was ever asked for, newest first."""
        return list(self._ledger.all())

    def show(self, sandbox: str) -> Shown:
        """One sandbox.

        Raises:
            NoSuchSandbox: there is none by this id.
        """
        row = self._ledger.get(sandbox)
        trail = [
            f"{entry.time:%Y-%m-%d %H:%M} {entry.action} {entry.actor} {entry.subject}"
            for entry in entries_of(self._trail, sandbox)
        ]
        disk = disk_use(self._life.folders(sandbox).root).bytes
        return Shown(row, list(self._ledger.members(sandbox)), disk, len(self._transfers.of(sandbox)), trail)

    def approve(self, sandbox: str) -> Sandbox:
        """Say yes to one that waits.

        Raises:
            NoSuchSandbox, NotPossibleNow: it does not wait.
        """
        approved = self._life.approve(sandbox, SHELL)
        self._follow()
        return approved

    def refuse(self, sandbox: str) -> Sandbox:
        """Say no to one that waits.

        Raises:
            NoSuchSandbox, NotPossibleNow: it does not wait.
        """
        return self._life.refuse(sandbox, SHELL)

    def end(self, sandbox: str) -> Sandbox:
        """End one: its servers stop, its export is made, its erasure follows.

        Raises:
            NoSuchSandbox, NotPossibleNow: it is not active.
        """
        ended = self._life.end(sandbox, SHELL, operator=True)
        self._follow()
        return ended

    def release(self, sandbox: str) -> Sandbox:
        """Let the members of an ended sandbox take its export, where nobody else has said yes.

        Raises:
            NoSuchSandbox, NotPossibleNow: it has not ended.
        """
        Taking(self._ledger, self._trail).release(sandbox, SHELL, operator=True)
        return self._ledger.get(sandbox)

    def erase(self, sandbox: str, *, without_export: bool = False) -> Erased:
        """Erase one that has ended now, before the time that its export is kept.

        Args:
            sandbox: its id.
            without_export: also when no export could be made, because the disk is full.

        Raises:
            NoSuchSandbox, NotPossibleNow: it has not ended.
            LeerlabError: hub and Slurm do not say that nothing runs in it any more, or something could not be removed.
        """
        row = self._ledger.get(sandbox)
        if row.state not in (SandboxState.ENDING, SandboxState.REFUSED):
            raise NotPossibleNow(
                f"Sandbox {sandbox} is {row.state}.", do=f"End it first: leerlab sandbox end {sandbox}."
            )
        if not self._follow():
            raise LeerlabError(
                "The hub did not say that nothing runs in this sandbox any more.",
                "A server that still runs would write into what is being erased.",
                "Start the site with ./leerlab up, wait a minute and try again.",
            )
        if sandbox in self._living():
            raise LeerlabError(
                "A job of this sandbox has not ended yet.",
                "It would write into what is being erased.",
                "Wait a minute and try again.",
            )
        if not without_export:
            pack(self._life, self._trail, row)
        return erase(self._ledger, self._state, sandbox, SHELL)

    def verify(self, sandbox: str, marker: str = "") -> Verified:
        """Look for what is left of an erased sandbox.

        Args:
            sandbox: its id.
            marker: a text of the sandbox that stands nowhere else, to look for in every file of the site; empty: none.

        Raises:
            NoSuchSandbox: there never was one by this id.
            InputError: the marker is too short to mean anything.
            LedgerBroken: the audit trail is not what was written.
        """
        left = remains(self._ledger, self._transfers, self._state, sandbox)
        try:
            places = [str(path) for path in found(self._state, marker.encode())] if marker else []
        except ValueError as error:
            raise InputError(f"{error}.", do="Take a longer text.") from error
        return Verified(left, places, self._trail.verify())

    def _living(self) -> Collection[str]:
        """Sandboxes in which Slurm runs something still."""
        return asyncio.run(living(slurm_of(self._site, self._state), self._state.jobs))

    def _follow(self) -> bool:
        """Let a running hub make or take away accounts now; a hub that does not run does so at its start."""
        if not Supervisor(self._state).running():
            return False
        return asyncio.run(_follow(self._state))


async def _follow(state: State) -> bool:
    hub = Hub(hub_client(f"unix:{state.run / 'hub.sock'}"), secret(state, "portal-token"))
    try:
        return await hub.follow_sandboxes()
    finally:
        await hub.close()


@contextmanager
def oversight(site: Site, state: State) -> Iterator[Oversight]:
    """The sandboxes of a site.

    Raises:
        InputError: the site has no sandboxes.
        LeerlabError: it has never run.
    """
    with existing_ledger(site, state) as ledger:
        yield Oversight(site, state, ledger)


def days_left(sandbox: Sandbox) -> int:
    """Whole days until an active sandbox ends by itself; 0 for all others."""
    if sandbox.state is not SandboxState.ACTIVE:
        return 0
    return max(0, (sandbox.ends - datetime.now(UTC)).days)
