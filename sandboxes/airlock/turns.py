"""Whose file is looked at next: one of each sandbox at a time, sandboxes one after another, only a few together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar
from weakref import WeakValueDictionary

TOGETHER = 2
"""Files that are looked at together, on the whole site; clamd has a thread for each."""

Given = ParamSpec("Given")
Found = TypeVar("Found")


class Turns:
    """Turns of sandboxes.

    A file waits for those of its own sandbox first, so each sandbox has one file at most in the line for a place. That
    line is first come, first served (asyncio.Semaphore): a sandbox with a thousand files waits its turn after each.

    Args:
        together: how many have a turn at the same time.
    """

    def __init__(self, together: int = TOGETHER) -> None:
        self._places = asyncio.Semaphore(together)
        self._own: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        # Threads of its own: what takes long here keeps nothing else that needs one waiting.
        self._threads = ThreadPoolExecutor(together, thread_name_prefix="airlock")

    @asynccontextmanager
    async def of(self, sandbox: str) -> AsyncIterator[None]:
        """A turn of a sandbox, as long as the block lasts.

        Args:
            sandbox: its id.
        """
        own = self._own.setdefault(sandbox, asyncio.Lock())
        async with own, self._places:
            yield

    async def call(self, act: Callable[Given, Found], *args: Given.args, **kwargs: Given.kwargs) -> Found:
        """Call something that blocks, in a thread of those who have a turn."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: act(*args, **kwargs))
