"""The gateway: one web application on a unix socket, OpenAI's API for who may ask (decision 3).

`GET /v1/models`, `POST /v1/chat/completions`, `POST /v1/embeddings`, `GET /policy`: each with the server's own token.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from assistant.answers import Answer, Desk, body_of, unless_gone
from assistant.backends import Backend, Broken
from assistant.errors import Code, Refusal, unreachable, wrong
from assistant.forms import Form, Stream, as_openai, broken_off, energy_header, packed, streamed, vectors
from assistant.identity import Asker, Hub
from assistant.policy import Allowed, Place, Purpose, allowed, charged
from assistant.questions import LARGEST_BODY, ChatQuestion, chat_question, embedding_question
from assistant.settings import AssistantSettings
from base.errors import LeerlabError
from base.i18n import choose_language
from base.messages import Message
from base.settings import BothLanguages
from ledger.answers import Account

log = logging.getLogger("assistant")


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
        data = [as_openai(model) for model in asked.allowed.models]
        return JSONResponse({"object": "list", "data": data})

    async def model(self, request: Request) -> Response:
        """One of them."""
        asked = await self._allowed(request)
        model = request.path_params["model"]
        if model not in asked.allowed.models:
            raise _no_such_model()
        return JSONResponse(as_openai(model))

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
        form = Form(question, asked.language)
        try:
            return await unless_gone(request, self._chat(answer, question, form))
        except BaseException:
            answer.end()
            raise

    async def _chat(self, answer: Answer, question: ChatQuestion, form: Form) -> Response:
        longest = await answer.begin(question.longest)
        await answer.ask("/chat/completions", question.passed_on("", longest))
        coming = answer.pieces(longest)
        try:
            # A model that refuses does so before its first piece: that is still an answer with a status of its own.
            first = await anext(coming, None)
            if question.stream:
                return Stream(answer, streamed(answer, first, coming, form))
            heard = [] if first is None else [first]
            heard += [piece async for piece in coming]
        except Broken:
            raise broken_off() from None
        await answer.end()
        return JSONResponse(form.whole(answer, heard), headers=energy_header(answer))

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
        data = vectors(told, len(question.texts))
        if question.encoding_format == "base64":
            data = [{**one, "embedding": packed(one["embedding"])} for one in data]
        used = answer.counted
        usage = {"prompt_tokens": used.tokens_in, "total_tokens": used.tokens, "leerlab": answer.energy.told()}
        model = question.model
        return JSONResponse(
            {"object": "list", "data": data, "model": model, "usage": usage}, headers=energy_header(answer)
        )

    async def _embedded(self, answer: Answer, body: dict[str, Any]) -> dict[str, Any]:
        await answer.begin(0)
        await answer.ask("/embeddings", body)
        try:
            return await answer.whole()
        except (Broken, TimeoutError):
            raise broken_off() from None

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


def _no_such_model() -> Refusal:
    return Refusal(HTTPStatus.NOT_FOUND, Code.MODEL, Message("assistant.wrong.no-model"), param="model")


class OneLength:
    """Refuses a request that gives its body two lengths, and ends the connection (RFC 9112, section 6.3).

    Another reader on the way could take the end of its body for the next request.

    Args:
        app: what is asked otherwise.
        gateway: knows in which language is answered.
    """

    def __init__(self, app: ASGIApp, gateway: Gateway) -> None:
        self._app, self._gateway = app, gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] == "http":
            request = Request(scope)
            if {"content-length", "transfer-encoding"} <= set(request.headers):
                refusal = Refusal(HTTPStatus.BAD_REQUEST, Code.TWO_LENGTHS, Message("assistant.wrong.lengths"))
                body = refusal.body(self._gateway.language_of(request))
                await JSONResponse(body, refusal.status, refusal.headers)(scope, receive, send)
                return
        await self._app(scope, receive, send)


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

    async def failed(request: Request, error: Exception) -> Response:
        log.error("%s", error)
        refusal = unreachable("assistant.unreachable.ledger")
        return JSONResponse(
            refusal.body(gateway.language_of(request)), status_code=refusal.status, headers=refusal.headers
        )

    async def gone(_request: Request, _error: Exception) -> Response:
        return Response(status_code=HTTPStatus.BAD_REQUEST)

    return Starlette(
        routes=[Route("/status", status, methods=["GET"]), *gateway.routes()],
        exception_handlers={
            Refusal: refused,
            LeerlabError: failed,
            HTTPException: nothing_there,
            ClientDisconnect: gone,
        },
        middleware=[Middleware(OneLength, gateway=gateway)],
        lifespan=lifespan,
    )
