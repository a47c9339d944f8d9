"""The grading service: one web application on a unix socket, for the exchange and for graded execution."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from base.in_force import InForce, KnownCourses
from base.paths import Installation
from grading.class_run_routes import ClassRunRoutes
from grading.class_runs import ClassRuns, Paces
from grading.configuration import ServiceConfiguration
from grading.course_server import CourseServer, Ways
from grading.errors import GradingError
from grading.exchange import ExchangeRoutes, Journal, Record
from grading.execution_routes import ExecutionRoutes
from grading.executions import Cluster, ExecutionLimits, Executions
from grading.grade_rules import GradeRules
from grading.identity import Hub, hub_client
from grading.people import PeopleRoutes
from grading.receipt import key_from
from grading.run_records import Records
from grading.store import Store
from grading.terms_routes import TermsRoutes
from grading.terms_shelf import TermsShelf

log = logging.getLogger("grading")


def grading_service(
    configuration: ServiceConfiguration,
    *,
    installation: Installation,
    cluster: Cluster,
    record: Record,
    paces: Paces = Paces(),  # noqa: B008 - frozen
) -> Starlette:
    """The whole service, from its configuration.

    Args:
        installation: the environments and code that graded notebooks use.
        cluster: Slurm's commands.
        record: `ledger.store.Ledger.record`; called in a thread.
        paces: how fast class runs follow what makes them due.

    Raises:
        OSError: the token cannot be read, or the folders cannot be written.
    """
    folders = configuration.folders
    store = Store(folders.exchange, configuration.limits)
    store.clear_incoming()
    token, in_force = configuration.token_file.read_text("ascii").strip(), InForce(folders.published)
    hub = Hub(hub_client(configuration.hub), token, KnownCourses(frozenset(configuration.courses), in_force))
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
    of_courses = {name: configuration.grade_of.get(name, {}) for name in configuration.courses}
    rules = GradeRules(configuration.grade, of_courses, in_force)
    # Courses' servers are reached through the site's own proxy, never one that the environment names.
    ways = Ways(
        hub_client(configuration.hub), token, httpx.AsyncClient(base_url=configuration.proxy, trust_env=False),
        configuration.host, https=configuration.https,
    )  # fmt: skip
    runs = ClassRuns(
        store, Records(folders.class_runs), rules, server=lambda course: CourseServer(course, ways),
        deadline=lambda course, assignment: terms.rules(course, assignment, "").due, journal=journal,
        now=partial(datetime.now, ZoneInfo(configuration.time_zone)), paces=paces,
    )  # fmt: skip
    receipts = key_from(folders.secrets / "receipts")
    routes = [
        *ExchangeRoutes(store, terms, hub, journal, receipts, handed_in=runs.handed_in).routes(),
        *ExecutionRoutes(executions, hub, journal, limits, configuration.profile).routes(),
        *PeopleRoutes(store, hub).routes(),
        *TermsRoutes(store, terms, hub, journal).routes(),
        *ClassRunRoutes(runs, rules, store, token).routes(),
    ]

    async def close() -> None:
        for one in (hub, ways):
            await one.close()

    return application(routes, close, executions.clear_old, runs.run)


def application(
    routes: list[Route],
    close: Callable[[], Awaitable[None]],
    clear: Callable[[], Coroutine[Any, Any, object]],
    grade: Callable[[], Coroutine[Any, Any, object]],
) -> Starlette:
    """The service's web application.

    Args:
        routes: of `exchange.ExchangeRoutes` and `execution_routes.ExecutionRoutes`.
        close: called when the service ends.
        clear: removes what is old, while the service answers already.
        grade: begins class runs, for as long as the service answers.
    """

    async def status(_request: Request) -> Response:
        """That the service answers; asks nothing and says nothing else."""
        return JSONResponse({"status": "ok"})

    @asynccontextmanager
    async def lifespan(_application: Starlette) -> AsyncIterator[None]:
        tasks = {"Old executions are not cleared": clear(), "No class run is begun": grade()}
        owned = [asyncio.create_task(_said_when_broken(trouble, work)) for trouble, work in tasks.items()]
        yield
        for task in owned:
            task.cancel()
        await asyncio.gather(*owned, return_exceptions=True)
        await close()

    return Starlette(
        routes=[Route("/status", status, methods=["GET"]), *routes],
        exception_handlers={GradingError: _said},
        lifespan=lifespan,
    )


async def _said_when_broken(trouble: str, work: Coroutine[Any, Any, object]) -> None:
    """Do something beside the answers; say at once when it breaks."""
    try:
        await work
    except Exception:
        log.exception("%s until the service is started again", trouble)


async def _said(request: Request, error: Exception) -> Response:
    """A refusal as JSON, so that the lab can say it to the person."""
    if not isinstance(error, GradingError):
        raise error
    log.info("%s %s: %d %s", request.method, request.url.path, error.status, error)
    return JSONResponse(
        {"code": error.code, "what": error.what, "means": error.means, "do": error.do}, status_code=error.status
    )
