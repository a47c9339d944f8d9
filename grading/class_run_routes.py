"""The routes of class runs, for the site's own command alone: who has the service's own token.

Labs reach this service too. Its token lies in the state folder, which only the site's account can read; a person's or
a course's token opens nothing here.
"""

from __future__ import annotations

import asyncio
import hmac

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from grading.class_runs import ClassRuns
from grading.errors import NotAllowed, NotFound
from grading.grade_rules import GradeRules
from grading.names import identifier
from grading.store import Store


class ClassRunRoutes:
    """Begin, see and stop runs.

    Args:
        runs: what makes them.
        rules: which courses there are.
        store: what was handed in.
        token: the service's own.
    """

    def __init__(self, runs: ClassRuns, rules: GradeRules, store: Store, token: str) -> None:
        self._runs, self._rules, self._store, self._token = runs, rules, store, token

    def routes(self) -> list[Route]:
        """The routes, all below `/class-runs`."""
        return [
            Route("/class-runs/{course}", self.of_course, methods=["GET"]),
            Route("/class-runs/{course}/{assignment}", self.standing, methods=["GET"]),
            Route("/class-runs/{course}/{assignment}", self.begin, methods=["POST"]),
            Route("/class-runs/{course}/{assignment}", self.stop, methods=["DELETE"]),
        ]

    async def of_course(self, request: Request) -> Response:
        """Every assignment for which anything was handed in."""
        course = self._course(request)
        assignments = await asyncio.to_thread(self._store.assignments, course)
        return JSONResponse([self._runs.told(course, one) for one in assignments])

    async def standing(self, request: Request) -> Response:
        """One assignment's runs."""
        return JSONResponse(self._runs.told(*await self._place(request)))

    async def begin(self, request: Request) -> Response:
        """Begin a run, after the course's others; `number` is in `answered` once it has ended."""
        course, assignment = await self._place(request)
        number = await self._runs.ask(course, assignment)
        return JSONResponse({**self._runs.told(course, assignment), "number": number}, status_code=202)

    async def stop(self, request: Request) -> Response:
        """Stop it; marks so far stay."""
        course, assignment = await self._place(request)
        stopped = await self._runs.stop(course, assignment)
        return JSONResponse({**self._runs.told(course, assignment), "stopped": stopped})

    def _course(self, request: Request) -> str:
        """The course, once it is known that the caller is the site's own command.

        Raises:
            NotAllowed: it is somebody else.
            NotFound: the site gives no such course.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "token" or not hmac.compare_digest(token.encode(), self._token.encode()):
            raise NotAllowed("Runs are begun, seen and stopped by the site's own command.", "", "Run leerlab grade.")
        course = identifier("course", request.path_params["course"])
        if course not in self._rules.courses():
            raise NotFound(f"The site gives no course {course}.")
        return course

    async def _place(self, request: Request) -> tuple[str, str]:
        course = self._course(request)
        assignment = identifier("assignment", request.path_params["assignment"])
        if assignment not in await asyncio.to_thread(self._store.assignments, course):
            raise NotFound(f"Nothing was handed in for an assignment {assignment} of {course}.")
        return course, assignment
