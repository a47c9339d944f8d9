"""Who calls, by the hub's word alone: the token names the person, the hub's groups name the courses."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Container, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from base.course_groups import OWNERS, STAFF, STUDENTS
from grading.errors import NotAllowed, NotIdentified, Unavailable
from grading.names import COURSE_ACCOUNT

CACHE_SECONDS = 5.0
TITLE_SECONDS = 60.0
NAMES_AT_ONCE = 1000
HUB_TIMEOUT = 10.0


@dataclass(frozen=True)
class Caller:
    """Somebody whom the hub knows, and what they are in the courses of this site.

    Args:
        name: the hub's name of the person or the course account.
        studies: courses in which they are a student.
        teaches: courses that they teach, as owner, grader or reader: here each of these may only look.
        account: the course whose account this is; empty for people.
    """

    name: str
    studies: frozenset[str]
    teaches: frozenset[str]
    account: str = ""

    def sees(self, course: str) -> bool:
        """Whether the course exists for this caller at all."""
        return course in self.studies or course in self.teaches or (bool(course) and course == self.account)

    def oversees(self, course: str) -> bool:
        """Whether they may see everybody's work in the course: its account and its teachers."""
        return course in self.teaches or (bool(course) and course == self.account)

    def must_see(self, course: str) -> None:
        """Raises:
        NotAllowed: the caller has no part in the course, or there is no such course: the two look the same.
        """
        if not self.sees(course):
            raise NotAllowed(
                f"You have no part in a course {course}.",
                "",
                "Check the course's name; if it is right, ask your teacher to add you.",
            )

    def must_be_account(self, course: str) -> None:
        """Raises:
        NotAllowed: the caller is not the course's own account.
        """
        if not course or course != self.account:
            raise NotAllowed(
                f"Only the course account of {course} may do this.",
                "",
                "Use the course's own grading page (formgrader).",
            )


class Hub:
    """Asks JupyterHub's REST API who a token belongs to and which groups that person is in.

    Args:
        client: an HTTP client whose base URL is the hub's API, such as `http://hub/hub/api/`.
        token: the grading service's own token, with the scopes `read:users:name`, `read:users:groups` and
            `read:groups`.
        courses: ids of the site's courses, as they are when asked; groups of other courses mean nothing.
        clock: seconds that only go up.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        token: str,
        courses: Container[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._token = token
        self._courses = courses
        self._clock = clock
        self._known: dict[bytes, tuple[float, Caller]] = {}
        self._titles: dict[str, tuple[float, str, frozenset[str]]] = {}

    async def close(self) -> None:
        """Close the connections to the hub."""
        await self._client.aclose()

    async def caller(self, authorization: str | None) -> Caller:
        """The person behind an `Authorization: token ...` header.

        Raises:
            NotIdentified: there is no token, or the hub does not know it.
            NotAllowed: the token may not act for its owner: it is not of a server of the person's own.
            Unavailable: the hub does not answer, or answers in a way that says nothing.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "token" or not token or not token.isascii() or len(token) > 512:
            raise NotIdentified("No token was sent with this request.", "", "Use it from a server of Leerlab.")
        key = hashlib.sha256(token.encode()).digest()
        now = self._clock()
        self._known = {kept: value for kept, value in self._known.items() if now - value[0] < CACHE_SECONDS}
        if key in self._known:
            return self._known[key][1]
        caller = await self._ask(token)
        self._known[key] = (now, caller)
        return caller

    async def titles(self, names: Sequence[str], course: str, besides: Collection[str]) -> dict[str, str]:
        """What people of a course are called, as of at most a minute ago.

        Args:
            names: of whom it is asked; who is not of the course, or not known to the hub, is left out.
            course: only its students are answered, and those in `besides`.
            besides: names that belong to the course though its group does not say so.

        Raises:
            Unavailable: the hub does not answer.
        """
        found = await self._learned(names)
        return {
            name: title
            for name, (_, title, studies) in found.items()
            if title and (course in studies or name in besides)
        }

    async def students(self, course: str) -> dict[str, str]:
        """Who takes a course now, with what they are called; who has no title is called by their name.

        Raises:
            Unavailable: the hub does not answer.
        """
        status, group = await self._get(f"groups/{STUDENTS}{course}", self._token)
        if status == 404:
            return {}
        names = group.get("users")
        if status != 200 or not isinstance(names, list):
            raise _said_nothing(status)
        known = sorted(name for name in names if isinstance(name, str) and not name.startswith(COURSE_ACCOUNT))
        titles = await self.titles(known, course, known)
        return {name: titles.get(name, name) for name in known}

    async def owns(self, name: str, course: str) -> bool:
        """Whether somebody owns a course, by the hub's word of this moment.

        Raises:
            Unavailable: the hub does not answer.
        """
        status, model = await self._get(f"users/{name}", self._token)
        if status == 404:
            return False
        groups = model.get("groups")
        if status != 200 or model.get("name") != name or not isinstance(groups, list):
            raise _said_nothing(status)
        return course in self._courses and OWNERS + course in groups

    async def _learned(self, names: Sequence[str]) -> dict[str, tuple[float, str, frozenset[str]]]:
        """What is known of everybody; the hub is asked about those of whom it said nothing in the last minute."""
        now = self._clock()
        self._titles = {kept: value for kept, value in self._titles.items() if now - value[0] < TITLE_SECONDS}
        found = {name: self._titles[name] for name in names if name in self._titles}
        asked = [name for name in names if name not in found]
        for first in range(0, len(asked), NAMES_AT_ONCE):
            some = asked[first : first + NAMES_AT_ONCE]
            status, people = await self._get("leerlab/people", self._token, some)
            if status != 200:
                raise _said_nothing(status)
            found |= {name: (now, *self._told(people.get(name))) for name in some}
        self._titles |= {name: found[name] for name in asked}
        return found

    def _told(self, model: object) -> tuple[str, frozenset[str]]:
        """A person's title and courses, as the hub says them; nothing of one whom it does not know."""
        plain = model if isinstance(model, dict) else {}
        about, groups = plain.get("user_info"), plain.get("groups")
        title = about.get("title") if isinstance(about, dict) else None
        studies = self._courses_of(groups if isinstance(groups, list) else [], STUDENTS)
        return (title if isinstance(title, str) else ""), studies

    async def _ask(self, token: str) -> Caller:
        status, person = await self._get("user", token)
        if status in {401, 403}:
            raise NotIdentified(
                "The hub does not know this server's token.", "The server was stopped or replaced.", "Start it again."
            )
        name = person.get("name")
        if status != 200 or person.get("kind") != "user" or not isinstance(name, str) or not name:
            raise _said_nothing(status)
        # JupyterHub's role `server` has this scope, a token that the person gave to somebody else's server has not
        # (jupyterhub/roles.py).
        scopes = person.get("scopes")
        own = {f"users:activity!user={name}", "users:activity"}
        if not isinstance(scopes, list) or not own & {scope for scope in scopes if isinstance(scope, str)}:
            raise NotAllowed(
                "This token may not hand in or fetch work for its owner.", "It is not of their own server."
            )
        if name.startswith(COURSE_ACCOUNT):
            course = name.removeprefix(COURSE_ACCOUNT)
            return Caller(name, frozenset(), frozenset(), course if course in self._courses else "")
        status, model = await self._get(f"users/{name}", self._token)
        groups = model.get("groups")
        if status != 200 or model.get("name") != name or not isinstance(groups, list):
            raise _said_nothing(status)
        teaches = frozenset().union(*(self._courses_of(groups, prefix) for prefix in STAFF))
        return Caller(name, self._courses_of(groups, STUDENTS), teaches)

    def _courses_of(self, groups: list[Any], prefix: str) -> frozenset[str]:
        named = {group.removeprefix(prefix) for group in groups if isinstance(group, str) and group.startswith(prefix)}
        return frozenset(course for course in named if course in self._courses)

    async def _get(self, path: str, token: str, names: Sequence[str] | None = None) -> tuple[int, dict[str, Any]]:
        """What the hub answers; with names, to a question about those."""
        headers = {"Authorization": f"token {token}"}
        try:
            if names is None:
                answer = await self._client.get(path, headers=headers, timeout=HUB_TIMEOUT)
            else:
                answer = await self._client.post(path, headers=headers, timeout=HUB_TIMEOUT, json=list(names))
            model = answer.json() if answer.status_code == 200 else {}
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable(
                "The hub does not answer, so it cannot be checked who you are.",
                "Nothing was changed and nothing is lost.",
                "Try again in a minute.",
            ) from error
        return answer.status_code, model if isinstance(model, dict) else {}


def _said_nothing(status: int) -> Unavailable:
    return Unavailable(
        f"The hub gave no usable answer (HTTP {status}), so it cannot be checked who you are.",
        "Nothing was changed and nothing is lost.",
        "Try again in a minute.",
    )


def hub_client(address: str) -> httpx.AsyncClient:
    """A client for the hub's API.

    Args:
        address: `unix:/path/of/hub.sock`, or the API's URL, such as `http://127.0.0.1:8081/hub/api`.
    """
    # No proxy or certificate settings from the environment: the hub is always reached directly.
    if address.startswith("unix:"):
        transport = httpx.AsyncHTTPTransport(uds=address.removeprefix("unix:"))
        return httpx.AsyncClient(transport=transport, base_url="http://hub/hub/api/", trust_env=False)
    return httpx.AsyncClient(base_url=address.rstrip("/") + "/", trust_env=False)
