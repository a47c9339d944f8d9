"""A course's server as the service uses it: started through the hub, asked to collect and to grade, and left again.

The course's server stays the only writer of its gradebook. The hub starts it for the service, and gives it tokens that
open this one server for some minutes: a server that was broken into cannot use them on another's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from base.errors import LeerlabError
from grading.names import COURSE_ACCOUNT
from grading.run_records import Told

READY_SECONDS = 900.0
"""How long a start may take, Slurm's queue included; the job stays in the queue, and the next try finds it there."""
AWAY_SECONDS = 120.0
"""How long a server that was there may not answer, as while the hub or the proxy restarts."""
COLLECT_SECONDS = 1800.0
HUB_SECONDS = 150.0
ANSWER_SECONDS = 30.0
LOOK_SECONDS = 1.0
TOKEN_SECONDS = 600.0
"""How old a token gets before a new one is asked for; the hub lets each live longer (hub_config/course_servers.py)."""
_LONGEST_REASON = 400

log = logging.getLogger("grading")


class Away(LeerlabError):
    """The course's server cannot be reached or started, or could not do what it was asked; worth another try."""


class Stopped(LeerlabError):
    """Somebody stopped the run."""


class Standing(StrEnum):
    """What the hub says of a course's server."""

    READY = "ready"
    PENDING = "pending"
    STOPPED = "stopped"


class _Server(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    standing: Standing
    why: str = ""
    token: str = ""


@dataclass(frozen=True)
class Ways:
    """How the service reaches the hub and, through the site's proxy, courses' servers.

    Args:
        hub: a client whose base URL is the hub's API; see `grading.identity.hub_client`.
        token: the grading service's own token.
        proxy: a client whose base URL is where the site's proxy listens.
        host: the site's host as a browser names it; a course's server is at a name below it.
        https: whether a TLS proxy of the site's own stands in front.
    """

    hub: httpx.AsyncClient
    token: str
    proxy: httpx.AsyncClient
    host: str
    https: bool = False

    async def close(self) -> None:
        """Close the connections."""
        await self.hub.aclose()
        await self.proxy.aclose()


class CourseServer:
    """One course's server.

    Args:
        course: the course's id.
        ways: how it is reached.
    """

    def __init__(self, course: str, ways: Ways) -> None:
        self.course = course
        self._ways = ways
        self._token, self._since = "", 0.0

    async def ready(self, stop: asyncio.Event) -> None:
        """Start the server unless it runs, and wait until it answers.

        Args:
            stop: ends the wait.

        Raises:
            Away: it cannot be started, or not in `READY_SECONDS`.
            Stopped: `stop` was set.
        """
        until = time.monotonic() + READY_SECONDS
        server = await self._of_hub("POST")
        while server.standing is Standing.PENDING:
            if stop.is_set():
                raise Stopped("The run was stopped while the course's server was being started.")
            if time.monotonic() > until:
                raise Away(
                    f"The course's server did not start in {READY_SECONDS / 60:.0f} minutes.",
                    "Its job waits in Slurm, or starts slowly.",
                    "leerlab status and squeue show it.",
                )
            await _unless(stop, LOOK_SECONDS)
            server = await self._of_hub("GET")
        if server.standing is Standing.STOPPED:
            raise Away("The course's server could not be started.", server.why[:_LONGEST_REASON])
        await self._renewed()

    async def collect(self, assignment: str) -> str:
        """Bring what was handed in to the course, as its page's button does.

        Returns:
            Why some of it could not be; empty: all was.

        Raises:
            Away: the server does not answer.
        """
        said = await self._asked("POST", assignment, "collect", COLLECT_SECONDS)
        if isinstance(said, dict) and said.get("success") is True:
            return ""
        lines = str(said.get("log") or said.get("error") or "").strip().splitlines() if isinstance(said, dict) else []
        return f"Not everything could be collected. {lines[-1] if lines else ''}"[:_LONGEST_REASON]

    async def begin(self, assignment: str) -> Told:
        """Begin a class run, or learn of the one that goes on.

        Raises:
            Away: it cannot be begun.
        """
        return _told(await self._asked("POST", assignment, "class_run"))

    async def progress(self, assignment: str) -> Told | None:
        """How far the last run is; None: there was none, or a page has told its end.

        Raises:
            Away: the server does not answer.
        """
        said = await self._asked("GET", assignment, "class_run")
        return _told(said) if said else None

    async def cancel(self, assignment: str) -> None:
        """Have a run stopped; marks so far stay.

        Raises:
            Away: the server does not answer.
        """
        await self._asked("DELETE", assignment, "class_run")

    async def leave(self) -> None:
        """Have the server stopped if it was started for the service and no person has opened it.

        Raises:
            Away: the hub does not answer.
        """
        self._token = ""
        await self._of_hub("DELETE")

    async def _renewed(self) -> str:
        """A token that is good for some minutes more."""
        if not self._token or time.monotonic() - self._since > TOKEN_SECONDS:
            self._token = ""
            server = await self._of_hub("POST")
            if not self._token:
                raise Away("The course's server has ended.", server.why[:_LONGEST_REASON])
        return self._token

    async def _of_hub(self, method: str) -> _Server:
        path = f"leerlab/courses/{self.course}/server"
        headers = {"Authorization": f"token {self._ways.token}"}
        try:
            answer = await self._ways.hub.request(method, path, headers=headers, timeout=HUB_SECONDS)
        except httpx.HTTPError as error:
            raise Away("The hub does not answer.", "Nothing was graded.") from error
        if answer.status_code == HTTPStatus.NOT_FOUND:
            raise Away(f"The hub gives no course {self.course} now.")
        try:
            server = _Server.model_validate_json(answer.content if answer.is_success else b"")
        except ValidationError as error:
            raise Away(f"The hub gave no usable answer (HTTP {answer.status_code}).", "Nothing was graded.") from error
        if server.token:
            self._token, self._since = server.token, time.monotonic()
        return server

    async def _asked(self, method: str, assignment: str, what: str, seconds: float = ANSWER_SECONDS) -> Any:
        """Ask the course's server; while it does not answer, for a while again. Every question may be asked twice."""
        until = time.monotonic() + AWAY_SECONDS
        while True:
            try:
                answer = await self._sent(method, assignment, what, seconds)
                if answer.is_success:
                    return answer.json()
                trouble = f"HTTP {answer.status_code}"
                if answer.status_code == HTTPStatus.FORBIDDEN:
                    self._token = ""
                elif answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
                    until = 0.0  # It would say the same again.
            except (httpx.HTTPError, ValueError, Away) as error:
                trouble = error.means or error.what if isinstance(error, Away) else repr(error)
            if time.monotonic() > until:
                raise Away(f"The course's server did not do what it was asked ({what}).", trouble[:_LONGEST_REASON])
            await asyncio.sleep(LOOK_SECONDS)

    async def _sent(self, method: str, assignment: str, what: str, seconds: float) -> httpx.Response:
        account = COURSE_ACCOUNT + self.course
        headers = {"Authorization": f"token {await self._renewed()}", "Host": f"{account}.{self._ways.host}"}
        if self._ways.https:
            headers["X-Forwarded-Proto"] = "https"
        path = f"/user/{account}/formgrader/api/assignment/{quote(assignment, safe='')}/{what}"
        return await self._ways.proxy.request(method, path, headers=headers, timeout=seconds)


def _told(said: object) -> Told:
    try:
        return Told.model_validate(said)
    except ValidationError as error:
        raise Away("The course's server gave no usable answer about its run.") from error


async def _unless(stop: asyncio.Event, seconds: float) -> None:
    """Wait, but no longer than until `stop` is set."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
