"""Asks the gateway one question and gives its answer piece by piece: OpenAI's chat API with streaming.

Protocol: https://platform.openai.com/docs/api-reference/chat/streaming (server-sent events, `data: [DONE]` at the end).
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

Messages = Sequence[Mapping[str, str]]
LONGEST_ANSWER = 256
"""Tokens."""
CONNECT, SILENCE = 5.0, 120.0
"""Seconds to reach the gateway, and seconds without a word from it."""


class Why(StrEnum):
    """Why there is no answer."""

    OFF = "off"
    BUDGET = "budget"
    BUSY = "busy"
    STARTING = "starting"
    UNREACHABLE = "unreachable"
    BROKEN = "broken"
    OTHER = "other"


class Refused(Exception):
    """There is no answer, or no whole one.

    Args:
        why: the kind of refusal.
        said: the gateway's own sentence; may be empty.
        again: seconds after which asking again makes sense, where the gateway said so.
    """

    def __init__(self, why: Why, said: str = "", again: float | None = None) -> None:
        super().__init__(f"{why}: {said}" if said else str(why))
        self.why, self.said, self.again = why, said, again


@dataclass(frozen=True)
class Spent:
    """What an answer took.

    Args:
        tokens: of question and answer together.
        joules: energy; None where the gateway did not say.
        measured: whether the energy was measured, rather than reckoned from a model.
    """

    tokens: int
    joules: float | None
    measured: bool = False


_CODES = {
    HTTPStatus.UNAUTHORIZED: Why.OFF,
    HTTPStatus.FORBIDDEN: Why.OFF,
    HTTPStatus.TOO_MANY_REQUESTS: Why.BUDGET,
    HTTPStatus.SERVICE_UNAVAILABLE: Why.STARTING,
    HTTPStatus.BAD_GATEWAY: Why.UNREACHABLE,
    HTTPStatus.GATEWAY_TIMEOUT: Why.UNREACHABLE,
}


def question(model: str, messages: Messages) -> dict[str, Any]:
    """The body of a request."""
    return {
        "model": model,
        "messages": list(messages),
        "max_tokens": LONGEST_ANSWER,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def refused(status: int, body: bytes, again: str | None = None) -> Refused:
    """What an answer other than 200 means.

    Args:
        body: OpenAI's `{"error": {"code", "message"}}`, or anything else.
        again: the header Retry-After.
    """
    try:
        error = json.loads(body)["error"]
        code, said = str(error.get("code") or ""), str(error.get("message") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        code, said = "", ""
    why = Why(code) if code in set(Why) else _CODES.get(HTTPStatus(status), Why.OTHER)
    return Refused(why, said, float(again) if again and again.isdigit() else None)


def piece(line: str) -> str | Spent | None:
    """What one line of the stream says: a piece of the answer, what it took, or nothing.

    Raises:
        Refused: the gateway broke off.
    """
    if not line.startswith("data:") or line[5:].strip() == "[DONE]":
        return None
    try:
        told = json.loads(line[5:])
    except ValueError as broken:
        raise Refused(Why.BROKEN) from broken
    if error := told.get("error"):
        raise Refused(Why.BROKEN, str(error.get("message") or "") if isinstance(error, dict) else "")
    if usage := told.get("usage"):
        own = usage.get("leerlab") or {}
        return Spent(int(usage.get("total_tokens", 0)), own.get("joules"), bool(own.get("measured")))
    choices = told.get("choices") or [{}]
    return (choices[0].get("delta") or {}).get("content") or None


def ended(line: str) -> bool:
    """Whether a line says that the answer is whole."""
    return line.startswith("data:") and line[5:].strip() == "[DONE]"


def _settings(language: str) -> dict[str, Any]:
    import httpx  # noqa: PLC0415 - a tenth of a second, only for who asks

    return {
        # The server's own token, as JupyterHub gave it; the gateway knows from the hub whose it is.
        "headers": {
            "Authorization": f"Bearer {os.environ.get('JUPYTERHUB_API_TOKEN', '')}",
            "Accept-Language": language,
        },
        "timeout": httpx.Timeout(SILENCE, connect=CONNECT),
        "trust_env": False,
    }


async def ask(address: str, model: str, messages: Messages, language: str) -> AsyncIterator[str | Spent]:
    """Ask, and get the answer's pieces as they come, then what it took.

    Args:
        address: the gateway's, such as `http://127.0.0.1:8083/v1`.
        language: in which the gateway says why it refuses.

    Raises:
        Refused: there is no answer, or it broke off.
    """
    import httpx  # noqa: PLC0415

    whole = False
    with _failures(httpx):
        async with (
            httpx.AsyncClient(**_settings(language)) as client,
            _asked(client, address, question(model, messages)) as answer,
        ):
            async for line in answer.aiter_lines():
                whole = whole or ended(line)
                if found := piece(line):
                    yield found
    if not whole:
        raise Refused(Why.BROKEN)


@asynccontextmanager
async def _asked(client: httpx.AsyncClient, address: str, body: dict[str, Any]) -> AsyncIterator[httpx.Response]:
    async with client.stream("POST", f"{address}/chat/completions", json=body) as answer:
        if answer.status_code != HTTPStatus.OK:
            raise refused(answer.status_code, await answer.aread(), answer.headers.get("retry-after"))
        yield answer


def ask_now(address: str, model: str, messages: Messages, language: str) -> Iterator[str | Spent]:
    """As `ask`, for a cell, which waits."""
    import httpx  # noqa: PLC0415

    whole = False
    body = question(model, messages)
    with (
        _failures(httpx),
        httpx.Client(**_settings(language)) as client,
        client.stream("POST", f"{address}/chat/completions", json=body) as answer,
    ):
        if answer.status_code != HTTPStatus.OK:
            raise refused(answer.status_code, answer.read(), answer.headers.get("retry-after"))
        for line in answer.iter_lines():
            whole = whole or ended(line)
            if found := piece(line):
                yield found
    if not whole:
        raise Refused(Why.BROKEN)


@contextmanager
def _failures(httpx: Any) -> Iterator[None]:
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as nobody:
        raise Refused(Why.UNREACHABLE) from nobody
    except httpx.TransportError as broken:
        raise Refused(Why.BROKEN) from broken
