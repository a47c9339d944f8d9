"""A start that was going on when the hub was killed: the new hub finishes it while people watch or cancel it.

JupyterHub 6.1.1 (`app.py`, check_spawner) asks a spawner that claims to be alive for its URL, waits until the server
answers there, and treats every exception but a timeout as a reason to break off the check of all servers. So nothing is
raised here: a start that has ended is told to the check through `Departed`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import ClientError
from jupyterhub import __version__ as hub_version
from tornado.httpclient import HTTPClientError

from base.messages import Message
from spawners.failures import StartFailed

if TYPE_CHECKING:
    from spawners.spawner import LeerlabSpawner

CLEANED_SECONDS = 90.0
_PROXY_SECONDS = 30.0


class Departed:
    """Stands in for the Server row while JupyterHub's restart check ends.

    Args:
        url: what the row said.
        cleaned: whether somebody's cancelling has cleaned up already. If so the check must not do it again, because it
            would end the next start of the same server; if not, a timeout makes it clean up.
    """

    def __init__(self, url: str, cleaned: bool) -> None:
        self.url = url
        self._cleaned = cleaned

    async def wait_up(self, **_how: Any) -> Any:
        """What JupyterHub awaits in place of a server's first answer."""
        if not self._cleaned:
            raise TimeoutError("The start has ended.")
        return self

    @property
    def headers(self) -> dict[str, str]:
        """The hub's own version: there is no server whose version could differ."""
        return {"X-JupyterHub-Version": hub_version}


class Adoption:
    """One restart check of one server.

    Args:
        spawner: the server's spawner.
    """

    def __init__(self, spawner: LeerlabSpawner) -> None:
        self._spawner = spawner
        self._future: asyncio.Future[None] | None = None
        self._cleaned = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def url(self) -> str:
        """Finish the start; the URL, or that of the row when it has ended."""
        spawner = self._spawner
        stored: str = spawner.server.url
        base: str = spawner.server.base_url
        spawner.log.warning("Taking up the start of %s again", spawner._log_name)
        # With these two, JupyterHub streams progress and lets people cancel, as in any start.
        self._future = spawner._spawn_future = asyncio.get_running_loop().create_future()
        self._future.add_done_callback(_seen)
        spawner._spawn_pending = True
        finish: asyncio.Task[str] = asyncio.create_task(spawner.finish_start())
        waits: set[asyncio.Future[Any]] = {finish, self._future}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if self._future.cancelled():
            finish.cancel()
            await asyncio.wait({finish})
            return await self._cancelled(stored)
        try:
            return f"{finish.result()}{base}"
        except StartFailed as error:
            spawner.log.warning("The start of %s did not survive the restart: %s", spawner._log_name, error)
            spawner._departed = Departed(stored, cleaned=False)
            return stored

    async def _cancelled(self, stored: str) -> str:
        """Somebody cancelled: JupyterHub's own stop cleans up, a second after it cancelled the future."""
        spawner = self._spawner
        spawner._spawn_future = None
        spawner._spawn_pending = spawner._check_pending = False
        try:
            await asyncio.wait_for(self._cleaned.wait(), CLEANED_SECONDS)
        except TimeoutError:
            spawner.log.error("The cancelled start of %s was not cleaned up", spawner._log_name)
        spawner._departed = Departed(stored, cleaned=True)
        return stored

    def cleared(self, failure: Message | None) -> None:
        """The spawner has forgotten its start."""
        self._cleaned.set()
        spawner = self._spawner
        if self._future is not None and not self._future.done():
            message = failure or Message("start.failed.interrupted")
            self._future.set_exception(StartFailed(message, spawner.facility.say(message)))
        if spawner._departed is not None:
            spawner._departed = None

    def checked(self) -> None:
        """JupyterHub has seen the server answer; it calls the server checked right after this."""
        self._task = asyncio.create_task(self._reachable())

    async def _reachable(self) -> None:
        """Give the server its route now: JupyterHub does so only when all servers are checked."""
        spawner = self._spawner
        proxy = spawner.user.settings["proxy"]
        try:
            await asyncio.wait_for(proxy.add_user(spawner.user, spawner.name), _PROXY_SECONDS)
            if spawner._start is None and spawner.name not in spawner.user.spawners:
                # Stopped meanwhile: this route came after its removal.
                await asyncio.wait_for(proxy.delete_user(spawner.user, spawner.name), _PROXY_SECONDS)
        except (OSError, TimeoutError, RuntimeError, HTTPClientError, ClientError) as error:
            spawner.log.warning("No route yet for %s: %s", spawner._log_name, error)
        if self._future is not None:
            spawner._spawn_pending = False
            spawner._spawn_future = None
            if not self._future.done():
                self._future.set_result(None)


def _seen(future: asyncio.Future[None]) -> None:
    """Take note of a failure, so that asyncio does not report it as never looked at."""
    if not future.cancelled():
        future.exception()
