"""A class's servers, started ahead of the lesson by a teacher of its course, and ended again when nobody comes.

Whoever takes the course gets their own server, as if they had asked for it themselves; Slurm alone says when each
begins. One that its owner has not opened within `lessons.unused` after it was ready is stopped. Whether it was opened,
the token says that the owner's browser gets from the hub for that server: nothing else uses it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from jupyterhub import orm
from jupyterhub.apihandlers.base import APIHandler
from tornado.web import HTTPError

from base.course_groups import OWNERS, STUDENTS
from base.paths import State
from cluster.errors import SlurmError
from hub_config.audit import Audit
from hub_config.charging import Charging
from hub_config.courses import Courses
from hub_config.login.names import is_internal
from portal import request as page_request
from portal.configuration import SERVICE
from spawners.options import profiles_of
from spawners.settings import Profile
from spawners.stopping import stop_without_request
from spawners.submission import is_ahead

INTERVAL_SECONDS = 30.0
STOP_SECONDS = 120.0
PORTAL_SCOPE = f"access:services!service={SERVICE}"

log = logging.getLogger("leerlab.lessons")


@dataclass(frozen=True)
class ClassStart:
    """What becomes of a class.

    Args:
        starting: servers that are being started.
        running: those that ran, or were being started, already.
        without: members for whom nothing can be started: none of the site's profiles is theirs.
    """

    starting: int
    running: int
    without: int


class Lessons:
    """Starts classes ahead, and ends what is not used.

    Args:
        courses: what the site gives at this moment.
        profiles: the site's.
        charging: has the accounts of a class, all at once.
        audit: where it is written who started which class.
        state: the site's state folder.
        language: in which servers speak that nobody has asked for in another.
        unused: how long a server may wait for its owner.
    """

    def __init__(
        self, courses: Courses, profiles: Sequence[Profile], *, charging: Charging, audit: Audit, state: State,
        language: str, unused: timedelta,
    ) -> None:  # fmt: skip
        self._courses, self._profiles, self._charging = courses, tuple(profiles), charging
        self._audit, self._state, self._language, self._unused = audit, state, language, unused
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready: dict[str, datetime] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Lessons:
        """traitlets copies every configured value; there is one."""
        return self

    def begin(self, hub: Any) -> None:
        """Look from now on for servers that nobody uses.

        Args:
            hub: JupyterHub's application.
        """
        self._keep(self._run(hub))

    async def close(self) -> None:
        """Stop, and wait until that is done."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _keep(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def start(self, handler: Any, course: str, by: str) -> ClassStart:
        """Start the server of everybody who takes a course and has none running; returns when that has begun.

        Args:
            handler: of the request, whose `spawn_single_user` starts a server.
            course: id of a course that the site gives.
            by: who asked for it.

        Raises:
            HTTPError: 404, the site gives no such course.
        """
        offered = self._courses.now().get(course)
        if offered is None:
            raise HTTPError(404)
        wanted, running, without = {}, 0, 0
        for user, groups in members(handler, course):
            own = [profile.id for profile in profiles_of(self._profiles, groups)]
            if user.spawners[""].active or user.spawners[""].pending:
                running += 1
            elif own:
                wanted[user.name] = (user, groups, offered.profile if offered.profile in own else own[0])
            else:
                without += 1
        await self._audit.record(by, "lesson.start", f"course:{course}", {"servers": str(len(wanted))})
        self._keep(self._start(handler, course, wanted))
        return ClassStart(len(wanted), running, without)

    async def _start(self, handler: Any, course: str, wanted: Mapping[str, tuple[Any, tuple[str, ...], str]]) -> None:
        # Not the teacher's, who asks; this task has a context of its own.
        page_request.enter({}, "/", self._language)
        try:
            await self._charging.ensure({name: groups for name, (_, groups, _) in wanted.items()})
        except SlurmError as error:
            # Each start tries again by itself, and waits for Slurm.
            log.warning("Accounts of the class of %s could not be made all at once: %s", course, error)
        for name, (user, _, profile) in wanted.items():
            spawner = user.get_or_create_spawner("", "", replace_failed=True)
            if spawner.active or spawner.pending:
                continue
            spawner.ahead = True
            try:
                await handler.spawn_single_user(user, "", options={"profile": profile, "course": course})
            except HTTPError as error:
                spawner.ahead = False
                log.warning("The server of %s was not started ahead: %s", name, error)

    async def _run(self, hub: Any) -> None:
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            try:
                await self.end_unused(hub)
            except Exception:
                log.exception("Servers that nobody uses could not be looked for; the next turn tries again")

    async def end_unused(self, hub: Any, now: datetime | None = None) -> None:
        """Stop the servers that were started ahead, have been ready for long enough, and were not opened.

        Args:
            hub: JupyterHub's application.
            now: the time; for tests.
        """
        now = now or datetime.now(UTC)
        ahead = [
            (user, spawner, start)
            for user in hub.users.values()
            if (spawner := user.spawners.get("")) is not None and spawner.ready and not spawner.pending
            and (start := spawner.start_id) is not None and is_ahead(self._state, start)
        ]  # fmt: skip
        self._ready = {start: self._ready.get(start, now) for _, _, start in ahead}
        for user, spawner, start in ahead:
            since = self._ready[start]
            if now - since < self._unused or opened(hub.db, user.orm_user, spawner.orm_spawner.started):
                continue
            log.info("The server of %s was started ahead and not opened: it is stopped", user.name)
            await self._audit.record(SERVICE, "lesson.unused", user.name, {})
            await asyncio.wait_for(stop_without_request(hub, user), timeout=STOP_SECONDS)


def members(handler: Any, course: str) -> list[tuple[Any, tuple[str, ...]]]:
    """JupyterHub's users who take a course, each with their groups."""
    group = orm.Group.find(handler.db, STUDENTS + course)
    rows = [] if group is None else [row for row in group.users if not is_internal(row.name)]
    return [
        (handler.user_from_username(row.name), tuple(one.name for one in row.groups))
        for row in sorted(rows, key=lambda row: str(row.name))
    ]


def opened(session: Any, owner: orm.User, started: datetime | None) -> bool:
    """Whether the owner's browser has come to their first server since a time.

    Args:
        session: the hub's database session.
        owner: whose server.
        started: UTC, without a zone, as JupyterHub keeps it; None: not known, and taken for opened.
    """
    if started is None:
        return True
    tokens = session.query(orm.APIToken).filter(
        orm.APIToken.user_id == owner.id, orm.APIToken.client_id == f"jupyterhub-user-{owner.name}"
    )
    # A token that is still good is not given anew, but the server asks the hub about it when it is first used there.
    return any(max(filter(None, (one.created, one.last_activity)), default=started) > started for one in tokens)


class ClassHandler(APIHandler):  # type: ignore[misc]  # JupyterHub has no types
    """`POST /hub/api/leerlab/courses/<course>/start`: 202 with how many servers are started."""

    async def post(self, course: str) -> None:
        """Start a course's class; for its teachers at the portal, and for the site's own command."""
        started = await self.settings["leerlab_lessons"].start(self, course, self._caller(course))
        self.set_status(202)
        self.finish(json.dumps(vars(started)))

    def _caller(self, course: str) -> str:
        """Who asks.

        Raises:
            HTTPError: 403, somebody for whom this is not; 404, a person who is no teacher of the course.
        """
        caller = self.current_user
        if isinstance(caller, orm.Service) and caller.name == SERVICE:
            return "operator"
        # A server's own token, which a notebook can read, has no such scope.
        if not isinstance(getattr(caller, "orm_user", None), orm.User) or PORTAL_SCOPE not in self.expanded_scopes:
            raise HTTPError(403)
        if OWNERS + course not in {group.name for group in caller.orm_user.groups}:
            raise HTTPError(404)
        return str(caller.name)


HANDLERS = [(r"/api/leerlab/courses/([a-z][a-z0-9-]{1,30})/start", ClassHandler)]
