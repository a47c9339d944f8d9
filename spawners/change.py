"""A change that several coroutines of one event loop wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Change:
    """Wakes everybody who waits, every time it is announced; nothing is remembered between announcements."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def announce(self) -> None:
        """Wake all who wait now."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    async def wait(self) -> None:
        """Wait for the next announcement; the caller sets the bound."""
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
