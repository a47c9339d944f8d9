"""Who may ask now: few questions of one person at a time, and no more than a model can answer; others wait, bounded."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus

from assistant.errors import Code, Refusal
from base.messages import Message

MOST_OPEN = 2
"""Questions of one person at one time."""
MOST_WAITING = 64
WAIT_SECONDS = 20.0


class People:
    """Counts each person's open questions."""

    def __init__(self, most: int = MOST_OPEN) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    @contextmanager
    def one_more(self, person: str) -> Iterator[None]:
        """A question of a person, until the block ends.

        Raises:
            Refusal: 429, there are enough.
        """
        if self._open[person] >= self._most:
            raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, Code.BUSY, Message("assistant.busy.person"), again=2)
        self._open[person] += 1
        try:
            yield
        finally:
            self._open[person] -= 1
            if not self._open[person]:
                del self._open[person]


class Turns:
    """One model's turns, first come first served.

    Args:
        at_once: questions at one time.
        waiting: questions that wait for a turn.
        seconds: longest wait.
    """

    def __init__(self, at_once: int, waiting: int = MOST_WAITING, seconds: float = WAIT_SECONDS) -> None:
        self._turns = asyncio.Semaphore(at_once)
        self._most, self._seconds = waiting, seconds
        self._waiting = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A turn, until the block ends.

        Raises:
            Refusal: 429, too many wait, or it took too long.
        """
        if self._turns.locked() and self._waiting >= self._most:
            raise _busy()
        self._waiting += 1
        try:
            async with asyncio.timeout(self._seconds):
                await self._turns.acquire()
        except TimeoutError:
            raise _busy() from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._turns.release()


def _busy() -> Refusal:
    return Refusal(HTTPStatus.TOO_MANY_REQUESTS, Code.BUSY, Message("assistant.busy.model"), again=5)
