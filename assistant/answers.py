"""One answer from its question to the ledger: reserved before any model hears of it, set right at its end, however."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Any, TypeVar

import httpx
from starlette.requests import ClientDisconnect, Request

from assistant.backends import Backend, Broken, Piece, Usage, asked, pieces, whole
from assistant.energy import Energy
from assistant.errors import Code, Refusal, unreachable
from assistant.turns import People
from base.errors import LeerlabError
from base.messages import Message
from ledger.answers import Account, AnswerLedger, AnswerState, Spent

ANSWER_SECONDS = 300.0
"""Longest answer, from its first piece."""
LEAST_ANSWER = 16
"""Tokens: with less room than for these, a question is refused rather than cut short."""
_SPARE_PIECES = 64

log = logging.getLogger("assistant")
T = TypeVar("T")


class Desk:
    """Everything that questions share.

    Args:
        client: for the models.
        ledger: what was asked.
    """

    def __init__(self, client: httpx.AsyncClient, ledger: AnswerLedger) -> None:
        self.client = client
        self.ledger = ledger
        self.people = People()
        self._closing: set[asyncio.Task[None]] = set()

    def later(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something whatever becomes of the request; `close` waits for it."""
        task = asyncio.create_task(work)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        return task

    async def close(self) -> None:
        """Wait for what is being written down, and let go of the models."""
        if self._closing:
            await asyncio.wait(self._closing, timeout=10)
        await self.client.aclose()


class Answer:
    """One question and its answer.

    Args:
        desk: what questions share.
        backend: the model.
        account: whose budget.
        most: tokens of that budget in any hour.
        estimate: tokens of the question, rather too many than too few.
    """

    def __init__(self, desk: Desk, backend: Backend, account: Account, most: int, estimate: int) -> None:
        self._desk, self._backend, self._account, self._most = desk, backend, account, most
        self._estimate = min(estimate, backend.context)
        self._stack = AsyncExitStack()
        self._name = ""
        self._asked = time.monotonic()
        self._heard = 0
        self._refused = False
        self._ending: asyncio.Task[None] | None = None
        self._response: httpx.Response | None = None
        self.usage: Usage | None = None
        self.state = AnswerState.LEFT

    async def begin(self, longest: int) -> int:
        """Take a person's turn, the budget's room and the model's turn, in that order.

        Args:
            longest: most tokens of the answer; 0 for an answer without any.

        Returns:
            Most tokens that the answer may have now.

        Raises:
            Refusal: any of them is not to be had.
        """
        self._stack.enter_context(self._desk.people.one_more(self._account.person))
        self._endpoint = await self._backend.endpoint()
        longest = await self._reserve(longest)
        if self._backend.local is not None:
            self._backend.local.begin()
            self._stack.callback(self._backend.local.end)
        await self._stack.enter_async_context(self._backend.turns.turn())
        return longest

    async def _reserve(self, longest: int) -> int:
        name, room = await self._written(self._estimate, longest)
        if name is None and longest:
            # A shorter answer may still fit.
            shorter = min(longest, room.left - self._estimate)
            if shorter >= LEAST_ANSWER:
                longest = shorter
                name, room = await self._written(self._estimate, longest)
        if name is None:
            message = Message("assistant.budget", {"most": self._most, "seconds": round(room.frees_in) or 1})
            raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, Code.BUDGET, message, again=room.frees_in or 1)
        self._name = name
        return longest

    async def _written(self, question: int, answer: int) -> Any:
        try:
            return await asyncio.to_thread(
                self._desk.ledger.begin, self._account, self._backend.id, question, answer, self._most
            )
        except LeerlabError as error:
            log.error("%s", error)
            raise unreachable("assistant.unreachable.ledger") from None

    async def ask(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """Ask the model.

        Raises:
            Refusal: nobody answers, or it refuses.
        """
        body = {**body, "model": self._endpoint.name}
        self._response = await asked(self._desk.client, self._backend, self._endpoint, path, body)
        return self._response

    async def pieces(self, longest: int) -> AsyncIterator[Piece]:
        """The answer's pieces, until it is whole.

        Raises:
            Broken: it broke off.
        """
        assert self._response is not None
        until = time.monotonic() + ANSWER_SECONDS
        try:
            async for piece in pieces(self._response, longest + _SPARE_PIECES):
                self._heard += bool(piece.text)
                self.usage = piece.usage or self.usage
                if time.monotonic() > until:
                    raise Broken
                yield piece
        except Refusal:
            self.state, self._refused = AnswerState.BROKEN, True
            raise
        except Broken:
            self.state = AnswerState.BROKEN
            if self._backend.local is not None:
                self._backend.local.unanswered()
            raise
        self.state = AnswerState.DONE

    async def whole(self) -> dict[str, Any]:
        """An answer that comes at once.

        Raises:
            Broken: it broke off.
        """
        assert self._response is not None
        self.state = AnswerState.BROKEN
        async with asyncio.timeout(ANSWER_SECONDS):
            told = await whole(self._response)
        self.usage = Usage.read(told.get("usage"))
        self.state = AnswerState.DONE
        return told

    @property
    def energy(self) -> Energy:
        """What it took, once the model has told it."""
        return self._backend.energy(self.usage) if self.usage is not None else Energy()

    @property
    def counted(self) -> Usage:
        """Tokens: what the model says, or else what was heard and what the question can have had."""
        looked_at = self._response is not None and not self._refused
        return self.usage or Usage(self._estimate if looked_at else 0, self._heard)

    def end(self) -> asyncio.Task[None]:
        """Whatever has become of it: let go of the model, give the turns back, and write down what it took."""
        if self._ending is None:
            self._ending = self._desk.later(self._end())
        return self._ending

    async def _end(self) -> None:
        try:
            if self._response is not None:
                await self._response.aclose()
        finally:
            await self._stack.aclose()
        if not self._name:
            return
        energy, counted = self.energy, self.counted
        spent = Spent(
            counted.tokens_in, counted.tokens_out, round(time.monotonic() - self._asked, 3), energy.joules,
            energy.measured, self.state,
        )  # fmt: skip
        try:
            await asyncio.to_thread(self._desk.ledger.end, self._name, spent)
        except LeerlabError as error:
            # It counts with the most that it could have taken until the gateway starts anew.
            log.error("%s", error)
        log.info("Model %s: %s, %d tokens in %.1f s", self._backend.id, self.state, counted.tokens, spent.seconds)


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Do something for somebody who waits; when they go away meanwhile, it is cancelled.

    Raises:
        ClientDisconnect: they went away.
    """
    task = asyncio.create_task(work)
    watch = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientDisconnect
    finally:
        await _cancelled(task, watch)


async def _cancelled(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def body_of(request: Request, most: int, seconds: float) -> bytes:
    """A request's body.

    Raises:
        Refusal: 413 when it is larger, 408 when it takes longer.
    """
    too_large = Refusal(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, Code.TOO_LARGE, Message("assistant.wrong.large", {"most": most // 1024})
    )
    told = request.headers.get("content-length", "0")
    if not told.isdigit() or int(told) > most:
        raise too_large
    read = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                read += chunk
                if len(read) > most:
                    raise too_large
    except TimeoutError:
        raise Refusal(HTTPStatus.REQUEST_TIMEOUT, Code.TOO_SLOW, Message("assistant.wrong.slow")) from None
    return bytes(read)
