"""Who asks, and which servers of theirs run, by the hub's word alone.

A token of a person's own server, or of theirs in a sandbox, names the person. Which servers run is asked with the
gateway's own token, each time anew but for a few seconds, so that a server that stops or starts counts at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

import httpx

from assistant.errors import Refused
from assistant.policy import Kind, Place
from base.accounts import COURSE_PREFIX, box_account, box_of
from ledger.sandboxes import Sandbox

CACHE_SECONDS = 5.0
HUB_SECONDS = 10.0
STUDENTS, TEACHERS = "nbgrader-", "formgrade-"
_LONGEST_TOKEN = 512


class Sandboxes(Protocol):
    """What is needed of the ledger; `ledger.sandboxes.SandboxLedger` has it."""

    def of(self, person: str) -> Sequence[Sandbox]: ...


@dataclass(frozen=True)
class Asker:
    """Somebody who asks.

    Args:
        person: pseudonym.
        account: the hub account from whose server they ask.
        places: what all of their running servers are for.
    """

    person: str
    account: str
    places: tuple[Place, ...]


class Askers:
    """Asks JupyterHub's REST API.

    Args:
        client: an HTTP client whose base URL is the hub's API.
        token: the gateway's own, with the scopes `read:users:name`, `read:users:groups` and `read:servers`.
        courses: ids of the site's courses; groups of other courses mean nothing.
        sandboxes: who is in which sandbox.
        clock: seconds that only go up.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        token: str,
        courses: frozenset[str],
        sandboxes: Sandboxes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._token = token
        self._courses = courses
        self._sandboxes = sandboxes
        self._clock = clock
        self._known: dict[bytes, tuple[float, Asker]] = {}

    async def close(self) -> None:
        """Close the connections to the hub."""
        await self._client.aclose()

    async def asker(self, authorization: str | None) -> Asker:
        """Who sent `Authorization: Bearer <token of a server>`, as of at most a few seconds ago.

        Raises:
            Refused: there is no token, the hub does not know it or is silent, or it is not of a person's own server.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token or not token.isascii() or len(token) > _LONGEST_TOKEN:
            raise _nobody()
        key = hashlib.sha256(token.encode()).digest()
        now = self._clock()
        self._known = {kept: value for kept, value in self._known.items() if now - value[0] < CACHE_SECONDS}
        if key not in self._known:
            # As of before the hub was asked: what changes while it answers counts from the next question on.
            self._known[key] = (now, await self._ask(token))
        return self._known[key][1]

    async def _ask(self, token: str) -> Asker:
        status, user = await self._get("user", token)
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise _nobody()
        account = user.get("name")
        if status != HTTPStatus.OK or user.get("kind") != "user" or not isinstance(account, str) or not account:
            raise _silent()
        # JupyterHub's role `server` has this scope, a token that somebody gave to another server has not
        # (jupyterhub/roles.py).
        scopes = user.get("scopes")
        own = {f"users:activity!user={account}", "users:activity"}
        if not isinstance(scopes, list) or not own & {scope for scope in scopes if isinstance(scope, str)}:
            raise _nobody()
        if account.startswith(COURSE_PREFIX):
            raise Refused(HTTPStatus.FORBIDDEN, "off")
        box = box_of(account)
        person = box[1] if box else account
        accounts = {person: None} | {
            box_account(sandbox.id, person): Place(Kind.SANDBOX, sandbox.id)
            for sandbox in await asyncio.to_thread(self._sandboxes.of, person)
        }
        if account not in accounts:
            # A sandbox of which this person is no member any more.
            raise _nobody()
        found = await asyncio.gather(*(self._places(name, place) for name, place in accounts.items()))
        return Asker(person, account, tuple(dict.fromkeys(place for places in found for place in places)))

    async def _places(self, account: str, sandbox: Place | None) -> tuple[Place, ...]:
        """What an account's server is for; nothing while it has none that runs or starts."""
        status, model = await self._get(f"users/{account}", self._token)
        if status == HTTPStatus.NOT_FOUND:
            return ()
        servers, groups = model.get("servers"), model.get("groups")
        if status != HTTPStatus.OK or not isinstance(servers, dict) or not isinstance(groups, list):
            raise _silent()
        if not servers:
            return ()
        return (sandbox,) if sandbox else own_places(groups, self._courses)

    async def _get(self, path: str, token: str) -> tuple[int, dict[str, Any]]:
        try:
            answer = await self._client.get(path, headers={"Authorization": f"token {token}"}, timeout=HUB_SECONDS)
            model = answer.json() if answer.status_code == HTTPStatus.OK else {}
        except (httpx.HTTPError, ValueError) as error:
            raise _silent() from error
        return answer.status_code, model if isinstance(model, dict) else {}


def own_places(groups: Sequence[object], courses: frozenset[str]) -> tuple[Place, ...]:
    """What a person's own server is for: all courses that they take; of who takes none, those that they teach.

    Args:
        groups: the hub's.
        courses: ids of the site's courses.
    """
    for prefix in (STUDENTS, TEACHERS):
        named = [group.removeprefix(prefix) for group in groups if isinstance(group, str) and group.startswith(prefix)]
        if taken := sorted(courses & set(named)):
            return tuple(Place(Kind.COURSE, course) for course in taken)
    return ()


def _nobody() -> Refused:
    return Refused(HTTPStatus.UNAUTHORIZED, "nobody")


def _silent() -> Refused:
    return Refused(HTTPStatus.SERVICE_UNAVAILABLE, "busy", again=10)
