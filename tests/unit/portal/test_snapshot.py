"""One poller for all pages: it looks only while somebody does, and what it cannot see stays unknown."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from cluster.errors import SlurmUnavailable
from cluster.jobs import Job, Queue
from portal.errors import HubSilent
from portal.hub import HubServer, HubUser
from portal.snapshot import Looks

NOW = datetime(2026, 1, 1, tzinfo=UTC)
USER = HubUser("sanne", "Sanne", (), None, HubServer(True, "", 7, "cpu", NOW))


class Parts:
    """A hub and a Slurm that answer, or not, as the test says."""

    def __init__(self) -> None:
        self.asked = 0
        self.hub_silent = self.slurm_silent = False
        self.slow = 0.0

    async def active(self) -> dict[str, HubUser]:
        self.asked += 1
        await asyncio.sleep(self.slow)
        if self.hub_silent:
            raise HubSilent("silent")
        return {"sanne": USER}

    async def queue(self) -> Queue:
        if self.slurm_silent:
            raise SlurmUnavailable("silent")
        return Queue(
            (Job(id=7, state=None, reason="", nodes=(), comment="", name="", partition="", submitted=NOW),), NOW, NOW
        )  # type: ignore[arg-type]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def made(parts: Parts, clock: Clock, **changes: float) -> Looks:
    return Looks(parts, parts, clock=clock, **changes)


async def test_many_pages_ask_the_hub_once() -> None:
    parts, clock = Parts(), Clock()
    looks = made(parts, clock)
    snapshots = await asyncio.gather(*(looks.now() for _ in range(50)))
    assert parts.asked == 1 and all(snapshot.users == {"sanne": USER} for snapshot in snapshots)
    clock.now += 0.5
    await looks.now()
    assert parts.asked == 1
    await looks.now(fresh=True)
    assert parts.asked == 2, "after a change the page shows what is true now"


async def test_nobody_asks_while_nobody_looks() -> None:
    parts = Parts()
    looks = Looks(parts, parts, interval=0.02)
    async with looks.watch() as after:
        stream = after(0)
        assert [(await anext(stream)).number for _ in range(3)] == [1, 2, 3]
    asked = parts.asked
    await asyncio.sleep(0.1)
    assert parts.asked <= asked + 1 and looks.watching == 0
    await looks.close()


async def test_what_the_hub_does_not_tell_is_unknown_and_not_gone() -> None:
    parts, clock = Parts(), Clock()
    looks = made(parts, clock)
    assert (await looks.now()).hub_seen
    parts.hub_silent = True
    clock.now += 11
    unseen = await looks.now()
    assert not unseen.hub_seen and unseen.slurm_seen and unseen.users == {"sanne": USER}
    parts.hub_silent = False
    clock.now += 11
    assert (await looks.now()).hub_seen


async def test_what_slurm_does_not_tell_is_unknown_and_not_over() -> None:
    parts, clock = Parts(), Clock()
    parts.slurm_silent = True
    looks = made(parts, clock)
    snapshot = await looks.now()
    assert snapshot.hub_seen and not snapshot.slurm_seen


async def test_a_slow_hub_holds_no_page_up_for_long() -> None:
    parts = Parts()
    parts.slow = 100
    looks = Looks(parts, parts, patience=0.05)
    async with asyncio.timeout(60):
        snapshot = await looks.now()
    assert not snapshot.hub_seen
    await looks.close()
