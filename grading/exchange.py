"""The exchange's routes: who may see, fetch, hand in, release and give back, and what the ledger remembers of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from grading.errors import GradingError, NotAllowed, NotFound, TooLarge, WrongTree
from grading.identity import Caller, Hub
from grading.names import identifier, person
from grading.receipt import receipt
from grading.store import Deposit, Incoming, Store
from grading.terms_shelf import TermsShelf
from grading.tree import MEDIA_TYPE, stream

Record = Callable[[str, str, str, Mapping[str, str]], object]
UPLOAD_SECONDS = 900.0
_LONGEST_KEY = 64
_DRAINED = 2**30

log = logging.getLogger("grading")


class Journal:
    """Writes what happened to the ledger, off the event loop.

    Args:
        record: `ledger.store.Ledger.record`: actor, action, subject, details.
    """

    def __init__(self, record: Record) -> None:
        self._record = record

    async def write(self, actor: str, action: str, subject: str, **details: Any) -> None:
        """Record one event. A ledger that cannot be written does not undo what was kept: it is said in the log."""
        said = {name: str(value) for name, value in details.items()}
        try:
            await asyncio.to_thread(self._record, actor, action, subject, said)
        except Exception:
            log.exception("Not recorded in the ledger: %s %s %s %s", actor, action, subject, said)


async def received(request: Request, incoming: Incoming) -> Incoming:
    """Feed a request's body to a tree on its way in.

    Raises:
        WrongTree: the body is no tree, or the connection was cut before all had arrived.
        TooLarge: it is more than may come in, or comes too slowly.
    """
    try:
        if request.headers.get("content-type", "").partition(";")[0].strip() != MEDIA_TYPE:
            raise WrongTree(f"Only {MEDIA_TYPE} is taken in.")
        async with asyncio.timeout(UPLOAD_SECONDS):
            await _fed(request, incoming)
    except ClientDisconnect:
        await asyncio.to_thread(incoming.give_up)
        raise WrongTree("The connection was cut.", "Nothing was kept.", "Send it again.") from None
    except TimeoutError:
        await asyncio.to_thread(incoming.give_up)
        raise TooLarge("Sending took too long.", "Nothing was kept.", "Send it again.") from None
    except BaseException:
        await asyncio.to_thread(incoming.give_up)
        raise
    return incoming


def idempotency_key(request: Request) -> str:
    """The sender's own name for this sending; empty where it gave none.

    Raises:
        WrongTree: it is no such name.
    """
    key = request.headers.get("idempotency-key", "")
    if len(key) > _LONGEST_KEY or not key.isascii():
        raise WrongTree("The Idempotency-Key is not usable.")
    return key


async def discarded(request: Request) -> None:
    """Read a body that is not needed to its end, so that the sender gets the answer and no cut connection.

    Raises:
        TooLarge: it comes too slowly.
        WrongTree: the connection was cut.
    """
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            async for _ in request.stream():
                pass
    except TimeoutError:
        raise TooLarge("Sending took too long.", "Nothing was kept.", "Send it again.") from None
    except ClientDisconnect:
        raise WrongTree("The connection was cut.", "Nothing was kept.", "Send it again.") from None


async def _fed(request: Request, incoming: Incoming) -> None:
    body = request.stream()
    async for chunk in body:
        if not chunk:
            continue
        try:
            await asyncio.to_thread(incoming.writer.feed, chunk)
        except GradingError:
            # A client that is still sending would see a cut connection instead of the reason.
            drained = 0
            async for rest in body:
                drained += len(rest)
                if drained > _DRAINED:
                    break
            raise


def tree_response(deposit: Deposit) -> StreamingResponse:
    """A deposit's files as a tree, with its stamp and time in the headers."""
    return StreamingResponse(
        stream(deposit.files, deposit.manifest.files),
        media_type=MEDIA_TYPE,
        headers={"Leerlab-Stamp": deposit.manifest.stamp, "Leerlab-Timestamp": deposit.manifest.timestamp},
    )


class ExchangeRoutes:
    """Every route checks the caller with the hub, then the course, then the names, and only then touches the store.

    Args:
        store: the exchange on disk.
        terms: by which rules work is taken in.
        hub: who a token belongs to.
        journal: what is remembered.
        receipt_key: signs receipts.
        handed_in: told of the course and assignment of each hand-in that is kept; waits for nothing and cannot fail.
    """

    def __init__(
        self,
        store: Store,
        terms: TermsShelf,
        hub: Hub,
        journal: Journal,
        receipt_key: bytes,
        *,
        handed_in: Callable[[str, str], None] = lambda _course, _assignment: None,
    ) -> None:
        self._store = store
        self._terms = terms
        self._hub = hub
        self._journal = journal
        self._receipt_key = receipt_key
        self._handed_in = handed_in

    def routes(self) -> list[Route]:
        """The routes, all below `/exchange`."""
        assignment = "/exchange/courses/{course}/assignments/{assignment}"
        one = assignment + "/submissions/{student}/{stamp}"
        return [
            Route("/exchange/courses", self.courses, methods=["GET"]),
            Route("/exchange/assignments", self.assignments, methods=["GET"]),
            Route("/exchange/submissions", self.submissions, methods=["GET"]),
            Route(assignment, self.fetch, methods=["GET"]),
            Route(assignment, self.release, methods=["PUT"]),
            Route(assignment, self.withdraw, methods=["DELETE"]),
            Route(assignment + "/submissions", self.submit, methods=["POST"]),
            Route(one, self.submission, methods=["GET"]),
            Route(one + "/feedback", self.feedback, methods=["GET"]),
            Route(one + "/feedback", self.give_feedback, methods=["PUT"]),
        ]

    async def courses(self, request: Request) -> Response:
        """The courses that exist for the caller, and as what."""
        caller = await self._caller(request)
        found = [{"course": course, "role": "student"} for course in sorted(caller.studies)]
        found += [{"course": course, "role": "teacher"} for course in sorted(caller.teaches)]
        found += [{"course": caller.account, "role": "account"}] if caller.account else []
        return JSONResponse(found)

    async def assignments(self, request: Request) -> Response:
        """What is released, in one course (`?course=`) or in all of the caller's."""
        caller = await self._caller(request)
        course = request.query_params.get("course", "")
        if course:
            caller.must_see(identifier("course", course))
        everything = sorted(caller.studies | caller.teaches | ({caller.account} - {""}))
        courses = [course] if course else everything
        return JSONResponse(await asyncio.to_thread(self._released, courses))

    def _released(self, courses: list[str]) -> list[dict[str, Any]]:
        return [
            {
                "course": deposit.manifest.course,
                "assignment": deposit.manifest.assignment,
                "timestamp": deposit.manifest.timestamp,
                "notebooks": deposit.manifest.notebooks,
                "files": [entry.path for entry in deposit.manifest.files],
                "sha256": deposit.manifest.sha256,
            }
            for course in courses
            for deposit in self._store.released(course)
        ]

    async def submissions(self, request: Request) -> Response:
        """The caller's own submissions; with `?everybody=1&course=`, all of a course that the caller oversees."""
        caller = await self._caller(request)
        query = request.query_params
        course, assignment, student = (query.get(name, "") for name in ("course", "assignment", "student"))
        if course:
            caller.must_see(identifier("course", course))
        if query.get("everybody") == "1":
            if not caller.oversees(course):
                raise NotAllowed(f"You may not see what others handed in for {course or 'all courses'}.")
        elif student not in {"", caller.name}:
            raise NotAllowed("You may see only what you handed in yourself.")
        elif caller.account:
            return JSONResponse([])
        else:
            student = caller.name
        courses = [course] if course else sorted(caller.studies)
        return JSONResponse(await asyncio.to_thread(self._submitted, courses, assignment, student))

    def _submitted(self, courses: list[str], assignment: str, student: str) -> list[dict[str, Any]]:
        return [
            self._described(deposit)
            for course in courses
            for deposit in self._store.submissions(course, assignment, student)
        ]

    def _described(self, deposit: Deposit) -> dict[str, Any]:
        manifest = deposit.manifest
        given = self._store.feedback(manifest.course, manifest.assignment, manifest.student, manifest.stamp)
        return {
            "course": manifest.course,
            "assignment": manifest.assignment,
            "student": manifest.student,
            "submission": manifest.stamp,
            "timestamp": manifest.timestamp,
            "notebooks": manifest.notebooks,
            "size": manifest.size,
            "sha256": manifest.sha256,
            "late_seconds": manifest.late_seconds,
            "attempt": manifest.attempt,
            "feedback": {entry.path: entry.sha256 for entry in given.manifest.files} if given else {},
        }

    async def fetch(self, request: Request) -> Response:
        """The files of a released assignment."""
        caller, course, assignment = await self._place(request)
        deposit = await asyncio.to_thread(self._store.release_of, course, assignment)
        await self._journal.write(
            caller.name, "exchange.fetch", f"{course}/{assignment}", release=deposit.manifest.stamp
        )
        return tree_response(deposit)

    async def release(self, request: Request) -> Response:
        """Release an assignment; `?force=1` replaces an earlier release."""
        caller, course, assignment = await self._place(request)
        caller.must_be_account(course)
        force = request.query_params.get("force") == "1"
        incoming = await received(request, await asyncio.to_thread(self._store.incoming))
        deposit = await self._kept(
            incoming, lambda: self._store.release(course, assignment, incoming, by=caller.name, force=force)
        )
        await self._written(caller, "exchange.release", deposit)
        return JSONResponse({"timestamp": deposit.manifest.timestamp, "sha256": deposit.manifest.sha256})

    async def withdraw(self, request: Request) -> Response:
        """Take a release back."""
        caller, course, assignment = await self._place(request)
        caller.must_be_account(course)
        deposit = await asyncio.to_thread(self._store.withdraw, course, assignment, by=caller.name)
        await self._written(caller, "exchange.withdraw", deposit)
        return JSONResponse({"timestamp": deposit.manifest.timestamp})

    async def submit(self, request: Request) -> Response:
        """Hand in, as the person to whom the token belongs; answers the receipt. An `Idempotency-Key` makes it safe
        to send again after a cut connection."""
        caller, course, assignment = await self._place(request)
        if course not in caller.studies:
            raise NotAllowed(f"You are not a student of {course}, so you cannot hand in there.")
        key = idempotency_key(request)
        # Refuse before the files travel.
        rules = await asyncio.to_thread(self._terms.rules, course, assignment, caller.name)
        await asyncio.to_thread(self._store.must_be_taken_in, course, assignment, caller.name, key=key, rules=rules)
        incoming = await received(request, await asyncio.to_thread(self._store.incoming))

        def keep() -> Deposit:
            # Again, since sending may take minutes in which a teacher gives more time.
            now = self._terms.rules(course, assignment, caller.name)
            return self._store.submit(course, assignment, caller.name, incoming, key=key, rules=now)

        deposit = await self._kept(incoming, keep)
        await self._written(caller, "exchange.submit", deposit)
        self._handed_in(course, assignment)
        return JSONResponse(receipt(deposit.manifest, self._receipt_key), status_code=201)

    async def submission(self, request: Request) -> Response:
        """The files of one submission: one's own, or any of a course that the caller oversees."""
        caller, deposit = await self._submission(request)
        if deposit.manifest.student != caller.name:
            await self._written(caller, "exchange.collect", deposit)
        return tree_response(deposit)

    async def feedback(self, request: Request) -> Response:
        """The newest feedback on one submission, for those who may see that submission."""
        caller, deposit = await self._submission(request)
        about = deposit.manifest
        given = await asyncio.to_thread(
            self._store.feedback, about.course, about.assignment, about.student, about.stamp
        )
        if given is None:
            raise NotFound("There is no feedback on this submission yet.")
        await self._written(caller, "exchange.fetch_feedback", given)
        return tree_response(given)

    async def give_feedback(self, request: Request) -> Response:
        """Give feedback on one submission."""
        caller, about = await self._submission(request)
        course = about.manifest.course
        caller.must_be_account(course)
        incoming = await received(request, await asyncio.to_thread(self._store.incoming))
        manifest = about.manifest
        deposit = await self._kept(
            incoming,
            lambda: self._store.give_feedback(
                course, manifest.assignment, manifest.student, manifest.stamp, incoming, by=caller.name
            ),
        )
        await self._written(caller, "exchange.feedback", deposit)
        return JSONResponse({"timestamp": deposit.manifest.timestamp})

    async def _caller(self, request: Request) -> Caller:
        return await self._hub.caller(request.headers.get("authorization"))

    async def _place(self, request: Request) -> tuple[Caller, str, str]:
        caller = await self._caller(request)
        course = identifier("course", request.path_params["course"])
        caller.must_see(course)
        return caller, course, identifier("assignment", request.path_params["assignment"])

    async def _submission(self, request: Request) -> tuple[Caller, Deposit]:
        caller, course, assignment = await self._place(request)
        student = person(request.path_params["student"])
        if student != caller.name and not caller.oversees(course):
            raise NotAllowed("You may see only what you handed in yourself.")
        moment = request.path_params["stamp"]
        return caller, await asyncio.to_thread(self._store.submission, course, assignment, student, moment)

    async def _kept(self, incoming: Incoming, keep: Callable[[], Deposit]) -> Deposit:
        try:
            return await asyncio.to_thread(keep)
        except BaseException:
            await asyncio.to_thread(incoming.give_up)
            raise

    async def _written(self, caller: Caller, action: str, deposit: Deposit) -> None:
        manifest = deposit.manifest
        subject = "/".join(part for part in (manifest.course, manifest.assignment, manifest.student) if part)
        await self._journal.write(
            caller.name,
            action,
            subject,
            stamp=manifest.stamp,
            sha256=manifest.sha256,
            size=manifest.size,
            files=len(manifest.files),
        )
