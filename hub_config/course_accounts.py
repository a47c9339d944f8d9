"""Keeps the hub in step with the courses that the site gives: of each an account, a role for its teachers, and groups.

What site.yaml says is made at the hub's start, from its configuration; this follows what is published and withdrawn
while it runs. A course that is not given any more loses its role, and its server is stopped; its files and the work in
it stay.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from jupyterhub import orm, roles
from jupyterhub.apihandlers.base import APIHandler
from tornado.web import HTTPError

from base.errors import LeerlabError
from hub_config.courses import Courses
from hub_config.login.demo import DemoAuthenticator
from hub_config.roles import COURSE_ACCOUNT, course_role
from portal.configuration import SERVICE
from spawners.stopping import stop_without_request

INTERVAL_SECONDS = 60.0
STOP_SECONDS = 120.0

log = logging.getLogger("leerlab.courses")


class CourseAccounts:
    """Makes what a course needs in the hub, and takes it away.

    Args:
        courses: what the site gives at this moment.
    """

    def __init__(self, courses: Courses) -> None:
        self.courses = courses
        self._one_at_a_time = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> CourseAccounts:
        """traitlets copies every configured value; there is one."""
        return self

    def begin(self, hub: Any) -> None:
        """Bring the hub up to date now, and every minute from now on.

        Args:
            hub: JupyterHub's application.
        """
        self._task = asyncio.create_task(self._run(hub))

    async def close(self) -> None:
        """Stop, and wait until that is done."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, hub: Any) -> None:
        while True:
            try:
                await self.update(hub)
            except Exception:
                log.exception("Courses could not be brought up to date; the next turn tries again")
            await asyncio.sleep(INTERVAL_SECONDS)

    async def update(self, hub: Any) -> None:
        """Bring the hub up to date; returns when servers of courses that are not given any more have stopped.

        Args:
            hub: JupyterHub's application.

        Raises:
            LeerlabError: what was published cannot be read; nothing was changed.
            HTTPError, TimeoutError: a server could not be stopped; nobody reaches it any more.
        """
        async with self._one_at_a_time:
            offered = self.courses.now()
            for course in offered:
                self._make(hub, course)
            self._follow_people(hub)
            accounts = hub.db.query(orm.User).filter(orm.User.name.startswith(COURSE_ACCOUNT, autoescape=True))
            gone = [row.name for row in accounts if row.name.removeprefix(COURSE_ACCOUNT) not in offered]
            for account in gone:
                await self._take_away(hub, account)

    def _make(self, hub: Any, course: str) -> None:
        account, role = COURSE_ACCOUNT + course, course_role(course)
        if orm.User.find(hub.db, account) is None:
            user = orm.User(name=account)
            hub.db.add(user)
            hub.db.commit()
            roles.assign_default_roles(hub.db, entity=user)
        made = orm.Role.find(hub.db, role["name"])
        for name in role["groups"]:
            group = orm.Group.find(hub.db, name)
            if group is None:
                group = orm.Group(name=name)
                hub.db.add(group)
                hub.db.commit()
            made = made or roles.create_role(hub.db, role)
            if made not in group.roles:
                roles.grant_role(hub.db, entity=group, role=made)
        # The server is Leerlab's own: its teachers are not asked whether to trust it.
        hub.tornado_settings["oauth_no_confirm_list"].add(client_of(account))

    def _follow_people(self, hub: Any) -> None:
        """Demo people are in a course from the moment it is published; those of a provider by its own claims."""
        authenticator = hub.authenticator
        if not isinstance(authenticator, DemoAuthenticator):
            return
        for one in authenticator.demo.people:
            person = authenticator.demo.person(one.name)
            if person is not None and orm.User.find(hub.db, one.name) is not None:
                hub.users[one.name].sync_groups(list(person.groups))

    async def _take_away(self, hub: Any, account: str) -> None:
        """Nobody reaches the course's server any more, and it ends."""
        name = course_role(account.removeprefix(COURSE_ACCOUNT))["name"]
        if orm.Role.find(hub.db, name) is not None:
            roles.delete_role(hub.db, name)
        hub.tornado_settings["oauth_no_confirm_list"].discard(client_of(account))
        user = hub.users[account]
        for server, spawner in list(user.spawners.items()):
            if spawner.active or spawner.pending:
                await asyncio.wait_for(stop_without_request(hub, user, server), timeout=STOP_SECONDS)


def client_of(account: str) -> str:
    """The OAuth client that browsers' tokens for a course's server are of."""
    return f"jupyterhub-user-{account}"


class UpdateHandler(APIHandler):  # type: ignore[misc]  # JupyterHub has no types
    """`POST /hub/api/leerlab/courses`: a course was published or withdrawn. 204 when the hub is up to date."""

    async def post(self) -> None:
        """Bring the hub up to date; for the portal's own token alone."""
        caller = self.current_user
        if not isinstance(caller, orm.Service) or caller.name != SERVICE:
            raise HTTPError(403)
        courses: CourseAccounts = self.settings["leerlab_courses"]
        try:
            await courses.update(self.settings["leerlab_hub"])
        except (LeerlabError, TimeoutError) as error:
            log.error("Courses could not be brought up to date: %s", error)
            raise HTTPError(503, "Courses could not be brought up to date. Try again.") from error
        self.set_status(204)


HANDLERS = [(r"/api/leerlab/courses", UpdateHandler)]
