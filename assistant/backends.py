"""Asks a model where it runs, and reads its stream piece by piece; of what it says only text and counts come through.

Protocol: https://platform.openai.com/docs/api-reference/chat/streaming.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx

from assistant.energy import Energy
from assistant.errors import Code, Refusal, unreachable
from assistant.serving import Endpoint, LocalModel
from assistant.settings import RemoteModel
from assistant.turns import Turns
from base.messages import Message

CONNECT_SECONDS = 5.0
LONGEST_LINE = 2**20
LARGEST_ANSWER = 16 * 2**20
"""Bytes of an answer that does not come piece by piece."""
_ERROR_BYTES = 4096
_MOST_SECONDS = 1e6
_FINISHES = frozenset({"stop", "length", "content_filter"})

log = logging.getLogger("assistant")


@dataclass(frozen=True)
class Backend:
    """One model of the site.

    Args:
        id: what people call it.
        does: `chat` or `embeddings`.
        context: most tokens of question and answer together.
        turns: who may ask it now.
        local: its job, or None for one behind an address.
        remote: where it is, or None for one with a job.
        watts_per_core: for a local model's energy.
    """

    id: str
    does: str
    context: int
    turns: Turns
    local: LocalModel | None = None
    remote: RemoteModel | None = None
    watts_per_core: float = 0.0

    async def endpoint(self) -> Endpoint:
        """Where it answers now.

        Raises:
            Refusal: it is starting, or cannot be reached.
        """
        if self.local is not None:
            return self.local.endpoint()
        assert self.remote is not None
        key = ""
        if self.remote.key_file is not None:
            try:
                key = (await asyncio.to_thread(Path(self.remote.key_file).read_text, "ascii")).strip()
            except (OSError, ValueError) as error:
                log.error("The key of model %s cannot be read: %s", self.id, error)
                raise unreachable("assistant.unreachable.model", status=HTTPStatus.BAD_GATEWAY) from None
        return Endpoint(self.remote.address.rstrip("/"), key, self.remote.name)

    def energy(self, usage: Usage) -> Energy:
        """What an answer took.

        Args:
            usage: as the model told it.
        """
        if self.remote is not None and self.remote.joules_per_token is not None:
            return Energy(self.remote.joules_per_token * usage.tokens, source="facility")
        if self.local is not None and usage.cpu_seconds is not None:
            return Energy(usage.cpu_seconds * self.watts_per_core, source="cpu-seconds")
        return Energy()


@dataclass(frozen=True)
class Usage:
    """What a model says that an answer took.

    Args:
        tokens_in, tokens_out: of question and answer.
        cpu_seconds: processor time; None where the model does not say.
    """

    tokens_in: int
    tokens_out: int
    cpu_seconds: float | None = None

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out

    @classmethod
    def read(cls, told: object) -> Usage | None:
        """From the field `usage`; None when it is not one."""
        if not isinstance(told, dict):
            return None
        tokens_in, tokens_out = told.get("prompt_tokens"), told.get("completion_tokens", 0)
        seconds = told.get("cpu_seconds")
        if type(tokens_in) is not int or type(tokens_out) is not int or min(tokens_in, tokens_out) < 0:
            return None
        known = isinstance(seconds, float) and 0 <= seconds < _MOST_SECONDS
        return cls(tokens_in, tokens_out, seconds if known else None)


@dataclass(frozen=True)
class Piece:
    """One piece of an answer.

    Args:
        text: may be empty.
        finish: why the answer ends here; empty when it goes on.
        usage: what it took, in the last piece.
    """

    text: str = ""
    finish: str = ""
    usage: Usage | None = None


class Broken(Exception):
    """The answer broke off."""


def http_client(silence: float) -> httpx.AsyncClient:
    """The client for all models: no proxies, no redirects, bounded.

    Args:
        silence: seconds in which the next word must come.
    """
    return httpx.AsyncClient(
        timeout=httpx.Timeout(silence, connect=CONNECT_SECONDS, write=10.0, pool=CONNECT_SECONDS),
        limits=httpx.Limits(max_connections=512, max_keepalive_connections=64),
        trust_env=False,
        follow_redirects=False,
    )


async def asked(
    client: httpx.AsyncClient, backend: Backend, endpoint: Endpoint, path: str, body: dict[str, Any]
) -> httpx.Response:
    """Ask a model; the answer's body is still to be read, and the answer to be closed.

    Args:
        path: below the endpoint's address, such as `/chat/completions`.
        body: what to ask.

    Raises:
        Refusal: nobody answers, or the model refuses.
    """
    headers = {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
    request = client.build_request("POST", endpoint.address + path, json=body, headers=headers)
    try:
        answer = await client.send(request, stream=True)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.RemoteProtocolError, httpx.ReadError) as error:
        raise nobody(backend, error) from None
    except httpx.TimeoutException:
        raise unreachable("assistant.unreachable.slow", status=HTTPStatus.GATEWAY_TIMEOUT) from None
    except httpx.HTTPError as error:
        raise nobody(backend, error) from None
    if answer.status_code == HTTPStatus.OK:
        return answer
    try:
        said = await _some(answer)
    finally:
        await answer.aclose()
    raise _refused(backend, answer.status_code, said)


def nobody(backend: Backend, error: Exception) -> Refusal:
    """Nobody answers where a model was: a job of ours is looked after at once."""
    log.warning("Model %s does not answer: %s", backend.id, type(error).__name__)
    if backend.local is not None:
        backend.local.unanswered()
        return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, Code.STARTING, Message("assistant.starting.again"), again=2)
    return unreachable("assistant.unreachable.model", status=HTTPStatus.BAD_GATEWAY)


async def pieces(answer: httpx.Response, most: int) -> AsyncIterator[Piece]:
    """The pieces of a streamed answer; the last has the usage, when the model told it.

    Args:
        answer: of `asked`.
        most: pieces after which it is cut off, for a model that never ends.

    Raises:
        Broken: it ended without its end, or said something that is no answer.
        Refusal: its first word is a refusal.
    """
    count, said, whole = 0, False, False
    try:
        async for line in _lines(answer):
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                whole = True
                break
            piece = _piece(data, first=not said)
            if piece is not None:
                said = True
                count += bool(piece.text)
                if count > most:
                    raise Broken
                yield piece
    except httpx.HTTPError as error:
        raise Broken from error
    if not whole:
        raise Broken


async def _lines(answer: httpx.Response) -> AsyncIterator[bytes]:
    waiting = b""
    async for chunk in answer.aiter_bytes():
        *lines, waiting = (waiting + chunk).split(b"\n")
        if len(waiting) > LONGEST_LINE:
            raise Broken
        for line in lines:
            yield line


def _piece(data: bytes, *, first: bool) -> Piece | None:
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        raise Broken from None
    if not isinstance(told, dict):
        raise Broken
    if told.get("error"):
        if first and _too_long(told["error"]):
            raise Refusal(HTTPStatus.BAD_REQUEST, Code.TOO_LARGE, Message("assistant.wrong.long"))
        raise Broken
    usage = Usage.read(told.get("usage"))
    choices = told.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    delta = choice.get("delta")
    text = delta.get("content") if isinstance(delta, dict) else None
    finish = choice.get("finish_reason")
    piece = Piece(text if isinstance(text, str) else "", finish if finish in _FINISHES else "", usage)
    return piece if piece.text or piece.finish or piece.usage else None


def _too_long(error: object) -> bool:
    kind = str(error.get("type") or "") + str(error.get("code") or "") if isinstance(error, dict) else ""
    return "context" in kind or "too_long" in kind


async def _some(answer: httpx.Response) -> object:
    """The beginning of a refusal, as JSON; None when it is not."""
    read = b""
    try:
        async for chunk in answer.aiter_bytes():
            read += chunk
            if len(read) > _ERROR_BYTES:
                return None
        told = json.loads(read)
    except (httpx.HTTPError, ValueError, RecursionError):
        return None
    return told.get("error") if isinstance(told, dict) else None


def _refused(backend: Backend, status: int, said: object) -> Refusal:
    if status == HTTPStatus.BAD_REQUEST:
        # vLLM and llama.cpp say so of a question that is longer than the model can read.
        code = "assistant.wrong.long" if _too_long(said) else "assistant.wrong.model"
        return Refusal(HTTPStatus.BAD_REQUEST, Code.WRONG, Message(code))
    log.error("Model %s refuses: HTTP %d", backend.id, status)
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        return Refusal(HTTPStatus.TOO_MANY_REQUESTS, Code.BUSY, Message("assistant.busy.model"), again=5)
    return unreachable("assistant.unreachable.model", status=HTTPStatus.BAD_GATEWAY)


async def whole(answer: httpx.Response, most: int = LARGEST_ANSWER) -> dict[str, Any]:
    """An answer that comes at once.

    Raises:
        Broken: it broke off, or is none.
    """
    read = bytearray()
    try:
        async for chunk in answer.aiter_bytes():
            read += chunk
            if len(read) > most:
                raise Broken
        told = json.loads(bytes(read))
    except (httpx.HTTPError, ValueError, RecursionError):
        raise Broken from None
    if not isinstance(told, dict):
        raise Broken
    return told
