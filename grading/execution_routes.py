"""The routes of graded execution; open to course accounts only, and to each only for its own executions."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from grading.errors import NotAllowed, NotFound, WrongTree
from grading.exchange import Journal, discarded, idempotency_key, received
from grading.executions import Asked, ExecutionLimits, Executions, sentence
from grading.identity import Caller, Hub
from spawners.settings import Profile

LONGEST_WAIT = 30.0


class ExecutionRoutes:
    """Runs notebooks for course accounts.

    Args:
        executions: what runs them.
        hub: who a token belongs to.
        journal: what is remembered.
        limits: named in answers, so that a course can say what a limit was.
        profile: idem.
    """

    def __init__(
        self, executions: Executions, hub: Hub, journal: Journal, limits: ExecutionLimits, profile: Profile
    ) -> None:
        self._executions = executions
        self._hub = hub
        self._journal = journal
        self._params = {"seconds": limits.notebook_seconds, "memory": str(profile.memory)}

    def routes(self) -> list[Route]:
        """The routes, all below `/executions`."""
        return [
            Route("/executions", self.start, methods=["POST"]),
            Route("/executions/{execution}", self.standing, methods=["GET"]),
            Route("/executions/{execution}", self.cancel, methods=["DELETE"]),
            Route("/executions/{execution}/{item}", self.notebook, methods=["GET"]),
        ]

    async def start(self, request: Request) -> Response:
        """Take in notebooks with their files and run them; answers the execution's id at once. An `Idempotency-Key`
        makes it safe to send again: the same key is the same execution."""
        caller = await self._account(request)
        key = idempotency_key(request)
        async with self._executions.only_once(caller.account, key) as (execution, before):
            if before is not None:
                await discarded(request)
                return JSONResponse({"id": before.id}, status_code=202)
            async with self._executions.incoming(execution) as incoming:
                await received(request, incoming)
                asked = await self._executions.start(execution, incoming, caller.account, caller.name)
        what = {"execution": asked.id, "job": asked.job, "notebooks": len(asked.items)}
        await self._journal.write(caller.name, "execution.start", caller.account, **what)
        return JSONResponse({"id": asked.id}, status_code=202)

    async def standing(self, request: Request) -> Response:
        """Where an execution stands; with `?seconds=`, waits so long for its end."""
        asked = await self._asked(request)
        try:
            seconds = min(LONGEST_WAIT, float(request.query_params.get("seconds", "0")))
        except ValueError:
            raise WrongTree("The number of seconds is no number.") from None
        standing = await self._executions.standing(asked.id, seconds)
        sentences = {outcome: sentence(outcome) for outcome in standing.outcomes.values()}
        return JSONResponse(asdict(standing) | {"params": self._params, "sentences": sentences})

    async def cancel(self, request: Request) -> Response:
        """End an execution, or throw away one that has ended and is no longer needed."""
        asked = await self._asked(request)
        cancelled = await self._executions.give_up(asked.id)
        if cancelled:
            await self._journal.write(asked.by, "execution.cancel", asked.course, execution=asked.id)
        return JSONResponse({"id": asked.id, "cancelled": cancelled})

    async def notebook(self, request: Request) -> Response:
        """An executed notebook: untrusted bytes, which the course's server checks."""
        asked = await self._asked(request)
        result = await self._executions.result(asked.id, request.path_params["item"])
        return Response(result, media_type="application/octet-stream")

    async def _account(self, request: Request) -> Caller:
        caller = await self._hub.caller(request.headers.get("authorization"))
        if not caller.account:
            raise NotAllowed("Only a course account may run notebooks for marks.")
        return caller

    async def _asked(self, request: Request) -> Asked:
        caller = await self._account(request)
        asked = await asyncio.to_thread(self._executions.asked, request.path_params["execution"])
        if asked.course != caller.account:
            raise NotFound("There is no such execution.")
        return asked
