"""The listener for jobs' wrappers: the one thing that a model's job may tell, with the secret of its start."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from assistant.serving import LocalModel, model_of

_SCHEME = "start "
_REPORT = re.compile(rb'\{"port": ?([1-9][0-9]{3,4})\}')
_LARGEST = 64
_START_SECONDS, _STOP_SECONDS = 10.0, 2


def reports(models: Sequence[LocalModel]) -> Starlette:
    """`POST /starts/<start id>`: 204 taken, 400 no port, 403 wrong secret, 404 no such start, 409 another port."""

    async def report(request: Request) -> Response:
        told = request.headers.get("content-length", "")
        if not told.isdigit() or int(told) > _LARGEST:
            return Response(status_code=400)
        found = _REPORT.fullmatch(await request.body())
        given = request.headers.get("authorization", "")
        if found is None or not 1024 <= int(found[1]) <= 65535:
            return Response(status_code=400)
        if not given.startswith(_SCHEME):
            return Response(status_code=403)
        secret = given.removeprefix(_SCHEME)
        return Response(status_code=model_of(models, request.path_params["start"], secret, int(found[1])))

    return Starlette(routes=[Route("/starts/{start}", report, methods=["POST"])])


class _Quiet(uvicorn.Server):
    """A second server in one process: signals are the first one's."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Reports:
    """Serves the listener.

    Args:
        models: whose jobs report.
        path: of its unix socket.
    """

    def __init__(self, models: Sequence[LocalModel], path: Path) -> None:
        settings = uvicorn.Config(
            reports(models), uds=str(path), log_config=None, access_log=False, server_header=False, lifespan="off",
            timeout_graceful_shutdown=_STOP_SECONDS,
        )  # fmt: skip
        self._server = _Quiet(settings)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            TimeoutError: it does not.
        """
        self._task = asyncio.create_task(self._server.serve())
        async with asyncio.timeout(_START_SECONDS):
            await self._server.listening.wait()

    async def stop(self) -> None:
        """Listen no more."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
