"""The gateway: OpenAI's API for labs, each request decided anew; keeps what an answer took, nothing of what it says."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from assistant.answers import DONE, Took, as_event, ask, events, whole, with_usage
from assistant.budget import Budget
from assistant.energy import Meter
from assistant.errors import Refused, wrong
from assistant.identity import Asker, Askers
from assistant.models import Models
from assistant.policy import Verdict, decide
from assistant.questions import LARGEST, ChatQuestion, EmbeddingQuestion, read
from assistant.said import Titles, places_in_words
from assistant.settings import AssistantSettings
from base.errors import LeerlabError
from base.i18n import choose_language
from ledger.answers import Answer, AnswerLedger, AnswerState
from spawners.report import BODY_LIMIT, read_port

BODY_SECONDS = 10.0
PER_PERSON = 2
"""Questions of one person at the same time."""
_START = re.compile(r"[0-9a-f]{16}")

log = logging.getLogger("assistant")


@dataclass
class _Door:
    """One model's places: how many are answered at once, how many wait, and the energy that they take."""

    places: asyncio.Semaphore
    most_waiting: int
    meter: Meter | None
    waiting: int = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """One of the places.

        Raises:
            Refused: too many wait already.
        """
        if self.places.locked() and self.waiting >= self.most_waiting:
            raise Refused(HTTPStatus.TOO_MANY_REQUESTS, "busy", again=5)
        self.waiting += 1
        try:
            await self.places.acquire()
        finally:
            self.waiting -= 1
        try:
            yield
        finally:
            self.places.release()


@dataclass
class _Parts:
    """What the gateway is made of; see `Gateway`."""

    settings: AssistantSettings
    models: Models
    budget: Budget
    answers: AnswerLedger
    http: httpx.AsyncClient
    doors: Mapping[str, _Door]
    asking: Counter[str] = field(default_factory=Counter)
    ending: set[asyncio.Task[None]] = field(default_factory=set)

    def asks_no_more(self, person: str) -> None:
        """One question of this person less."""
        self.asking[person] -= 1
        if not self.asking[person]:
            del self.asking[person]


class Gateway:
    """The routes.

    Args:
        settings: the section of site.yaml.
        askers: who asks.
        models: the site's models.
        budget: everybody's tokens.
        answers: where it is kept what an answer took.
        titles: of the courses, by id and language.
        http: a client for models' servers.
        language: for who does not say which.
    """

    def __init__(
        self,
        settings: AssistantSettings,
        *,
        askers: Askers,
        models: Models,
        budget: Budget,
        answers: AnswerLedger,
        titles: Titles,
        http: httpx.AsyncClient,
        language: str,
    ) -> None:
        doors = {
            model: _Door(asyncio.Semaphore(settings.at_once), 8 * settings.at_once, _meter(settings, models, model))
            for model in models.ids
        }
        self._parts = _Parts(settings, models, budget, answers, http, doors)
        self._askers = askers
        self._titles = titles
        self._language = language

    def routes(self) -> list[Route]:
        """Every path there is."""
        return [
            Route("/v1/models", self.models, methods=["GET"]),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/embeddings", self.embeddings, methods=["POST"]),
            Route("/policy", self.policy, methods=["GET"]),
            Route("/starts/{start}", self.started, methods=["POST"]),
            Route("/status", self.status, methods=["GET"]),
        ]

    async def close(self) -> None:
        """End the models' jobs, and wait until everything that answers took is kept."""
        await self._parts.models.close()
        await asyncio.gather(*self._parts.ending, return_exceptions=True)
        await self._parts.http.aclose()
        await self._askers.close()

    def refusal(self, request: Request, error: Exception) -> Response:
        """A refusal as OpenAI's API says it, in the language of who asks."""
        if not isinstance(error, Refused):
            raise error
        language = self._language_of(request)
        headers = {} if error.again is None else {"Retry-After": str(max(1, round(error.again)))}
        return JSONResponse(error.body(language), status_code=error.status, headers=headers)

    # -- what anybody may ask

    async def status(self, _request: Request) -> Response:
        """That the gateway answers; asks nothing and says nothing else."""
        return JSONResponse({"status": "ok"})

    async def models(self, request: Request) -> Response:
        """The models that who asks may ask."""
        _, verdict = await self._allowed(request)
        listed = [{"id": model, "object": "model", "owned_by": "leerlab"} for model in verdict.models]
        return JSONResponse({"object": "list", "data": listed})

    async def policy(self, request: Request) -> Response:
        """What holds for who asks now; not a refusal where it is off."""
        asker = await self._askers.asker(request.headers.get("authorization"))
        verdict = decide(self._parts.settings, asker.places)
        left = await self._parts.budget.left(asker.person, verdict.tokens_per_hour)
        return JSONResponse(
            {
                "on": bool(verdict.models),
                "models": list(verdict.models),
                "tokens_per_hour": verdict.tokens_per_hour,
                "tokens_left": left,
                "off": [{"kind": place.kind, "id": place.id} for place in verdict.off],
            }
        )

    async def started(self, request: Request) -> Response:
        """A model's job says on which port the model can be asked; as `spawners.report`, with the same answers."""
        start = request.path_params["start"]
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if scheme != "start" or not secret or not _START.fullmatch(start):
            return Response(status_code=HTTPStatus.FORBIDDEN)
        try:
            port = read_port(await _body(request, BODY_LIMIT))
        except (ValueError, Refused):
            return Response(status_code=HTTPStatus.BAD_REQUEST)
        # A start that is not known is over, so that its job ends: a gateway that starts anew knows none.
        counts = self._parts.models.report(start, secret, port)
        return Response(status_code=HTTPStatus.NO_CONTENT if counts else HTTPStatus.FORBIDDEN)

    # -- questions

    async def chat(self, request: Request) -> Response:
        """`POST /v1/chat/completions`."""
        asker, verdict = await self._allowed(request)
        question = read(ChatQuestion, await _body(request, LARGEST))
        self._check_model(question.model, verdict, "chat")
        return await self._answered(request, asker, verdict, question)

    async def embeddings(self, request: Request) -> Response:
        """`POST /v1/embeddings`."""
        asker, verdict = await self._allowed(request)
        question = read(EmbeddingQuestion, await _body(request, LARGEST))
        self._check_model(question.model, verdict, "embeddings")
        return await self._answered(request, asker, verdict, question)

    async def _allowed(self, request: Request) -> tuple[Asker, Verdict]:
        """Who asks and what is allowed; a refusal where it is off."""
        asker = await self._askers.asker(request.headers.get("authorization"))
        verdict = decide(self._parts.settings, asker.places)
        if not verdict.models:
            if because := places_in_words(verdict.off, self._titles, self._language_of(request)):
                raise Refused(HTTPStatus.FORBIDDEN, "off-because", {"because": because})
            raise Refused(HTTPStatus.FORBIDDEN, "off")
        return asker, verdict

    def _check_model(self, model: str, verdict: Verdict, does: str) -> None:
        allowed = [each for each in verdict.models if self._parts.models.does(each) == does]
        if model not in allowed:
            raise Refused(HTTPStatus.NOT_FOUND, "model", {"models": ", ".join(allowed) or "-"})

    async def _answered(
        self, request: Request, asker: Asker, verdict: Verdict, question: ChatQuestion | EmbeddingQuestion
    ) -> Response:
        """Get an answer, with everything that it takes held until its last word."""
        exchange = _Exchange(self._parts, asker, question)
        try:
            await exchange.begin(verdict.tokens_per_hour)
            if isinstance(question, ChatQuestion) and question.stream:
                return _Stream(exchange, exchange.stream(question.wants_usage, self._language_of(request)))
            said = await exchange.whole()
        except BaseException:
            await exchange.end()
            raise
        await exchange.end()
        return JSONResponse(said)

    def _language_of(self, request: Request) -> str:
        return choose_language(None, request.headers.get("accept-language"), self._language)


class _Exchange:
    """One question on its way: what it holds is given back at its end, whatever that is.

    Args:
        parts: what the gateway is made of.
        asker: who asks.
        question: what.
    """

    def __init__(self, parts: _Parts, asker: Asker, question: ChatQuestion | EmbeddingQuestion) -> None:
        self._parts = parts
        self._asker = asker
        self._question = question
        self._door = parts.doors[question.model]
        self._asked = datetime.now(UTC)
        self._began = time.monotonic()
        self._took = Took(question.estimate)
        self._held = AsyncExitStack()
        self._energy: float | None = None
        self._response: httpx.Response | None = None
        self.state = AnswerState.REFUSED

    async def begin(self, limit: int) -> None:
        """Everything until the model's first word.

        Args:
            limit: tokens of this person in an hour.

        Raises:
            Refused: too many questions at once, no tokens left, or the model is not there.
        """
        parts, question, person = self._parts, self._question, self._asker.person
        if parts.asking[person] >= PER_PERSON:
            raise Refused(HTTPStatus.TOO_MANY_REQUESTS, "one-by-one", {"most": PER_PERSON}, again=2)
        parts.asking[person] += 1
        self._held.callback(parts.asks_no_more, person)
        most = parts.settings.answer
        wanted = min(question.wanted or most, most) if isinstance(question, ChatQuestion) else 0
        kept = await parts.budget.keep_back(person, limit, question.estimate, wanted)
        self._held.callback(parts.budget.give_back, kept)
        self._held.push_async_callback(self._keep)
        await self._held.enter_async_context(self._door.place())
        backend = await parts.models.backend(question.model)
        self._energy = self._door.meter.begin() if self._door.meter else None
        self._held.callback(self._stop_meter)
        body = question.forwarded(backend.name, kept.answer)
        try:
            self._response = await ask(parts.http, backend, question.PATH, body)
        except Refused as error:
            if error.status == HTTPStatus.BAD_GATEWAY:
                parts.models.lost(question.model)
            raise
        self.state = AnswerState.LEFT
        self._held.push_async_callback(self._response.aclose)

    async def whole(self) -> dict[str, Any]:
        """An answer in one piece.

        Raises:
            Refused: it broke off.
        """
        assert self._response is not None
        self.state = AnswerState.BROKEN
        said = await whole(self._response, self._took)
        self.state = AnswerState.WHOLE
        self._stop_meter()
        return {**said, "model": self._question.model, "usage": self._took.usage(said.get("usage"))}

    async def stream(self, wants_usage: bool, language: str) -> AsyncIterator[bytes]:
        """An answer piece by piece."""
        assert self._response is not None
        try:
            async for event, usage in events(self._response, self._took):
                if usage is None:
                    yield event
                    continue
                self._stop_meter()
                if wants_usage:
                    yield with_usage(event, self._took)
        except httpx.TransportError:
            self._parts.models.lost(self._question.model)
        if self._took.whole:
            self.state = AnswerState.WHOLE
            yield DONE
        else:
            self.state = AnswerState.BROKEN
            yield as_event(Refused(HTTPStatus.BAD_GATEWAY, "broken").body(language))

    def _stop_meter(self) -> None:
        if self._energy is not None and self._door.meter is not None:
            self._took.joules = self._door.meter.end(self._energy)
            self._energy = None

    async def end(self) -> None:
        """Give everything back and keep what it took; also when whoever asked has left."""
        # A task of its own: who leaves cancels this one, and what was used is used.
        ending = asyncio.create_task(self._held.aclose())
        self._parts.ending.add(ending)
        ending.add_done_callback(self._parts.ending.discard)
        await asyncio.shield(ending)

    async def _keep(self) -> None:
        if self._response is None:
            return
        took = self._took
        answer = Answer(
            self._asker.person, self._asker.account, self._question.model, self._asked,
            time.monotonic() - self._began, took.question, took.answer, took.joules, self.state,
        )  # fmt: skip
        try:
            await asyncio.to_thread(self._parts.answers.add, answer)
        except LeerlabError as error:
            log.error("What an answer took could not be kept: %s", error)


class _Stream(StreamingResponse):
    """A stream that ends its exchange, also when nobody reads it to its end or not even its beginning."""

    def __init__(self, exchange: _Exchange, pieces: AsyncIterator[bytes]) -> None:
        super().__init__(pieces, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        self._exchange = exchange

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except ClientDisconnect:
            log.debug("Whoever asked has left")
        finally:
            await self._exchange.end()


def _meter(settings: AssistantSettings, models: Models, model: str) -> Meter | None:
    cores = models.cores(model)
    return None if cores is None else Meter(cores * settings.watts_per_core)


async def _body(request: Request, most: int) -> bytes:
    """A request's body.

    Raises:
        Refused: it is too large, or takes too long to come.
    """
    said = request.headers.get("content-length", "0")
    content = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            if said.isdecimal() and int(said) > most:
                raise _too_large(most)
            async for piece in request.stream():
                content += piece
                if len(content) > most:
                    raise _too_large(most)
    except TimeoutError as error:
        raise Refused(HTTPStatus.REQUEST_TIMEOUT, "question", {"reason": "the body takes too long to come"}) from error
    except ClientDisconnect as error:
        raise wrong("the body broke off") from error
    return bytes(content)


def _too_large(most: int) -> Refused:
    reason = {"reason": f"the body is larger than {most // 1024} KiB"}
    return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "question", reason)


def application(gateway: Gateway, models: Models) -> Starlette:
    """The gateway's web application."""

    async def refused(request: Request, error: Exception) -> Response:
        return gateway.refusal(request, error)

    async def failed(request: Request, error: Exception) -> Response:
        """The ledger cannot be read or written: without it nothing may be spent."""
        log.error("%s", error)
        return gateway.refusal(request, Refused(HTTPStatus.SERVICE_UNAVAILABLE, "busy", again=10))

    @asynccontextmanager
    async def lifespan(_application: Starlette) -> AsyncIterator[None]:
        looking = asyncio.create_task(models.look_after())
        yield
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        await gateway.close()

    return Starlette(
        routes=gateway.routes(), exception_handlers={Refused: refused, LeerlabError: failed}, lifespan=lifespan
    )
