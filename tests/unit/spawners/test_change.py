"""What is announced between a look and the wait after it is not missed."""

from __future__ import annotations

import asyncio
import time

from spawners.change import Change, first_of


async def test_who_waits_is_woken_and_what_was_seen_before_wakes_nobody() -> None:
    change = Change()
    change.announce()
    waiting = asyncio.create_task(change.wait(change.count))
    await asyncio.sleep(0)
    assert not waiting.done()
    change.announce()
    await asyncio.wait_for(waiting, 10)


async def test_an_announcement_before_the_wait_has_begun_is_not_missed() -> None:
    """A report that comes in the same turn of the loop: `first_of` makes tasks, which begin to wait one turn later."""
    change = Change()
    seen, begin = change.count, time.monotonic()
    asyncio.get_running_loop().call_soon(change.announce)
    await first_of(change.wait(seen), asyncio.sleep(60), seconds=60)
    assert time.monotonic() - begin < 30


async def test_a_hundred_who_are_told_at_once_all_go_on() -> None:
    changes = [Change() for _ in range(100)]
    told = [False] * 100

    async def start(number: int) -> None:
        while True:
            seen = changes[number].count
            if told[number]:
                return
            await first_of(changes[number].wait(seen), asyncio.sleep(60), seconds=60)

    async def report(number: int) -> None:
        for _ in range(number % 4):
            await asyncio.sleep(0)
        told[number] = True
        changes[number].announce()

    begin = time.monotonic()
    await asyncio.gather(*(start(number) for number in range(100)), *(report(number) for number in range(100)))
    assert time.monotonic() - begin < 30
