"""The grading service: one web application on a unix socket, for the exchange and for graded execution."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from base.in_force import InForce, KnownCourses
from base.paths import Installation
from grading.configuration import ServiceConfiguration
from grading.errors import GradingError
from grading.exchange import ExchangeRoutes, Journal, Record
from grading.execution_routes import ExecutionRoutes
from grading.executions import Cluster, ExecutionLimits, Executions
from grading.identity import Hub, hub_client
from grading.people import PeopleRoutes
from grading.receipt import key_from
from grading.store import Store
from grading.terms_routes import TermsRoutes
from grading.terms_shelf import TermsShelf

log = logging.getLogger("grading")


def grading_service(
    configuration: ServiceConfiguration, *, installation: Installation, cluster: Cluster, record: Record
) -> Starlette:
    """The whole service, from its configuration.

    Args:
        installation: the environments and code that graded notebooks use.
        cluster: Slurm's commands.
        record: `ledger.store.Ledger.record`; called in a thread.

    Raises:
        OSError: the token cannot be read, or the folders cannot be written.
    """
    folders = configuration.folders
    store = Store(folders.exchange, configuration.limits)
    store.clear_incoming()
    hub = Hub(
        hub_client(configuration.hub),
        configuration.token_file.read_text("ascii").strip(),
        KnownCourses(frozenset(configuration.courses), InForce(folders.published)),
    )
    limits = ExecutionLimits(
        configuration.grading.cell_time.seconds_total,
        configuration.grading.notebook_time.seconds_total,
        configuration.limits,
    )
    executions = Executions(
        hub=configuration.hub_id,
        state=folders,
        installation=installation,
        limits=limits,
        profile=configuration.profile,
        confinement=configuration.confinement,
        cluster=cluster,
        interval=configuration.slurm_interval,
        account=configuration.account,
    )
    journal, terms = Journal(record), TermsShelf(folders.exchange)
    routes = [
        *ExchangeRoutes(store, terms, hub, journal, key_from(folders.secrets / "receipts")).routes(),
        *ExecutionRoutes(executions, hub, journal, limits, configuration.profile).routes(),
        *PeopleRoutes(store, hub).routes(),
        *TermsRoutes(store, terms, hub, journal).routes(),
    ]
    return application(routes, hub.close, executions.clear_old)


def application(
    routes: list[Route], close: Callable[[], Awaitable[None]], clear: Callable[[], Coroutine[Any, Any, object]]
) -> Starlette:
    """The service's web application.

    Args:
        routes: of `exchange.ExchangeRoutes` and `execution_routes.ExecutionRoutes`.
        close: called when the service ends.
        clear: removes what is old, while the service answers already.
    """

    async def status(_request: Request) -> Response:
        """That the service answers; asks nothing and says nothing else."""
        return JSONResponse({"status": "ok"})

    @asynccontextmanager
    async def lifespan(_application: Starlette) -> AsyncIterator[None]:
        clearing = asyncio.create_task(clear())
        yield
        clearing.cancel()
        (ended,) = await asyncio.gather(clearing, return_exceptions=True)
        if isinstance(ended, Exception):
            log.error("Old executions were not cleared", exc_info=ended)
        await close()

    return Starlette(
        routes=[Route("/status", status, methods=["GET"]), *routes],
        exception_handlers={GradingError: _said},
        lifespan=lifespan,
    )


async def _said(request: Request, error: Exception) -> Response:
    """A refusal as JSON, so that the lab can say it to the person."""
    if not isinstance(error, GradingError):
        raise error
    log.info("%s %s: %d %s", request.method, request.url.path, error.status, error)
    return JSONResponse(
        {"code": error.code, "what": error.what, "means": error.means, "do": error.do}, status_code=error.status
    )
