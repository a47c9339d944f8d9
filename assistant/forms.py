"""How answers are written: OpenAI's objects, with names of our own and nothing else of what a model says.

https://platform.openai.com/docs/api-reference/chat/object, .../chat/streaming and .../embeddings/object.
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import time
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from assistant.answers import ANSWER_SECONDS, Answer, unless_gone
from assistant.backends import Broken, Piece
from assistant.errors import Code, Refusal
from assistant.questions import ChatQuestion
from base.messages import Message

JOULES = "Leerlab-Joules"
"""Header of an answer that comes at once: its energy."""
_DONE = b"data: [DONE]\n\n"
_EMBEDDING_NUMBERS = 16_384


def broken_off() -> Refusal:
    """The answer broke off."""
    return Refusal(HTTPStatus.BAD_GATEWAY, Code.BROKEN, Message("assistant.broken"))


class Form:
    """How one chat's answer is written: OpenAI's objects, with names of our own and nothing else of the model's."""

    def __init__(self, question: ChatQuestion, language: str) -> None:
        self._question, self._language = question, language
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
        return self._beginning + b'[], "usage": ' + json.dumps(usage_of(answer)).encode() + b"}\n\n"

    def broken(self) -> bytes:
        """The last event of an answer that broke off."""
        return b"data: " + json.dumps(broken_off().body(self._language)).encode() + b"\n\n"

    def whole(self, answer: Answer, heard: list[Piece]) -> dict[str, Any]:
        """An answer that comes at once."""
        finish = next((piece.finish for piece in heard if piece.finish), "stop")
        message = {"role": "assistant", "content": "".join(piece.text for piece in heard)}
        choice = {"index": 0, "message": message, "finish_reason": finish}
        return {**self._about, "object": "chat.completion", "choices": [choice], "usage": usage_of(answer)}


class Stream(StreamingResponse):
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


async def streamed(
    answer: Answer, first: Piece | None, coming: AsyncIterator[Piece], form: Form
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
        yield form.broken()


def usage_of(answer: Answer) -> dict[str, Any]:
    """What a chat's answer took."""
    used = answer.counted
    return {
        "prompt_tokens": used.tokens_in,
        "completion_tokens": used.tokens_out,
        "total_tokens": used.tokens,
        "leerlab": answer.energy.told(),
    }


def energy_header(answer: Answer) -> dict[str, str]:
    """The header about energy, where it is known."""
    joules = answer.energy.joules
    return {JOULES: f"{joules:.3f}"} if joules is not None else {}


def vectors(told: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """A model's lists of numbers, one for each text.

    Raises:
        Refusal: it said something else.
    """
    data = told.get("data")
    if not isinstance(data, list) or len(data) != count:
        raise broken_off()
    found = []
    for index, one in enumerate(data):
        numbers = one.get("embedding") if isinstance(one, dict) else None
        if not isinstance(numbers, list) or not 0 < len(numbers) <= _EMBEDDING_NUMBERS:
            raise broken_off()
        if not all(type(number) in (int, float) for number in numbers):
            raise broken_off()
        found.append({"object": "embedding", "index": index, "embedding": numbers})
    return found


def packed(numbers: list[float]) -> str:
    """As OpenAI's `base64`: 32-bit floats, little-endian."""
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def as_openai(model: str) -> dict[str, Any]:
    """A model, as `/v1/models` lists it."""
    return {"id": model, "object": "model", "created": 0, "owned_by": "leerlab"}
