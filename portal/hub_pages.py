"""Plugs the pages into JupyterHub: a language per request, our own addresses, values for the templates."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from jupyterhub.handlers.base import BaseHandler
from jupyterhub.handlers.static import CacheControlStaticFilesHandler
from jupyterhub.scopes import needs_scope
from tornado import web
from tornado.httputil import HTTPServerRequest

from base.i18n import LANGUAGES
from portal import request as page_request
from portal.assets import STATIC
from portal.language import safe_return
from portal.profiles import choices_of, free_words
from spawners.stopping import must_do_more_than_look, stop_when_settled

# How long a person's click on "stop" waits before the page that says so is shown.
STOP_SECONDS = 20.0
YEAR = 365 * 24 * 3600


class PageApplication(web.Application):
    """tornado's application that knows, from the first header on, in which language to answer.

    The setting `leerlab_language` is the site's language.
    """

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        """Enter the request, then find its handler. The connection's task runs both, so the handler sees it."""
        page_request.enter(request.headers, request.uri or "/", self.settings.get("leerlab_language", "nl"))
        return super().find_handler(request, **kwargs)


class HomeHandler(BaseHandler):  # type: ignore[misc]  # JupyterHub has no types
    """`/hub/home`: where people come after logging in; goes on to the portal, the setting `leerlab_portal`."""

    @web.authenticated
    def get(self) -> None:
        """Go there; whoever is not logged in logs in first.

        By way of the portal's login, which asks nothing: somebody else may have logged in here since it last did.
        """
        self.redirect(self.settings["leerlab_portal"] + "/login")


class LanguageHandler(BaseHandler):  # type: ignore[misc]  # JupyterHub has no types
    """`/hub/language?to=nl&next=/hub/home`: remembers the language in this browser and goes back."""

    def get(self) -> None:
        """Set the cookie for a year; 400 when the language is not one of ours."""
        language = self.get_argument("to", "")
        if language not in LANGUAGES:
            raise web.HTTPError(400, log_message="unknown language")
        # Of the whole domain, so that the portal speaks it too.
        self.set_cookie(
            page_request.LANGUAGE_COOKIE, language, path="/", max_age=YEAR, samesite="Lax", httponly=True,
            domain=self.settings["leerlab_domain"],
        )  # fmt: skip
        self.redirect(safe_return(self.get_argument("next", ""), f"{self.hub.base_url}home"))


class StopHandler(BaseHandler):  # type: ignore[misc]  # JupyterHub has no types
    """`POST /hub/stop/<person>[/<server>]`: stops a server, or withdraws its start, from a plain form."""

    @web.authenticated
    async def post(self, user_name: str, server_name: str = "") -> None:
        """Stop, then go home; the home page says how far it is."""
        must_do_more_than_look(self.current_user, user_name)
        await self._stop(user_name=user_name, server_name=server_name or "")
        self.redirect(safe_return(self.get_argument("next", ""), f"{self.hub.base_url}home"))

    @needs_scope("delete:servers")  # type: ignore[untyped-decorator]
    async def _stop(self, user_name: str, server_name: str) -> None:
        user = self.find_user(user_name)
        if user is None or server_name not in user.orm_spawners:
            raise web.HTTPError(404)
        spawner = user.spawners[server_name]
        if spawner.pending == "stop":
            return
        if spawner.pending:
            await withdraw(self, user, server_name)
        elif spawner.ready and await spawner.poll_and_notify() is None:
            await asyncio.wait_for(stop_when_settled(self.stop_single_user, user, server_name), timeout=STOP_SECONDS)


class SwitchHandler(BaseHandler):  # type: ignore[misc]  # JupyterHub has no types
    """`POST /hub/switch/<person>[/<server>]`: takes an offer of the waiting page, another profile for a start."""

    @web.authenticated
    async def post(self, user_name: str, server_name: str = "") -> None:
        """Withdraw the start and begin the other one; when that could not start now after all, nothing changes."""
        must_do_more_than_look(self.current_user, user_name)
        taken = await self._switch(user_name=user_name, server_name=server_name or "")
        address = f"{self.hub.base_url}spawn-pending/{quote(user_name, safe='')}"
        if server_name:
            address += f"/{quote(server_name, safe='')}"
        options = {name: value for name, value in (("next", self.get_body_argument("next", "")),) if value}
        if not taken:
            options["taken"] = "no"
        self.redirect(f"{address}?{urlencode(options)}" if options else address)

    @needs_scope("servers")  # type: ignore[untyped-decorator]
    async def _switch(self, user_name: str, server_name: str) -> bool:
        """Whether the other start has begun."""
        user = self.find_user(user_name)
        if user is None or server_name not in user.orm_spawners:
            raise web.HTTPError(404)
        spawner, wanted = user.spawners[server_name], self.get_body_argument("profile")
        offered = {one.id for one in await spawner.offers(oldest=0)} if spawner.pending in ("spawn", "check") else set()
        if wanted not in offered:
            return False
        options = {**(spawner.user_options or {}), "profile": wanted}
        await withdraw(self, user, server_name)
        if user.spawners[server_name].pending:
            return False
        user.get_or_create_spawner(server_name, "", replace_failed=True)._spawn_future = None
        await self.spawn_single_user(user, server_name, options=options)
        return True


async def withdraw(handler: BaseHandler, user: Any, server_name: str) -> None:
    """End a start that is going on, in the order of JupyterHub's own DELETE .../server: cancel it, let it end, stop.

    Args:
        handler: of the request that asks for it.
        user: whose start.
        server_name: of which of their servers; empty for the first.
    """
    spawner = user.spawners[server_name]
    start = spawner._spawn_future
    if start is not None:
        start.cancel()
        await asyncio.wait([start], timeout=STOP_SECONDS)
    if not spawner.pending:
        await asyncio.wait_for(stop_when_settled(handler.stop_single_user, user, server_name), timeout=STOP_SECONDS)


class ChoicesHandler(BaseHandler):  # type: ignore[misc]  # JupyterHub has no types
    """`GET /hub/choices`: what is free now of each profile that the person may choose, for an open start page."""

    @web.authenticated
    async def get(self) -> None:
        """A list of `{id, state, text}`, in the person's language; about nobody else's choices."""
        words = free_words(await choices_of(self.current_user.spawners[""]))
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(words))


class AssetHandler(CacheControlStaticFilesHandler):  # type: ignore[misc]  # JupyterHub has no types
    """Stylesheet, scripts and pictures; kept by the browser for good when asked for by version."""

    def set_extra_headers(self, path: str) -> None:
        """Say how long to keep it, and that its type is what we say it is."""
        self.set_header("X-Content-Type-Options", "nosniff")
        if self.get_argument("v", ""):
            self.set_header("Cache-Control", f"public, max-age={YEAR}, immutable")
        else:
            self.set_header("Cache-Control", "no-cache")


def page_handlers() -> list[tuple[Any, ...]]:
    """Our own addresses, to be put before JupyterHub's own, below the hub's prefix."""
    return [
        (r"/home", HomeHandler),
        (r"/language", LanguageHandler),
        (r"/stop/([^/]+)(?:/([^/]+))?", StopHandler),
        (r"/switch/([^/]+)(?:/([^/]+))?", SwitchHandler),
        (r"/choices", ChoicesHandler),
        (r"/portal/(.*)", AssetHandler, {"path": str(STATIC)}),
    ]


@dataclass(frozen=True)
class Person:
    """Who is logged in, as the shell shows it; pages about another person's server show this one all the same."""

    name: str
    title: str


def person(user: Any) -> Person | None:
    """The person behind a JupyterHub user; none for nobody and for services."""
    if user is None or getattr(user, "kind", "") != "user":
        return None
    return Person(user.name, str((user.user_info or {}).get("title") or user.name))


def template_vars(site_title: Mapping[str, str], *, demo: bool) -> dict[str, Any]:
    """Values for `JupyterHub.template_vars`.

    Args:
        site_title: the site's title by language.
        demo: whether every page says that this is a demonstration.
    """

    def title(user: Any) -> str:
        return site_title[page_request.current().language]

    return {"site_title": title, "demo": demo, "person": person}
