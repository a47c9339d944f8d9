"""The portal as one web application: each route of `portal.access.TABLE` with what carries it out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Match, Route

from base.i18n import LANGUAGES
from portal import request as page_request
from portal.access import TABLE, Entry, Who, require
from portal.assets import STATIC
from portal.boxes import Boxes
from portal.configuration import PortalConfiguration
from portal.errors import HubSilent, NotLoggedIn, Refused, absent
from portal.forms import fields, require_origin
from portal.gate import Gate
from portal.hub import Hub
from portal.language import safe_return
from portal.live import Streams, Watched
from portal.login import Login
from portal.pages import LivePage, Pages
from portal.people import Visitor
from portal.servers import Kind, kind_of
from portal.site import SiteView
from portal.snapshot import Looks
from sandboxes.keeper import Keeper
from spawners.options import SERVER_NAME

YEAR = 365 * 24 * 3600
log = logging.getLogger("portal")

# Carries out a route for whoever may use it; a POST's fields have been checked already.
Act = Callable[[Request, Visitor, dict[str, str]], Awaitable[Response]]


@dataclass(frozen=True)
class Parts:
    """What the application is made of.

    Args:
        configuration: of the portal.
        site: the site.
        hub: the hub.
        looks: what runs.
        login: who asks.
        pages: draws.
        live: the live pages by their name in the table.
        acts: what carries out the other routes that need a person, by name; without sandboxes theirs are absent.
        boxes: the sandboxes; None when the site has none.
        keeper: brings ended sandboxes to their end; None when the site has none.
        own_bodies: routes that read their own body, and check its token themselves.
    """

    configuration: PortalConfiguration
    site: SiteView
    hub: Hub
    looks: Looks
    login: Login
    pages: Pages
    live: dict[str, LivePage]
    acts: dict[str, Act]
    boxes: Boxes | None
    keeper: Keeper | None = None
    own_bodies: frozenset[str] = frozenset()


def named(given: dict[str, str]) -> str:
    """The name of the server that a form is about; empty for the first.

    Raises:
        Refused: it is no name of a server.
    """
    name = given.get("server", "").strip()
    if name and not SERVER_NAME.fullmatch(name):
        raise Refused(400, "server-name", "Not a name of a server.")
    return name


async def _absent(_request: Request, _visitor: Visitor, _given: dict[str, str]) -> Response:
    """A route of something that this site does not have."""
    raise absent()


class Application:
    """Ties the table to what carries it out.

    Args:
        parts: what the application is made of.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._streams = Streams(parts.pages, parts.looks)
        self._open: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "status": self._status,
            "assets": self._asset,
            "language": self._language,
            "login": parts.login.begin,
            "callback": parts.login.finish,
        }
        self._acts: dict[str, Act] = {
            "logout": self._logout,
            "stop": self._stop,
            "another": self._another,
            "forget": self._forget,
            "lesson": self._lesson,
            "events": self._events,
            **parts.acts,
        }
        self._routes = {name: Route(entry.path, self._endpoint(name), methods=[entry.method], name=name)
                        for name, entry in TABLE.items()}  # fmt: skip

    def starlette(self) -> Starlette:
        """The application."""
        configuration = self._parts.configuration
        gate = Middleware(
            Gate,
            host=configuration.host,
            hub_origin=configuration.hub_origin,
            language=configuration.site.language,
        )

        @asynccontextmanager
        async def lifespan(_application: Starlette) -> AsyncIterator[None]:
            keeper = self._parts.keeper
            keeping = asyncio.create_task(keeper.run()) if keeper is not None else None
            yield
            if keeping is not None:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)
            await self._parts.looks.close()
            await self._parts.hub.close()

        return Starlette(
            routes=list(self._routes.values()),
            middleware=[gate],
            exception_handlers={
                Refused: self._refused,
                NotLoggedIn: self._not_logged_in,
                HubSilent: self._hub_silent,
                HTTPException: self._http,
                Exception: self._broken,
            },
            lifespan=lifespan,
        )

    def _endpoint(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        entry = TABLE[name]
        if entry.who is Who.ANYBODY:
            return self._open[name]
        page = self._parts.live.get(name)
        act = None if page else self._acts.get(name, _absent)

        async def endpoint(request: Request) -> Response:
            if entry.method == "POST":
                require_origin(request, self._parts.configuration.origin)
            visitor = await self._let_in(entry, request, {k: str(v) for k, v in request.path_params.items()})
            if page is not None:
                return await self._parts.pages.live(page, request, visitor)
            assert act is not None
            reads = entry.method == "POST" and name not in self._parts.own_bodies
            given = await fields(request, visitor) if reads else {}
            return await act(request, visitor, given)

        return endpoint

    async def _let_in(self, entry: Entry, request: Request, parameters: dict[str, str]) -> Visitor:
        visitor = await self._parts.login.visitor(request)
        require(entry, visitor, parameters, self._parts.site.courses)
        if entry.who is Who.MEMBER:
            if self._parts.boxes is None:
                raise absent()
            await self._parts.boxes.get(parameters["sandbox"], visitor.name)
        return visitor

    async def _status(self, _request: Request) -> Response:
        """That the portal answers; asks nothing and says nothing else."""
        return JSONResponse({"status": "ok"})

    async def _asset(self, request: Request) -> Response:
        # By its name among those there are, so no path can lead elsewhere.
        path = {one.name: one for one in STATIC.iterdir()}.get(request.path_params["name"])
        if path is None:
            raise absent()
        lasting = f"public, max-age={YEAR}, immutable" if request.query_params.get("v") else "no-cache"
        return FileResponse(path, headers={"Cache-Control": lasting})

    async def _language(self, request: Request) -> Response:
        """Remember the language in this browser, on the hub's pages too, and go back."""
        language = request.query_params.get("to", "")
        if language not in LANGUAGES:
            raise Refused(400, "wrong", "Unknown language.")
        answer = RedirectResponse(safe_return(request.query_params.get("next", ""), "/"), 302)
        answer.set_cookie(
            page_request.LANGUAGE_COOKIE, language, max_age=YEAR, path="/", httponly=True, samesite="lax",
            domain=self._parts.configuration.domain, secure=self._parts.configuration.https,
        )  # fmt: skip
        return answer

    async def _logout(self, _request: Request, visitor: Visitor, _given: dict[str, str]) -> Response:
        return self._parts.login.leave(visitor)

    async def _stop(self, request: Request, visitor: Visitor, given: dict[str, str]) -> Response:
        """Stop a server with the person's own token; the hub decides."""
        back = safe_return(given.get("next", ""), "/")
        owner = request.path_params["owner"]
        if not await self._parts.hub.stop(visitor.token, owner, named(given)):
            if kind_of(owner)[0] is Kind.SANDBOX and not visitor.may_stop(owner):
                # The token is older than the sandbox; a new one comes without a question.
                return self._parts.login.again(back)
            raise absent()
        return RedirectResponse(f"{urlsplit(back).path}?changed=1", 303)

    async def _another(self, _request: Request, visitor: Visitor, given: dict[str, str]) -> Response:
        """Go on to the hub's page that starts one more server of the person's own; the hub decides."""
        name = named(given)
        if not name or not self._parts.site.named_servers(visitor.groups):
            raise Refused(400, "wrong", "No server of this name may be made by this person.")
        return RedirectResponse(self._parts.site.start_url(visitor.name, "lab", server=name), 303)

    async def _forget(self, request: Request, visitor: Visitor, given: dict[str, str]) -> Response:
        """Stop a server with a name and forget the name, with the person's own token; files stay."""
        name = named(given)
        if not name or not await self._parts.hub.stop(visitor.token, request.path_params["owner"], name, remove=True):
            raise absent()
        return RedirectResponse("/?changed=1", 303)

    async def _lesson(self, request: Request, visitor: Visitor, _given: dict[str, str]) -> Response:
        """Start the class's servers with the teacher's own token; the hub decides, and the course's page tells."""
        course = request.path_params["course"]
        started = await self._parts.hub.start_class(visitor.token, course)
        if started is None:
            raise absent()
        return RedirectResponse(f"/courses/{course}?changed=1&{urlencode(vars(started))}", 303)

    async def _events(self, request: Request, visitor: Visitor, _given: dict[str, str]) -> Response:
        """The stream of one open page, for who may see that page."""
        watched, entry = self._watched(request.query_params.get("page", "/"))

        async def again() -> Visitor:
            return await self._let_in(entry, request, dict(watched.parameters))

        await again()
        stream = self._streams.stream(watched, visitor.session, again)
        return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    def _watched(self, path: str) -> tuple[Watched, Entry]:
        """The live page at a path, and its entry in the table."""
        scope: dict[str, Any] = {"type": "http", "method": "GET", "path": path, "root_path": ""}
        for name, page in self._parts.live.items():
            matched, found = self._routes[name].matches(scope)
            if matched is Match.FULL:
                parameters = {key: str(value) for key, value in found["path_params"].items()}
                return Watched(page, parameters, path), TABLE[name]
        raise absent()

    async def _refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        log.info("%s %s: %d %s", request.method, request.url.path, error.status, error)
        return await self._parts.pages.problem(error.reason, error.status)

    async def _not_logged_in(self, request: Request, _error: Exception) -> Response:
        if request.url.path == TABLE["events"].path:
            return Response(status_code=401)
        goal = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return self._parts.login.again(goal if request.method == "GET" else "/")

    async def _hub_silent(self, _request: Request, error: Exception) -> Response:
        log.warning("%s", error)
        return await self._parts.pages.problem("unseen", 503)

    async def _http(self, _request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return await self._parts.pages.problem("absent" if error.status_code == 404 else "wrong", error.status_code)

    async def _broken(self, request: Request, error: Exception) -> Response:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return await self._parts.pages.problem("broken", 500)
