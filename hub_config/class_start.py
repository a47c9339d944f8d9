"""`leerlab course start-class`: asks the running hub to start the servers of everybody who takes a course."""

from __future__ import annotations

import asyncio

from base.errors import InputError, LeerlabError
from base.paths import State
from hub_config.run.keys import secret
from portal.errors import HubSilent
from portal.hub import ClassStarted, Hub, hub_client


def start_class(state: State, course: str) -> ClassStarted:
    """Start a class; returns when that has begun.

    Args:
        state: the site's state folder.
        course: id of a course that the site gives.

    Raises:
        InputError: the site gives no such course.
        LeerlabError: the hub does not run, or does not answer.
    """
    return asyncio.run(_ask(state, course))


async def _ask(state: State, course: str) -> ClassStarted:
    token = secret(state, "portal-token")
    hub = Hub(hub_client(f"unix:{state.run / 'hub.sock'}"), token)
    try:
        started = await hub.start_class(token, course)
    except HubSilent as error:
        raise LeerlabError(
            "The hub does not answer.", "Nobody's server was started.", "Start the site: leerlab up."
        ) from error
    finally:
        await hub.close()
    if started is None:
        raise InputError(f"The site gives no course {course[:80]!r}.", do="leerlab course list names those it gives.")
    return started
