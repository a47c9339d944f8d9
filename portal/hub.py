"""The hub as the portal sees it: who a token belongs to, which servers there are, stop one, and the OAuth exchange."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx

from portal.configuration import CLIENT
from portal.errors import HubSilent, NotLoggedIn

KNOWN_SECONDS = 5.0
TITLE_SECONDS = 60.0
ANSWER_SECONDS = 5.0
# A stop may take as long as Slurm takes to cancel; the hub answers 202 after ten seconds and goes on by itself.
STOP_SECONDS = 15.0
# Before it answers, the hub waits up to 15 seconds for squid, and for servers of ended sandboxes to stop.
FOLLOW_SECONDS = 40.0
_MOST_KNOWN = 20_000
_PAGE = 200
_STOPPED_TOO = {"include_stopped_servers": "1"}
log = logging.getLogger("portal")
_PAGINATED = {"Accept": "application/jupyterhub-pagination+json"}


@dataclass(frozen=True)
class HubPerson:
    """Whom a token belongs to."""

    name: str
    title: str
    groups: frozenset[str]
    scopes: frozenset[str]


@dataclass(frozen=True)
class HubServer:
    """A user's default server, when it is not stopped.

    Args:
        ready: it answers.
        pending: `spawn` or `stop` while one of these goes on; else empty.
        job: Slurm's number of its job; None when the hub does not know it yet.
        profile: id of the profile it was started with; empty when not known.
        started: when the start was asked for; None when the hub does not say.
    """

    ready: bool
    pending: str
    job: int | None
    profile: str
    started: datetime | None


@dataclass(frozen=True)
class HubUser:
    """An account of the hub; `server` is its first, `named` are the others that are not stopped, by name."""

    name: str
    title: str
    groups: tuple[str, ...]
    last_seen: datetime | None
    server: HubServer | None
    named: Mapping[str, HubServer] = field(default_factory=dict)


@dataclass(frozen=True)
class ClassStarted:
    """What becomes of a class: servers that are being started, that ran already, and members who have no profile."""

    starting: int
    running: int
    without: int


class Hub:
    """JupyterHub's REST API.

    Args:
        client: a client whose base URL is the hub's API, ending in `/`.
        token: the portal's own token.
        clock: seconds that only go up.
    """

    def __init__(self, client: httpx.AsyncClient, token: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._token = token
        self._clock = clock
        self._known: dict[bytes, tuple[float, HubPerson]] = {}
        self._titles: dict[str, tuple[float, str]] = {}

    async def close(self) -> None:
        """Close the connections to the hub."""
        await self._client.aclose()

    async def who(self, token: str) -> HubPerson:
        """Whom this token belongs to, as of at most five seconds ago.

        Raises:
            NotLoggedIn: the hub does not know the token, or not any more.
            HubSilent: the hub does not say.
        """
        key = hashlib.sha256(token.encode()).digest()
        now = self._clock()
        seen = self._known.get(key)
        if seen is not None and now - seen[0] < KNOWN_SECONDS:
            return seen[1]
        answer = await self._ask("GET", "user", token)
        if answer.status_code in (401, 403):
            self._known.pop(key, None)
            raise NotLoggedIn("The hub does not know this token.")
        person = _person(_model(answer))
        if len(self._known) >= _MOST_KNOWN:
            self._known = {one: value for one, value in self._known.items() if now - value[0] < KNOWN_SECONDS}
        self._known[key] = (now, person)
        return person

    def forget(self, token: str) -> None:
        """Ask anew at the next `who`."""
        self._known.pop(hashlib.sha256(token.encode()).digest(), None)

    async def exchange(self, code: str, verifier: str, redirect: str) -> str:
        """The token for an authorization code (RFC 6749, section 4.1.3; RFC 7636, section 4.5).

        Raises:
            NotLoggedIn: the hub does not accept the code.
            HubSilent: the hub does not say.
        """
        form = {
            "client_id": CLIENT,
            "client_secret": self._token,
            "grant_type": "authorization_code",
            "code": code,
            "code_verifier": verifier,
            "redirect_uri": redirect,
        }
        answer = await self._ask("POST", "oauth2/token", "", form=form)
        if answer.status_code in (400, 401, 403):
            raise NotLoggedIn("The hub does not accept this login.")
        token = _model(answer).get("access_token")
        if not isinstance(token, str) or not token:
            raise HubSilent("The hub gave no token.")
        return token

    async def active(self) -> dict[str, HubUser]:
        """All users with a server that is not stopped.

        Raises:
            HubSilent: the hub does not say; so do the methods below.
        """
        found: dict[str, HubUser] = {}
        offset: int | None = 0
        while offset is not None:
            page, offset = await self._users(offset, _PAGE, state="active")
            found |= {user.name: user for user in page}
        return found

    async def people(self, offset: int, limit: int) -> tuple[list[HubUser], int | None]:
        """One page of all accounts by name, and where the next page begins; None at the end."""
        return await self._users(offset, limit, sort="name")

    async def titles(self, names: Sequence[str]) -> dict[str, str]:
        """What pages call these people; their names while the hub does not say."""
        titles = await asyncio.gather(*(self._title(name) for name in names))
        return dict(zip(names, titles, strict=True))

    async def _title(self, name: str) -> str:
        now = self._clock()
        seen = self._titles.get(name)
        if seen is not None and now - seen[0] < TITLE_SECONDS:
            return seen[1]
        try:
            answer = await self._ask("GET", f"users/{quote(name, safe='')}", self._token)
            title = _title(_model(answer), name)
        except HubSilent:
            return name
        if len(self._titles) >= _MOST_KNOWN:
            self._titles.clear()
        self._titles[name] = (now, title)
        return title

    async def follow_sandboxes(self) -> bool:
        """Ask the hub to make accounts and roles as the ledger says now; it does so by itself, too, a minute later.

        Returns:
            Whether it said that it did.
        """
        return await self._follow("sandboxes")

    async def follow_courses(self) -> bool:
        """Ask the hub to make accounts and groups of the courses that are given now; as `follow_sandboxes`."""
        return await self._follow("courses")

    async def start_class(self, token: str, course: str) -> ClassStarted | None:
        """Start the servers of everybody who takes a course.

        Args:
            token: a teacher's own, or this service's for the site's command.
            course: its id.

        Returns:
            What becomes of the class; None when the token may not.
        """
        answer = await self._ask("POST", f"leerlab/courses/{quote(course, safe='')}/start", token, seconds=STOP_SECONDS)
        if answer.status_code in (401, 403, 404):
            return None
        try:
            told = answer.json() if answer.status_code == httpx.codes.ACCEPTED else {}
            return ClassStarted(int(told["starting"]), int(told["running"]), int(told["without"]))
        except (ValueError, KeyError, TypeError) as error:
            raise HubSilent(f"The hub answered {answer.status_code} to the start of a class.") from error

    async def _follow(self, what: str) -> bool:
        try:
            answer = await self._ask("POST", f"leerlab/{what}", self._token, seconds=FOLLOW_SECONDS)
        except HubSilent as error:
            log.warning("%s", error)
            return False
        if answer.status_code >= 300:
            log.warning("The hub answered %d to a change of %s.", answer.status_code, what)
        return answer.status_code < 300

    async def named_servers(self, owner: str) -> tuple[str, ...]:
        """The names of all servers with a name that an account has, those that are stopped too."""
        path = f"users/{quote(owner, safe='')}"
        servers = _model(await self._ask("GET", path, self._token, query=_STOPPED_TOO)).get("servers")
        return tuple(sorted(str(one) for one in servers if one)) if isinstance(servers, dict) else ()

    async def stop(self, token: str, owner: str, server: str = "", *, remove: bool = False) -> bool:
        """Stop a user's server, or withdraw its start, with somebody's own token.

        Args:
            token: somebody's own.
            owner: the account whose server it is.
            server: its name; empty for the first.
            remove: forget a server with a name as well.

        Returns:
            Whether the token may do so; also true when nothing runs any more.
        """
        path = f"users/{quote(owner, safe='')}/server" + (f"s/{quote(server, safe='')}" if server else "")
        body = {"remove": True} if remove else None
        answer = await self._ask("DELETE", path, token, body=body, seconds=STOP_SECONDS)
        if answer.status_code in (401, 403, 404):
            return False
        if answer.status_code in (202, 204, 400):  # 400: it is not running
            return True
        raise HubSilent(f"The hub answered {answer.status_code} to a stop.")

    async def _users(self, offset: int, limit: int, **query: str) -> tuple[list[HubUser], int | None]:
        parameters = {"offset": str(offset), "limit": str(limit), **query}
        answer = await self._ask("GET", "users", self._token, query=parameters, headers=_PAGINATED)
        model = _model(answer)
        items, page = model.get("items"), model.get("_pagination")
        if not isinstance(items, list) or not isinstance(page, dict):
            raise HubSilent("The hub gave no list of users.")
        following = page.get("next")
        return [_user(item) for item in items], int(following["offset"]) if isinstance(following, dict) else None

    async def _ask(
        self,
        method: str,
        path: str,
        token: str,
        *,
        form: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> httpx.Response:
        sent = {**(headers or {}), **({"Authorization": f"token {token}"} if token else {})}
        try:
            # httpx bounds each read; a hub that sends a byte now and then is bounded here.
            async with asyncio.timeout(seconds):
                return await self._client.request(
                    method, path, data=form, json=body, params=query, headers=sent, timeout=seconds
                )
        except (httpx.HTTPError, TimeoutError) as error:
            raise HubSilent(f"The hub does not answer: {error!r}.") from error


def _model(answer: httpx.Response) -> dict[str, Any]:
    try:
        model = answer.json() if answer.status_code == httpx.codes.OK else None
    except ValueError as error:
        raise HubSilent("The hub's answer makes no sense.") from error
    if not isinstance(model, dict):
        raise HubSilent(f"The hub answered {answer.status_code}.")
    return model


def _person(model: Mapping[str, Any]) -> HubPerson:
    name, groups, scopes = model.get("name"), model.get("groups"), model.get("scopes")
    if model.get("kind") != "user" or not isinstance(name, str) or not isinstance(groups, list):
        raise NotLoggedIn("This token is not a person's.")
    return HubPerson(name, _title(model, name), frozenset(map(str, groups)), frozenset(map(str, scopes or [])))


def _title(model: Mapping[str, Any], name: str) -> str:
    about = model.get("user_info")
    return str((about.get("title") if isinstance(about, dict) else "") or name)


def _user(model: Mapping[str, Any]) -> HubUser:
    name = str(model.get("name"))
    told = model.get("servers")
    servers = {
        str(one): _server(server)
        for one, server in (told.items() if isinstance(told, dict) else ())
        if isinstance(server, dict) and not server.get("stopped")
    }
    return HubUser(
        name,
        _title(model, name),
        tuple(sorted(map(str, model.get("groups") or []))),
        _moment(model.get("last_activity")),
        servers.pop("", None),
        servers,
    )


def _server(model: Mapping[str, Any]) -> HubServer:
    state = model.get("state")
    start = state.get("start") if isinstance(state, dict) else None
    start = start if isinstance(start, dict) else {}
    job = start.get("job")
    return HubServer(
        ready=bool(model.get("ready")),
        pending=str(model.get("pending") or ""),
        job=job if isinstance(job, int) else None,
        profile=str(start.get("profile") or ""),
        started=_moment(model.get("started")),
    )


def _moment(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def hub_client(address: str) -> httpx.AsyncClient:
    """A client for the hub's API.

    Args:
        address: `unix:/path/of/hub.sock`, or a URL without a path, such as `http://127.0.0.1:8081`.
    """
    # No proxy or certificate settings from the environment: the hub is always reached directly.
    if address.startswith("unix:"):
        transport = httpx.AsyncHTTPTransport(uds=address.removeprefix("unix:"))
        return httpx.AsyncClient(transport=transport, base_url="http://hub/hub/api/", trust_env=False)
    return httpx.AsyncClient(base_url=address.rstrip("/") + "/hub/api/", trust_env=False)
