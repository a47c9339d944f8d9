"""The grading service: one web application on a unix socket, for the exchange and for graded execution."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from grading.errors import GradingError

log = logging.getLogger("grading")


def application(
    routes: list[Route], lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]] | None = None
) -> Starlette:
    """The service's web application.

    Args:
        routes: of `exchange.ExchangeRoutes` and `execution_routes.ExecutionRoutes`.
        lifespan: what must run while the service runs.
    """

    async def status(_request: Request) -> Response:
        """That the service answers; asks nothing and says nothing else."""
        return JSONResponse({"status": "ok"})

    return Starlette(
        routes=[Route("/status", status, methods=["GET"]), *routes],
        exception_handlers={GradingError: _said},
        lifespan=lifespan or _nothing,
    )


async def _said(request: Request, error: Exception) -> Response:
    """A refusal as JSON, so that the lab can say it to the person."""
    if not isinstance(error, GradingError):
        raise error
    log.info("%s %s: %d %s", request.method, request.url.path, error.status, error)
    return JSONResponse(
        {"code": error.code, "what": error.what, "means": error.means, "do": error.do}, status_code=error.status
    )


@asynccontextmanager
async def _nothing(_application: Starlette) -> AsyncIterator[None]:
    yield
