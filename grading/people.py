"""What students of a course are called and who handed in, for its grading pages; the gradebook keeps pseudonyms."""

from __future__ import annotations

import asyncio
import json

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from grading.errors import TooLarge, WrongTree
from grading.identity import Hub
from grading.names import identifier
from grading.store import Store

MOST_AT_ONCE = 1000
LONGEST_BODY = 100_000


class PeopleRoutes:
    """Tells a course's own account what the course's students are called and what they handed in.

    Args:
        store: the exchange: who handed something in belongs to the course, also after leaving it.
        hub: knows what people are called.
    """

    def __init__(self, store: Store, hub: Hub) -> None:
        self._store = store
        self._hub = hub

    def routes(self) -> list[Route]:
        """Both routes."""
        return [
            Route("/people/{course}", self.titles, methods=["POST"]),
            Route("/people/{course}/handed-in", self.handed_in, methods=["GET"]),
        ]

    async def handed_in(self, request: Request) -> Response:
        """Everybody's hand-ins, each `[assignment, student, stamp, feedback]`; with `?assignment=` only of that one."""
        caller = await self._hub.caller(request.headers.get("authorization"))
        course = identifier("course", request.path_params["course"])
        caller.must_be_account(course)
        work = await asyncio.to_thread(self._store.handed_in, course, request.query_params.get("assignment", ""))
        return JSONResponse([[one.assignment, one.student, one.stamp, one.feedback] for one in work])

    async def titles(self, request: Request) -> Response:
        """For a list of names, what those of them who are of this course are called; of others nothing is said."""
        caller = await self._hub.caller(request.headers.get("authorization"))
        course = identifier("course", request.path_params["course"])
        caller.must_be_account(course)
        names = _names(await _body(request))
        work = await asyncio.to_thread(self._store.handed_in, course)
        titles = await self._hub.titles(names, course, {one.student for one in work})
        return JSONResponse(titles)


async def _body(request: Request) -> object:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_BODY:
            raise TooLarge("These are too many names at once.", f"At most {MOST_AT_ONCE} are answered.")
    try:
        return json.loads(body)
    except ValueError as error:
        raise WrongTree("This is no list of names.") from error


def _names(listed: object) -> list[str]:
    if not isinstance(listed, list):
        raise WrongTree("This is no list of names.")
    if len(listed) > MOST_AT_ONCE:
        raise TooLarge("These are too many names at once.", f"At most {MOST_AT_ONCE} are answered.")
    return sorted({identifier("person", name) for name in listed})
