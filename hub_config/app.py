"""JupyterHub's application, with the inner API listener, course accounts and a watch on the proxy's routes added."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
from pathlib import Path
from typing import Any

from jupyterhub import orm, roles
from jupyterhub.log import CoroutineLogFormatter
from sqlalchemy import event
from tornado.httpclient import HTTPClientError
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket
from tornado.routing import PathMatches, Rule, RuleRouter
from tornado.web import Application
from traitlets import Dict, Float, Instance, List, Unicode

from base.log import VARIABLE as LOG_VARIABLE
from base.log import JsonFormatter, known_names, redact
from hub_config.charging import Charging
from hub_config.course_accounts import HANDLERS as COURSE_HANDLERS
from hub_config.course_accounts import CourseAccounts
from hub_config.course_servers import HANDLERS as COURSE_SERVER_HANDLERS
from hub_config.lessons import HANDLERS as LESSON_HANDLERS
from hub_config.lessons import Lessons
from hub_config.login.gate import GuardedHub
from hub_config.people import HANDLERS as PEOPLE_HANDLERS
from hub_config.quota import Quota
from hub_config.sandboxes import HANDLERS, Accounts
from hub_config.use import Collector
from spawners.spawner import LeerlabSpawner

# What a walled server may ask of the hub: who am I, what is my OAuth token, I am still used, how long may I go on.
# Its job's wrapper, outside the wall, also reports the port. Everything else, the login page above all, is answered
# with 404 there.
INNER_ROUTES = (
    r"api/?",
    r"api/oauth2/token",
    r"api/user",
    r"api/users/[^/]+/activity",
    r"api/leerlab/starts/[^/]+",
    r"api/leerlab/time",
)


OUR_PACKAGES = (
    "assistant", "base", "catalogue", "cluster", "confinement", "courses", "grading", "hub_config", "images", "ledger",
    "portal", "sandboxes", "spawners",
)  # fmt: skip
"""Whose log lines of level INFO are written, in the hub's process, beside JupyterHub's."""


def _name_known(user: Any, *_how: Any) -> None:
    """SQLAlchemy has read a user, or is about to write a new one."""
    if user.name:
        known_names([user.name])


event.listen(orm.User, "load", _name_known)
event.listen(orm.User, "init", lambda _user, _args, given: known_names([given["name"]]) if "name" in given else None)


def inner_router(application: Application, hub_prefix: str) -> RuleRouter:
    """The hub's own application behind an allow-list of paths.

    Args:
        application: JupyterHub's tornado application.
        hub_prefix: the hub's base URL, such as `/hub/`.
    """
    return RuleRouter([Rule(PathMatches(hub_prefix + route + "$"), application) for route in INNER_ROUTES])


def inner_socket(path: Path, group: str) -> socket.socket:
    """The inner API's socket, for this account and a group.

    Args:
        path: where.
        group: name of the group; empty: none.
    """
    made = bind_unix_socket(str(path), mode=0o660 if group else 0o600)
    if group:
        shutil.chown(path, group=group)
    return made


class RedactingHubFormatter(CoroutineLogFormatter):  # type: ignore[misc]
    """JupyterHub's own format of a line, with secrets hidden."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, or a line and its traceback."""
        return redact(super().format(record))


class LeerlabHub(GuardedHub):
    """JupyterHub for one site. All settings come from `hub_config.jupyterhub`."""

    _log_formatter_cls = RedactingHubFormatter

    def get_default_logging_config(self) -> Any:
        """JupyterHub's own, for our packages' loggers too; as JSON lines where the site wants them."""
        config = super().get_default_logging_config()
        config["root"] = {"level": "WARNING", "handlers": ["console"]}
        config["loggers"] |= {name: {"level": "INFO"} for name in OUR_PACKAGES}
        if os.environ.get(LOG_VARIABLE) == "json":
            config["formatters"]["console"]["class"] = f"{JsonFormatter.__module__}.{JsonFormatter.__name__}"
        return config

    inner_api_socket = Unicode(help="Path of the unix socket on which walled servers reach the hub's API.").tag(
        config=True
    )
    server_tls = Dict(help="Files with which the hub goes to servers on a network, by JupyterHub's names of them.").tag(
        config=True
    )
    inner_api_group = Unicode(help="Unix group whose accounts may use that socket too; empty: none.").tag(config=True)
    course_accounts = List(
        Unicode(), help="Users that own a course's formgrader server; nobody can log in as one."
    ).tag(config=True)
    courses = Instance(CourseAccounts, help="Keeps accounts and groups in step with what is published.").tag(
        config=True
    )
    sandboxes = Instance(Accounts, allow_none=True, help="Keeps members' accounts in step with the ledger.").tag(
        config=True
    )
    quota = Instance(Quota, allow_none=True, help="Keeps sandboxes to their size.").tag(config=True)
    charging = Instance(Charging, allow_none=True, help="Has accounts in Slurm for the people of the hub.").tag(
        config=True
    )
    lessons = Instance(Lessons, allow_none=True, help="Starts classes ahead of a lesson.").tag(config=True)
    use = Instance(Collector, allow_none=True, help="Brings what jobs used into the ledger.").tag(config=True)
    route_check_seconds = Float(5.0, help="How often the proxy is asked whether it still knows the hub.").tag(
        config=True
    )

    _inner_server: HTTPServer | None = None
    _route_watch: asyncio.Task[None] | None = None

    def init_tornado_settings(self) -> None:
        """A course's formgrader is ours and runs nobody's code: its teachers are not asked whether they trust it."""
        super().init_tornado_settings()
        clients = {f"jupyterhub-user-{name}" for name in self.course_accounts}
        self.tornado_settings["oauth_no_confirm_list"] |= clients
        self.tornado_settings |= {
            "leerlab_sandboxes": self.sandboxes, "leerlab_courses": self.courses, "leerlab_hub": self,
            "leerlab_lessons": self.lessons, **self.server_tls,
        }  # fmt: skip

    def init_handlers(self) -> None:
        """What Leerlab's own services tell the hub and ask it, beside JupyterHub's API."""
        super().init_handlers()
        own = [*HANDLERS, *COURSE_HANDLERS, *COURSE_SERVER_HANDLERS, *LESSON_HANDLERS, *PEOPLE_HANDLERS]
        self.handlers[:0] = self.add_url_prefix(self.hub_prefix, own)

    async def init_users(self) -> None:
        """Create the course accounts next to JupyterHub's own users."""
        await super().init_users()
        for name in self.course_accounts:
            if orm.User.find(self.db, name) is None:
                self.db.add(orm.User(name=name))
        self.db.commit()

    async def init_role_assignment(self) -> None:
        """Give course accounts what every user may do with a server of their own."""
        await super().init_role_assignment()
        for name in self.course_accounts:
            roles.assign_default_roles(self.db, entity=orm.User.find(self.db, name))

    async def init_spawners(self) -> Any:
        """Start what all spawners share, then find running servers again; those of sandboxes by who is a member now."""
        await LeerlabSpawner.open(self.db)
        return await super().init_spawners()

    async def update_last_activity(self) -> None:
        """Look after the proxy's routes, as JupyterHub does at this interval.

        What the proxy has seen of a server does not count as use: a tab that is left open keeps a connection alive for
        days. A server tells by itself when somebody works in it, or something computes (leerlab_lab/working.py).
        """
        await self.proxy.check_routes(self.users, self._service_map)

    async def start(self) -> None:
        """Start the hub, then open the inner API listener and watch the proxy."""
        await super().start()
        if self.http_server is None:
            return
        socket_path = Path(self.inner_api_socket)
        self._inner_server = HTTPServer(inner_router(self.tornado_application, self.hub_prefix))
        self._inner_server.add_socket(inner_socket(socket_path, self.inner_api_group))
        self.log.info("Inner API listening on %s", socket_path)
        self._route_watch = asyncio.create_task(self._watch_routes())
        self.courses.begin(self)
        if self.sandboxes is not None and self.quota is not None:
            self.sandboxes.begin(self)
            self.quota.begin(self)
        if self.charging is not None:
            self.charging.begin(self)
        if self.lessons is not None:
            self.lessons.begin(self)
        if self.use is not None:
            self.use.begin()

    async def _watch_routes(self) -> None:
        """Give a restarted proxy its routes back within seconds; JupyterHub itself looks every five minutes."""
        while True:
            await asyncio.sleep(self.route_check_seconds)
            try:
                routes = await asyncio.wait_for(self.proxy.get_all_routes(), timeout=10)
                if not any(route["data"].get("hub") for route in routes.values()):
                    self.log.warning("The proxy does not know the hub: giving it all routes again")
                    await asyncio.wait_for(self.proxy.check_routes(self.users, self._service_map), timeout=60)
            except (OSError, TimeoutError, HTTPClientError) as error:
                self.log.warning("The proxy does not answer: %r", error)

    async def cleanup(self) -> None:
        """Close what `start` opened, then leave servers and proxy running."""
        if self._route_watch is not None:
            self._route_watch.cancel()
        if self._inner_server is not None:
            self._inner_server.stop()
            await self.courses.close()
        if self.sandboxes is not None and self.quota is not None:
            await self.sandboxes.close()
            await self.quota.close()
        if self.charging is not None:
            await self.charging.close()
        if self.lessons is not None:
            await self.lessons.close()
        if self.use is not None:
            await self.use.close()
        await LeerlabSpawner.close()
        await super().cleanup()


main = LeerlabHub.launch_instance

if __name__ == "__main__":
    main()
