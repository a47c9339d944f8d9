"""Asking a model's server, and passing on what it says; what an answer took is added to what it says of its tokens."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx

from assistant.errors import Refused, unreachable, wrong
from assistant.serving import Backend

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 120.0
"""Longest time without a word from the model's server."""
_LARGEST = 8 * 2**20
_MOST_TOKENS = 10**9
_DATA, _DONE, _END = b"data:", b"[DONE]", b"\n\n"

log = logging.getLogger("assistant")


@dataclass
class Took:
    """What an answer took, as far as is known by now.

    Args:
        question: tokens of the question: estimated, until the model's server says.
        answer: tokens of the answer: pieces counted, until the model's server says.
        joules: energy; None where nothing is known of it.
        whole: whether the answer came to its end.
    """

    question: int
    answer: int = 0
    joules: float | None = None
    whole: bool = False

    def told(self, usage: Any) -> None:
        """Take over what the model's server says of it; what is no usage says nothing."""
        if not isinstance(usage, dict):
            return
        counts = [usage.get("prompt_tokens"), usage.get("completion_tokens", 0)]
        if all(type(count) is int and 0 <= count < _MOST_TOKENS for count in counts):
            self.question, self.answer = (int(count) for count in counts)

    def usage(self, said: Any) -> dict[str, Any]:
        """The usage with what Leerlab adds."""
        plain = said if isinstance(said, dict) else {}
        joules = None if self.joules is None else round(self.joules, 3)
        return {**plain, "leerlab": {"joules": joules, "measured": False}}


def client() -> httpx.AsyncClient:
    """A client for models' servers: never through a proxy, and it follows no redirect."""
    return httpx.AsyncClient(
        trust_env=False,
        timeout=httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS, pool=None),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=30),
    )


async def ask(http: httpx.AsyncClient, backend: Backend, path: str, body: dict[str, Any]) -> httpx.Response:
    """Ask, and wait for the beginning of the answer; the caller closes it.

    Raises:
        Refused: nobody answers, or the model's server does not take the question.
    """
    headers = {"Authorization": f"Bearer {backend.key}"} if backend.key else {}
    try:
        response = await http.send(
            http.build_request("POST", backend.url + path, json=body, headers=headers), stream=True
        )
    except httpx.TransportError as error:
        log.warning("%s does not answer: %s", backend.name, type(error).__name__)
        raise unreachable() from error
    if response.status_code == HTTPStatus.OK:
        return response
    try:
        said = await _read(response)
    finally:
        await response.aclose()
    # Its words may repeat the question, so they go to who asked and nowhere else.
    log.warning("%s answered %d", backend.name, response.status_code)
    if response.status_code == HTTPStatus.BAD_REQUEST:
        raise wrong(_reason(said))
    if response.status_code in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        raise Refused(HTTPStatus.TOO_MANY_REQUESTS, "busy", again=5)
    raise unreachable()


def _reason(said: bytes) -> str:
    try:
        return str(json.loads(said)["error"]["message"])[:300]
    except (ValueError, KeyError, TypeError):
        return "the model does not take it"


async def _read(response: httpx.Response) -> bytes:
    content = bytearray()
    try:
        async for piece in response.aiter_raw():
            content += piece
            if len(content) > _LARGEST:
                raise unreachable()
    except httpx.TransportError as error:
        raise unreachable() from error
    return bytes(content)


async def whole(response: httpx.Response, took: Took) -> dict[str, Any]:
    """An answer that comes in one piece.

    Raises:
        Refused: it broke off, or is no answer.
    """
    try:
        said = json.loads(await _read(response))
    except ValueError as error:
        raise unreachable() from error
    if not isinstance(said, dict):
        raise unreachable()
    took.told(said.get("usage"))
    took.whole = True
    return said


async def events(response: httpx.Response, took: Took) -> AsyncIterator[tuple[bytes, Any]]:
    """The events of a stream, each as it came (https://html.spec.whatwg.org/multipage/server-sent-events.html).

    Yields:
        The event, and its usage where it tells one. What comes after `[DONE]`, and that itself, is left out.

    Raises:
        httpx.TransportError: it broke off.
    """
    waiting = b""
    async for piece in response.aiter_raw():
        *whole_events, waiting = (waiting + piece).split(_END)
        if len(waiting) > _LARGEST:
            raise httpx.ReadError("an event without end")
        for event in whole_events:
            if not event.startswith(_DATA):
                continue
            if event[len(_DATA) :].strip() == _DONE:
                took.whole = True
                return
            took.answer += 1
            # Only the last piece tells what was used; the others need not be read.
            usage = _usage(event) if b'"usage"' in event else None
            if usage is not None:
                took.told(usage)
            yield event + _END, usage


def _usage(event: bytes) -> Any:
    try:
        return json.loads(event[len(_DATA) :]).get("usage")
    except (ValueError, AttributeError):
        return None


def with_usage(event: bytes, took: Took) -> bytes:
    """The event that tells what was used, with what Leerlab adds."""
    said = json.loads(event[len(_DATA) :])
    said["usage"] = took.usage(said.get("usage"))
    return _DATA + b" " + json.dumps(said).encode() + _END


def as_event(body: object) -> bytes:
    """One event of our own."""
    return _DATA + b" " + json.dumps(body).encode() + _END


DONE = _DATA + b" " + _DONE + _END
