"""A change that several coroutines of one event loop wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Change:
    """Wakes everybody who waits, every time it is announced.

    Who looks at something and then waits for it to change asks for `count` before looking: what is announced in between
    is not missed.
    """

    def __init__(self) -> None:
        self.count = 0
        """How often it was announced."""
        self._waiting: set[asyncio.Future[None]] = set()

    def announce(self) -> None:
        """Wake all who wait now, and all who will wait for what they have not seen yet."""
        self.count += 1
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    async def wait(self, seen: int) -> None:
        """Wait for an announcement after those that were seen; the caller sets the bound.

        Args:
            seen: `count` before the caller looked.
        """
        if self.count != seen:
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)


async def first_of(*waits: Coroutine[Any, Any, object], seconds: float) -> None:
    """Wait until the first of these ends, or until so many seconds have passed; the others are cancelled."""
    tasks = {asyncio.ensure_future(each) for each in waits}
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
