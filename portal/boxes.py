"""Sandboxes as the portal uses them: everything of the ledger in a thread, and members by the names people know."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ParamSpec, Protocol, TypeVar

from base.disk_use import disk_use
from base.errors import InputError, LeerlabError
from cluster.errors import SlurmError
from ledger.sandboxes import NoSuchSandbox, NotPossibleNow, Sandbox, SandboxState
from portal.errors import Refused, absent
from portal.hub import Hub
from portal.site import BOX_ACCOUNT
from sandboxes.airlock.turns import Turns
from sandboxes.life import Sandboxes
from sandboxes.settings import SandboxSettings

USAGE_SECONDS = 60.0

Given = ParamSpec("Given")
Found = TypeVar("Found")


class Counted(Protocol):
    """What an account has used: `cluster.accounting.Usage`."""

    @property
    def gpu_seconds(self) -> float: ...


class Counter(Protocol):
    """Who counts: `cluster.accounting.Accounts`."""

    async def used(self, account: str) -> Counted: ...


@dataclass(frozen=True)
class BoxCard:
    """A sandbox as a list shows it.

    Args:
        sandbox: from the ledger.
        account: the hub's account of the person in it.
        days: days left, a begun one counted; 0 when its time is over.
    """

    sandbox: Sandbox
    account: str
    days: int

    @property
    def active(self) -> bool:
        """Whether it can be used."""
        return self.sandbox.state is SandboxState.ACTIVE


@dataclass(frozen=True)
class Member:
    """Somebody in a sandbox, as its page shows them."""

    name: str
    title: str


@dataclass(frozen=True)
class Usage:
    """What a sandbox uses.

    Args:
        disk: bytes.
        size: most bytes.
        gpu_hours: used; None when that cannot be seen now or is not counted here.
        budget: most GPU hours; None without a limit.
    """

    disk: int
    size: int
    gpu_hours: float | None
    budget: int | None


class Boxes:
    """The site's sandboxes.

    Args:
        life: the sandboxes themselves.
        settings: the section `sandboxes:` of site.yaml.
        hub: for people's names.
        accounts: Slurm's accounting; None where nothing is counted.
    """

    def __init__(self, life: Sandboxes, settings: SandboxSettings, hub: Hub, accounts: Counter | None) -> None:
        self.life = life
        self.settings = settings
        self._hub = hub
        self._accounts = accounts
        self._usage: dict[str, tuple[float, asyncio.Future[Usage]]] = {}
        self._turns = Turns()

    async def call(self, act: Callable[Given, Found], *args: Given.args, **kwargs: Given.kwargs) -> Found:
        """Call something that blocks, and turn what it refuses into a page.

        Raises:
            Refused: 404 for what is absent or another's, 409 for what cannot be done now, 400 for wrong input.
        """
        with self._refusals():
            return await asyncio.to_thread(act, *args, **kwargs)

    async def call_long(
        self, sandbox: str, act: Callable[Given, Found], *args: Given.args, **kwargs: Given.kwargs
    ) -> Found:
        """As `call`, for what reads or writes whole files: one of each sandbox at a time, in threads of their own.

        Pages need a thread for each look into the ledger, and there are few: nobody's large files keep them waiting.

        Raises:
            Refused: as `call`.
        """
        with self._refusals():
            async with self._turns.of(sandbox):
                return await self._turns.call(act, *args, **kwargs)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except (NoSuchSandbox, NotPossibleNow, InputError) as error:
            raise self.refused(error) from error

    @staticmethod
    def refused(error: LeerlabError) -> Refused:
        """What a page tells of an error: 404 for what is absent or another's, 400 for wrong input, else 409."""
        if isinstance(error, NoSuchSandbox):
            return absent()
        if isinstance(error, InputError):
            return Refused(400, "wrong", str(error))
        return Refused(409, "not-now", str(error))

    async def titles(self, names: Sequence[str]) -> dict[str, str]:
        """What people are called, by their names."""
        return await self._hub.titles(names)

    async def of(self, person: str) -> list[BoxCard]:
        """A person's sandboxes, newest first."""
        found = await self.call(self.life.ledger.of, person)
        return [card(one, person) for one in found]

    async def get(self, sandbox: str, person: str) -> BoxCard:
        """One sandbox, for a member of it.

        Raises:
            Refused: 404 for everybody else, whether it exists or not.
        """
        return card(await self.call(self.life.ledger.get_for, sandbox, person), person)

    async def members(self, sandbox: str) -> list[Member]:
        """Who is in it, in the order in which they came."""
        names: Sequence[str] = await self.call(self.life.ledger.members, sandbox)
        titles = await self._hub.titles(names)
        return [Member(name, titles[name]) for name in names]

    async def usage(self, sandbox: str) -> Usage:
        """What it uses of disk and GPU, as of at most a minute ago: both take many looks."""
        now = time.monotonic()
        seen = self._usage.get(sandbox)
        if seen is None or now - seen[0] >= USAGE_SECONDS:
            # Whoever comes meanwhile waits for this one look; nobody begins another.
            looking = asyncio.ensure_future(self._look(sandbox))
            self._usage = {one: kept for one, kept in self._usage.items() if now - kept[0] < USAGE_SECONDS}
            seen = self._usage[sandbox] = (now, looking)
        return await asyncio.shield(seen[1])

    async def _look(self, sandbox: str) -> Usage:
        disk = await self.call(disk_use, self.life.folders(sandbox).root)
        hours: float | None = None
        if self._accounts is not None:
            try:
                hours = (await self._accounts.used(BOX_ACCOUNT + sandbox)).gpu_seconds / 3600
            except SlurmError:
                hours = None
        return Usage(disk.bytes, int(self.settings.size), hours, self.settings.gpu_hours)

    async def follow(self) -> None:
        """Let the hub make accounts for what has just changed; it also does so by itself, a minute later."""
        await self._hub.follow_sandboxes()


def card(sandbox: Sandbox, person: str) -> BoxCard:
    """A sandbox as a list shows it, for one person."""
    left = sandbox.ends - datetime.now(UTC)
    return BoxCard(sandbox, f"{BOX_ACCOUNT}{sandbox.id}-{person}", max(0, math.ceil(left / timedelta(days=1))))
