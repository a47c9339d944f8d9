"""Who asks and which servers of theirs run, by the hub's word alone; nothing that a request says counts, but its token.

A token is looked up anew after `CACHE_SECONDS`: so long, and no longer, a stopped server's token may still be believed,
and so long a server that has just been started may still be unknown.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx

from assistant.errors import Code, Refusal, unreachable
from assistant.policy import Purpose, of_groups, of_sandbox
from assistant.settings import AssistantSettings
from base.messages import Message

CACHE_SECONDS = 5.0
HUB_SECONDS = 10.0
LONGEST_TOKEN = 512
MOST_KNOWN = 10_000
_COURSE_ACCOUNT = "course-"
_BOX = re.compile(r"box-(?P<sandbox>[a-z2-7]{8})-(?P<person>[a-z][a-z0-9-]{1,30})")
"""A member's account in a sandbox (decision 2)."""


@dataclass(frozen=True)
class Asker:
    """Somebody who asks.

    Args:
        person: the pseudonym; a member's account in a sandbox counts as its person.
        here: what the asking server is for.
        everywhere: what all running servers of the person are for.
    """

    person: str
    here: tuple[Purpose, ...]
    everywhere: tuple[Purpose, ...]


@dataclass(frozen=True)
class _Server:
    running: bool
    purposes: tuple[Purpose, ...]


class Hub:
    """Asks JupyterHub's API who a token belongs to and what of that person runs.

    Args:
        client: an HTTP client whose base URL is the hub's API.
        token: the gateway's own token, with the scopes `read:users:name`, `read:users:groups` and `read:servers`.
        settings: the section of site.yaml.
        sandboxes_of: ids of the sandboxes that a person is or was in; blocks, and is called in a thread.
        clock: seconds that only go up.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        token: str,
        settings: AssistantSettings,
        sandboxes_of: Callable[[str], Collection[str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._token = token
        self._settings = settings
        self._sandboxes_of = sandboxes_of
        self._clock = clock
        self._known: dict[bytes, tuple[float, Asker]] = {}
        self._asking: dict[bytes, asyncio.Task[Asker]] = {}

    async def close(self) -> None:
        """Close the connections to the hub."""
        await self._client.aclose()

    async def asker(self, authorizations: Collection[str]) -> Asker:
        """The person behind a request.

        Args:
            authorizations: every `Authorization` header that it has.

        Raises:
            Refusal: 401 without a token that the hub knows, 403 for one that is not of a running server of the
                person's own, 503 while the hub does not answer.
        """
        token = _token(authorizations)
        key = hashlib.sha256(token.encode()).digest()
        now = self._clock()
        seen = self._known.get(key)
        if seen is not None and now - seen[0] < CACHE_SECONDS:
            return seen[1]
        self._known.pop(key, None)
        # Many questions at one time with one token are one question to the hub.
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(token))
            self._asking[key] = task
            task.add_done_callback(lambda _task: self._asking.pop(key, None))
        asker = await asyncio.shield(task)
        if len(self._known) >= MOST_KNOWN:
            self._known = {kept: value for kept, value in self._known.items() if now - value[0] < CACHE_SECONDS}
        self._known[key] = (now, asker)
        return asker

    async def _ask(self, token: str) -> Asker:
        status, model = await self._get("user", token)
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise Refusal(HTTPStatus.UNAUTHORIZED, Code.OFF, Message("assistant.off.token"))
        account, scopes = model.get("name"), model.get("scopes")
        if status != HTTPStatus.OK or model.get("kind") != "user" or not isinstance(account, str) or not account:
            raise _silent()
        # JupyterHub's role `server` has this scope; a token made for somebody else's server has not (roles.py).
        own = {f"users:activity!user={account}", "users:activity"}
        if not isinstance(scopes, list) or not own & {scope for scope in scopes if isinstance(scope, str)}:
            raise Refusal(HTTPStatus.FORBIDDEN, Code.OFF, Message("assistant.off.token"))
        if account.startswith(_COURSE_ACCOUNT):
            raise Refusal(HTTPStatus.FORBIDDEN, Code.OFF, Message("assistant.off.here"))
        box = _BOX.fullmatch(account)
        person = box["person"] if box else account
        sandboxes = set(await asyncio.to_thread(self._sandboxes_of, person))
        accounts = {person, account, *(f"box-{sandbox}-{person}" for sandbox in sandboxes)}
        found = dict(zip(accounts, await asyncio.gather(*(self._server(one) for one in accounts)), strict=True))
        if not found[account].running:
            # The hub knows the token, and no server of it: it was made by hand, or the server is just gone.
            raise Refusal(HTTPStatus.FORBIDDEN, Code.OFF, Message("assistant.off.stopped"))
        everywhere = {purpose for one in found.values() if one.running for purpose in one.purposes}
        return Asker(person, found[account].purposes, tuple(sorted(everywhere)))

    async def _server(self, account: str) -> _Server:
        """Whether an account's server runs or starts, and what it is for."""
        status, model = await self._get(f"users/{account}", self._token)
        if status == HTTPStatus.NOT_FOUND:
            return _Server(False, ())
        servers, groups = model.get("servers"), model.get("groups")
        if status != HTTPStatus.OK or model.get("name") != account:
            raise _silent()
        if not isinstance(servers, dict) or not isinstance(groups, list):
            raise _silent()
        box = _BOX.fullmatch(account)
        named = [group for group in groups if isinstance(group, str)]
        return _Server(bool(servers), of_sandbox(box["sandbox"]) if box else of_groups(named, self._settings))

    async def _get(self, path: str, token: str) -> tuple[int, dict[str, Any]]:
        try:
            answer = await self._client.get(path, headers={"Authorization": f"token {token}"}, timeout=HUB_SECONDS)
            model = answer.json() if answer.status_code == HTTPStatus.OK else {}
        except (httpx.HTTPError, ValueError) as error:
            raise _silent() from error
        return answer.status_code, model if isinstance(model, dict) else {}


def _token(authorizations: Collection[str]) -> str:
    """The token of a request's one `Authorization` header."""
    only = next(iter(authorizations)) if len(authorizations) == 1 else ""
    scheme, _, token = only.partition(" ")
    plain = token.isascii() and token.isprintable() and " " not in token
    if scheme.lower() not in {"bearer", "token"} or not token or not plain or len(token) > LONGEST_TOKEN:
        raise Refusal(HTTPStatus.UNAUTHORIZED, Code.OFF, Message("assistant.off.no-token"))
    return token


def _silent() -> Refusal:
    return unreachable("assistant.unreachable.hub")
