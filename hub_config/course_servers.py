"""A course's server for the grading service: started when classes are graded without a teacher, and stopped again.

The service has no scopes of JupyterHub's for this. It may start the server of a course that the site gives, gets a
token that opens that one server for some minutes, and may have it stopped, if it was started for the service and no
person has opened it since.
"""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import datetime
from typing import Any

from jupyterhub import orm
from jupyterhub.apihandlers.base import APIHandler
from tornado.web import HTTPError

from hub_config.course_accounts import client_of
from hub_config.courses import Courses
from hub_config.roles import COURSE_ACCOUNT
from spawners.stopping import stop_without_request
from spawners.submission import is_for_grading

SERVICE = "grading"
TOKEN_SECONDS = 1800
"""How long a token opens the course's server; the service asks for a new one before (grading/course_server.py)."""
STOP_SECONDS = 120.0

log = logging.getLogger("leerlab.courses")


def opened_by_a_person(session: Any, account: str, since: datetime | None) -> bool:
    """Whether anybody's browser has come to a course's server since a time.

    Args:
        session: the hub's database session.
        account: the course's account.
        since: UTC, without a zone, as JupyterHub keeps it; None: not known, and taken for opened.
    """
    if since is None:
        return True
    tokens = session.query(orm.APIToken).filter(orm.APIToken.client_id == client_of(account))
    # A token that is still good is not given anew, but the server asks the hub about it when it is first used there.
    return any(max(filter(None, (one.created, one.last_activity)), default=since) > since for one in tokens)


class CourseServerHandler(APIHandler):  # type: ignore[misc]  # JupyterHub has no types
    """`/hub/api/leerlab/courses/<course>/server`: `{"standing", "why", "token"}`; for the grading service alone."""

    def get(self, course: str) -> None:
        """How it stands: ready, pending, or stopped and why."""
        self._answer(self._user(course).spawners[""])

    async def post(self, course: str) -> None:
        """Start it unless it runs; when it is ready, with a token."""
        user = self._user(course)
        spawner = user.get_or_create_spawner("", "", replace_failed=True)
        if not spawner.active and not spawner.pending:
            spawner.for_grading = True
            try:
                await self.spawn_single_user(user, "", options={})
            except Exception:
                # Why, the answer says too.
                log.exception("The server of %s was not started", course)
                spawner.for_grading = False
            spawner = user.spawners[""]
        self._answer(spawner, token=self._token(user) if spawner.ready else "")

    async def delete(self, course: str) -> None:
        """Stop it, if the service started it and nobody has opened it."""
        user = self._user(course)
        spawner = user.spawners[""]
        start = spawner.start_id if spawner.ready and not spawner.pending else None
        mine = start is not None and is_for_grading(spawner.facility.state, start)
        if mine and not opened_by_a_person(self.db, user.name, spawner.orm_spawner.started):
            log.info("The server of %s was started to grade, and nobody has opened it: it is stopped", course)
            await asyncio.wait_for(stop_without_request(self.settings["leerlab_hub"], user), timeout=STOP_SECONDS)
        self._answer(user.spawners[""])

    def _user(self, course: str) -> Any:
        """The course's account.

        Raises:
            HTTPError: 403, somebody else asks; 404, the site gives no such course.
        """
        caller = self.current_user
        if not isinstance(caller, orm.Service) or caller.name != SERVICE:
            raise HTTPError(403)
        courses: Courses = self.settings["leerlab_courses"].courses
        if course not in courses.now():
            raise HTTPError(404)
        return self.user_from_username(COURSE_ACCOUNT + course)

    def _token(self, user: Any) -> str:
        scopes = [f"access:servers!user={user.name}"]
        return str(user.new_api_token(note="Grading without a click", expires_in=TOKEN_SECONDS, scopes=scopes))

    def _answer(self, spawner: Any, token: str = "") -> None:
        standing = "pending" if spawner.pending else "ready" if spawner.ready else "stopped"
        self.finish(json.dumps({"standing": standing, "why": _why(spawner), "token": token}))


def _why(spawner: Any) -> str:
    """Why the last start failed; empty where it did not."""
    start = spawner._spawn_future
    if start is None or not start.done() or start.cancelled() or start.exception() is None:
        return ""
    error = start.exception()
    return str(getattr(error, "jupyterhub_message", None) or error)


HANDLERS = [(r"/api/leerlab/courses/([a-z][a-z0-9-]{1,30})/server", CourseServerHandler)]
