"""Stopping a server at any moment: a request that comes while something else is going on waits for that.

JupyterHub 6.1.1 cancels a start, waits one second and then answers 500 (`handlers/base.py`, stop_single_user) when the
start has not ended yet, when the check after a restart goes on, or when a second request has begun to stop it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from jupyterhub.apihandlers.users import UserServerAPIHandler
from tornado.web import HTTPError

from base.course_groups import COURSE_ACCOUNT, CourseRole, staff_role
from spawners.ends import IDLE_SERVICE

SETTLE_SECONDS = 60.0
"""Longer than a stop (`spawner.STOP_SECONDS`) and than a check after a restart (JupyterHub's `http_timeout`, 30 s)."""
LOOK_SECONDS = 0.05
"""Between two looks at JupyterHub's flags, which nobody announces."""


async def settled(user: Any, server_name: str) -> bool:
    """Wait until nothing is going on with a server.

    Args:
        user: JupyterHub's user.
        server_name: which of their servers; empty for the first.

    Returns:
        Whether there is still something to stop.

    Raises:
        HTTPError: 409, because after `SETTLE_SECONDS` something is still going on.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + SETTLE_SECONDS
    while server_name in user.spawners:
        spawner = user.spawners[server_name]
        if not spawner.pending:
            return bool(spawner.active)
        if loop.time() > until:
            raise HTTPError(409, f"{spawner._log_name} is busy ({spawner.pending}). Try again in a minute.")
        await asyncio.sleep(LOOK_SECONDS)
    return False


async def stop_when_settled(
    stop: Callable[[Any, str], Awaitable[asyncio.Future[None]]], user: Any, server_name: str
) -> asyncio.Future[None]:
    """Stop a server as soon as that is possible.

    Args:
        stop: JupyterHub's `stop_single_user`.
        user, server_name: as for `settled`.

    Returns:
        What is done when the server has stopped.
    """
    if await settled(user, server_name):
        return await stop(user, server_name)
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done


async def stop_without_request(hub: Any, user: Any, server_name: str = "") -> None:
    """Stop a server, or withdraw its start, where no request asks for it and so no handler of JupyterHub's is there.

    Args:
        hub: JupyterHub's application.
        user, server_name: as for `settled`.

    Raises:
        HTTPError, TimeoutError: it is still busy after `SETTLE_SECONDS`.
    """
    spawner = user.spawners[server_name]
    start = spawner._spawn_future
    if spawner.pending == "spawn" and start is not None:
        start.cancel()
        await asyncio.wait([start], timeout=SETTLE_SECONDS)

    async def stop(owner: Any, name: str) -> asyncio.Future[None]:
        owner.spawners[name]._stop_pending = True
        await hub.proxy.delete_user(owner, name)
        stopped: asyncio.Future[None] = asyncio.ensure_future(owner.stop(name))
        return stopped

    await (await stop_when_settled(stop, user, server_name))


def must_do_more_than_look(by: Any, owner: str) -> None:
    """Readers of a course start and reach its server, and stop nothing that goes on there.

    JupyterHub's page that starts a server asks for the scope `servers`, in which stopping is included.

    Args:
        by: JupyterHub's user or service who asks.
        owner: the name of the account whose server is to be stopped.

    Raises:
        HTTPError: 403, it is the server of a course of which this person is a reader.
    """
    person = getattr(by, "orm_user", None)
    if person is None or not owner.startswith(COURSE_ACCOUNT):
        return
    groups = {group.name for group in person.groups}
    if staff_role(groups, owner.removeprefix(COURSE_ACCOUNT)) is CourseRole.READER:
        raise HTTPError(403, "Readers of a course do not stop its server.")


class PatientServerAPI(UserServerAPIHandler):  # type: ignore[misc]  # jupyterhub has no types
    """JupyterHub's API of one server; a DELETE waits until it can stop the server."""

    async def delete(self, user_name: str, server_name: str = "") -> None:
        """As JupyterHub's, for who may do more than look."""
        must_do_more_than_look(self.current_user, user_name)
        await super().delete(user_name, server_name)

    async def stop_single_user(self, user: Any, server_name: str = "") -> asyncio.Future[None]:
        """As JupyterHub's, at any moment; what is stopped for want of use is told to its owner as such."""
        by = self.current_user
        if getattr(by, "kind", "") == "service" and by.name == IDLE_SERVICE and server_name in user.spawners:
            user.spawners[server_name].note_idle()
        return await stop_when_settled(super().stop_single_user, user, server_name)


def install(handlers: list[Any]) -> None:
    """Put our handler in the place of JupyterHub's, in its list.

    Args:
        handlers: `jupyterhub.apihandlers.default_handlers`.

    Raises:
        RuntimeError: JupyterHub's handler is not where it was.
    """
    places = [place for place, entry in enumerate(handlers) if entry[1] in (UserServerAPIHandler, PatientServerAPI)]
    if not places:
        raise RuntimeError("JupyterHub's API of servers has moved: the hub must not start without ours.")
    for place in places:
        pattern, _, *rest = handlers[place]
        handlers[place] = (pattern, PatientServerAPI, *rest)
