"""The gateway: one web application on a unix socket, OpenAI's API for who may ask (decision 3).

`GET /v1/models`, `POST /v1/chat/completions`, `POST /v1/embeddings`, `GET /policy`: each with the server's own token.
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from assistant.answers import ANSWER_SECONDS, Answer, Desk, body_of, unless_gone
from assistant.backends import Backend, Broken, Piece
from assistant.errors import Code, Refusal, wrong
from assistant.identity import Asker, Hub
from assistant.policy import Allowed, Place, Purpose, allowed, charged
from assistant.questions import LARGEST_BODY, ChatQuestion, chat_question, embedding_question
from assistant.settings import AssistantSettings
from base.i18n import choose_language
from base.messages import Message
from base.settings import BothLanguages
from ledger.answers import Account

JOULES = "Leerlab-Joules"
"""Header of an answer that comes at once: its energy."""
_DONE = b"data: [DONE]\n\n"
_EMBEDDING_NUMBERS = 16_384


@dataclass(frozen=True)
class Asked:
    """A request whose asker is known.

    Args:
        asker: who.
        allowed: what they may ask now.
        account: what it is charged to; None when nothing may be asked.
        language: in which they are answered.
    """

    asker: Asker
    allowed: Allowed
    account: Account | None
    language: str


class Gateway:
    """Answers requests.

    Args:
        hub: knows who asks.
        settings: the section of site.yaml.
        backends: every model, by its id.
        desk: what questions share.
        titles: of the site's courses, by id.
        language: for who asks in no language of ours.
        body_seconds: in which a question must have come in.
    """

    def __init__(
        self,
        hub: Hub,
        settings: AssistantSettings,
        backends: Mapping[str, Backend],
        desk: Desk,
        *,
        titles: Mapping[str, BothLanguages],
        language: str,
        body_seconds: float,
    ) -> None:
        self._hub, self._settings, self._backends, self._desk = hub, settings, backends, desk
        self._titles, self._language, self._body_seconds = titles, language, body_seconds

    def routes(self) -> list[Route]:
        """The routes of `application`."""
        return [
            Route("/v1/models", self.models, methods=["GET"]),
            Route("/v1/models/{model}", self.model, methods=["GET"]),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/embeddings", self.embeddings, methods=["POST"]),
            Route("/policy", self.policy, methods=["GET"]),
        ]

    def language_of(self, request: Request) -> str:
        """The language in which a request is answered."""
        return choose_language(None, request.headers.get("accept-language"), self._language)

    # -- what there is

    async def policy(self, request: Request) -> Response:
        """What holds for the asker now, whether it is on or off."""
        asked = await self._who(request)
        told: dict[str, Any] = {
            "on": asked.allowed.on,
            "models": [self._about(model) for model in asked.allowed.models],
            "tokens_per_hour": asked.allowed.tokens_per_hour,
            "because": [{"place": one.place, "id": one.id} for one in asked.allowed.because],
        }
        if asked.account is not None:
            room = await unless_gone(request, self._room(asked.account, asked.allowed.tokens_per_hour))
            told |= {"tokens_left": max(0, room[0]), "frees_in": round(room[1])}
        return JSONResponse(told)

    async def _room(self, account: Account, most: int) -> tuple[int, float]:
        room = await asyncio.to_thread(self._desk.ledger.room, account, most)
        return room.left, room.frees_in

    async def models(self, request: Request) -> Response:
        """The models that the asker may ask."""
        asked = await self._allowed(request)
        data = [_as_openai(model) for model in asked.allowed.models]
        return JSONResponse({"object": "list", "data": data})

    async def model(self, request: Request) -> Response:
        """One of them."""
        asked = await self._allowed(request)
        model = request.path_params["model"]
        if model not in asked.allowed.models:
            raise _no_such_model()
        return JSONResponse(_as_openai(model))

    def _about(self, model: str) -> dict[str, Any]:
        found = self._settings.model(model)
        title = found.title.model_dump() if found is not None else {}
        return {"id": model, "title": title, "does": self._backends[model].does}

    # -- questions

    async def chat(self, request: Request) -> Response:
        """A question and its answer, at once or piece by piece."""
        asked = await self._allowed(request)
        question = chat_question(await body_of(request, LARGEST_BODY, self._body_seconds))
        answer = self._answer(asked, question.model, "chat", question.estimate)
        form = _Form(question)
        try:
            return await unless_gone(request, self._chat(answer, question, form))
        except BaseException:
            answer.end()
            raise

    async def _chat(self, answer: Answer, question: ChatQuestion, form: _Form) -> Response:
        longest = await answer.begin(question.longest)
        await answer.ask("/chat/completions", question.passed_on("", longest))
        coming = answer.pieces(longest)
        try:
            # A model that refuses does so before its first piece: that is still an answer with a status of its own.
            first = await anext(coming, None)
            if question.stream:
                return _Stream(answer, _streamed(answer, first, coming, form))
            heard = [] if first is None else [first]
            heard += [piece async for piece in coming]
        except Broken:
            raise _broken() from None
        await answer.end()
        return JSONResponse(form.whole(answer, heard), headers=_energy_header(answer))

    async def embeddings(self, request: Request) -> Response:
        """Texts turned into numbers."""
        asked = await self._allowed(request)
        question = embedding_question(await body_of(request, LARGEST_BODY, self._body_seconds))
        answer = self._answer(asked, question.model, "embeddings", question.estimate)
        body = {"input": list(question.texts), "encoding_format": "float"}
        try:
            told = await unless_gone(request, self._embedded(answer, body))
        finally:
            await answer.end()
        data = _vectors(told, len(question.texts))
        if question.encoding_format == "base64":
            data = [{**one, "embedding": _packed(one["embedding"])} for one in data]
        used = answer.counted
        usage = {"prompt_tokens": used.tokens_in, "total_tokens": used.tokens, "leerlab": answer.energy.told()}
        model = question.model
        return JSONResponse(
            {"object": "list", "data": data, "model": model, "usage": usage}, headers=_energy_header(answer)
        )

    async def _embedded(self, answer: Answer, body: dict[str, Any]) -> dict[str, Any]:
        await answer.begin(0)
        await answer.ask("/embeddings", body)
        try:
            return await answer.whole()
        except (Broken, TimeoutError):
            raise _broken() from None

    def _answer(self, asked: Asked, model: str, does: str, estimate: int) -> Answer:
        """An answer of a model that the asker may ask for this.

        Raises:
            Refusal: 404, whether there is no such model or only not for this asker.
        """
        backend = self._backends.get(model) if model in asked.allowed.models else None
        if backend is None or asked.account is None:
            raise _no_such_model()
        if backend.does != does:
            raise wrong("does", param="model", does=backend.does)
        return Answer(self._desk, backend, asked.account, asked.allowed.tokens_per_hour, estimate)

    # -- who asks

    async def _who(self, request: Request) -> Asked:
        asker = await self._hub.asker(request.headers.getlist("authorization"))
        found = allowed(asker.everywhere, self._settings)
        account = None
        if found.on and asker.here:
            purpose = charged(asker.here, self._settings)
            account = Account(asker.person, purpose.place, purpose.id)
        return Asked(asker, found, account, self.language_of(request))

    async def _allowed(self, request: Request) -> Asked:
        """As `_who`, for whom the assistant is on.

        Raises:
            Refusal: 403, with a sentence that says why.
        """
        asked = await self._who(request)
        if asked.account is None:
            because = asked.allowed.because
            message = self._off(because[0], asked.language) if because else Message("assistant.off.here")
            raise Refusal(HTTPStatus.FORBIDDEN, Code.OFF, message)
        return asked

    def _off(self, purpose: Purpose, language: str) -> Message:
        if purpose.place is Place.SANDBOX:
            return Message("assistant.off.sandbox")
        title = self._titles.get(purpose.id)
        shown = purpose.id if title is None else title.nl if language == "nl" else title.en
        return Message("assistant.off.course", {"course": shown})


class _Form:
    """How one chat's answer is written: OpenAI's objects, with names of our own and nothing else of the model's."""

    def __init__(self, question: ChatQuestion) -> None:
        self._question = question
        self._about = {"id": f"chatcmpl-{time.monotonic_ns():x}", "created": int(time.time()), "model": question.model}
        beginning = json.dumps({**self._about, "object": "chat.completion.chunk"})[:-1].encode()
        self._beginning = b"data: " + beginning + b', "choices": '

    def piece(self, piece: Piece, *, first: bool) -> bytes:
        """One server-sent event."""
        delta: dict[str, str] = {"role": "assistant", "content": ""} if first else {}
        if piece.text:
            delta["content"] = piece.text
        choice = {"index": 0, "delta": delta, "finish_reason": piece.finish or None}
        return self._beginning + json.dumps([choice]).encode() + b"}\n\n"

    def usage(self, answer: Answer) -> bytes:
        """The last event but one: what it took, for who asked for that."""
        if not self._question.wants_usage:
            return b""
        return self._beginning + b'[], "usage": ' + json.dumps(_usage(answer)).encode() + b"}\n\n"

    def whole(self, answer: Answer, heard: list[Piece]) -> dict[str, Any]:
        """An answer that comes at once."""
        finish = next((piece.finish for piece in heard if piece.finish), "stop")
        message = {"role": "assistant", "content": "".join(piece.text for piece in heard)}
        choice = {"index": 0, "message": message, "finish_reason": finish}
        return {**self._about, "object": "chat.completion", "choices": [choice], "usage": _usage(answer)}


class _Stream(StreamingResponse):
    """An answer piece by piece; ends with who listens, also before they heard anything."""

    def __init__(self, answer: Answer, events: AsyncIterator[bytes]) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            # The model's own time is bounded too; this bounds who does not read what it says.
            async with asyncio.timeout(2 * ANSWER_SECONDS):
                await unless_gone(Request(scope, receive), self.stream_response(send))
        except (ClientDisconnect, TimeoutError):
            return
        finally:
            self._answer.end()


async def _streamed(
    answer: Answer, first: Piece | None, coming: AsyncIterator[Piece], form: _Form
) -> AsyncIterator[bytes]:
    """The answer as server-sent events."""
    try:
        if first is not None:
            yield form.piece(first, first=True)
        async for piece in coming:
            if piece.text or piece.finish:
                yield form.piece(piece, first=first is None)
        # Before the end: who has heard [DONE] finds it in the ledger, and may ask again.
        ended, usage = answer.end(), form.usage(answer)
        await ended
        yield usage + _DONE
    except Broken:
        error = {"message": "The answer broke off.", "type": "server_error", "param": None, "code": str(Code.BROKEN)}
        yield b"data: " + json.dumps({"error": error}).encode() + b"\n\n"


def _usage(answer: Answer) -> dict[str, Any]:
    used = answer.counted
    return {
        "prompt_tokens": used.tokens_in,
        "completion_tokens": used.tokens_out,
        "total_tokens": used.tokens,
        "leerlab": answer.energy.told(),
    }


def _energy_header(answer: Answer) -> dict[str, str]:
    joules = answer.energy.joules
    return {JOULES: f"{joules:.3f}"} if joules is not None else {}


def _vectors(told: dict[str, Any], count: int) -> list[dict[str, Any]]:
    data = told.get("data")
    if not isinstance(data, list) or len(data) != count:
        raise _broken()
    found = []
    for index, one in enumerate(data):
        numbers = one.get("embedding") if isinstance(one, dict) else None
        if not isinstance(numbers, list) or not 0 < len(numbers) <= _EMBEDDING_NUMBERS:
            raise _broken()
        if not all(type(number) in (int, float) for number in numbers):
            raise _broken()
        found.append({"object": "embedding", "index": index, "embedding": numbers})
    return found


def _packed(numbers: list[float]) -> str:
    """As OpenAI's `base64`: 32-bit floats, little-endian."""
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def _as_openai(model: str) -> dict[str, Any]:
    return {"id": model, "object": "model", "created": 0, "owned_by": "leerlab"}


def _no_such_model() -> Refusal:
    return Refusal(HTTPStatus.NOT_FOUND, Code.MODEL, Message("assistant.wrong.no-model"), param="model")


def _broken() -> Refusal:
    return Refusal(HTTPStatus.BAD_GATEWAY, Code.BROKEN, Message("assistant.broken"))


def application(gateway: Gateway, lifespan: Any = None) -> Starlette:
    """The gateway's web application.

    Args:
        lifespan: of Starlette.
    """

    async def status(_request: Request) -> Response:
        """That the gateway answers; asks nothing and says nothing else."""
        return JSONResponse({"status": "ok"})

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        return JSONResponse(error.body(gateway.language_of(request)), status_code=error.status, headers=error.headers)

    async def nothing_there(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        known = HTTPStatus(error.status_code)
        refusal = Refusal(known, Code.WRONG, Message("assistant.wrong.path"))
        return JSONResponse(refusal.body(gateway.language_of(request)), status_code=error.status_code)

    async def gone(_request: Request, _error: Exception) -> Response:
        return Response(status_code=HTTPStatus.BAD_REQUEST)

    return Starlette(
        routes=[Route("/status", status, methods=["GET"]), *gateway.routes()],
        exception_handlers={Refusal: refused, HTTPException: nothing_there, ClientDisconnect: gone},
        lifespan=lifespan,
    )
