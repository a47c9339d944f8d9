"""The routes of a course's rules for hand-ins: who owns the course changes them, a student sees what holds for them.

Changes come from the course's own server, which says which of its visitors made them; that this is an owner of the
course, the hub is asked again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from grading.errors import NoAttemptsLeft, NotAllowed, NotFound, TooLarge, TooLate, WrongTree
from grading.exchange import Journal
from grading.identity import Caller, Hub
from grading.names import COURSE_ACCOUNT, identifier, person
from grading.store import Store
from grading.terms import LONGEST_REASON, MOST_ATTEMPTS, AssignmentTerms, Extension, HandIn, Terms
from grading.terms_shelf import TermsShelf

LONGEST_BODY = 20_000
_Asked = TypeVar("_Asked", bound="By")


class By(BaseModel):
    """What every change says: who makes it, by the hub's name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: str


class CourseChange(By):
    """How the course takes work in; None: as its course.yaml says."""

    hand_in: HandIn | None


class AssignmentChange(By):
    """Deadline and attempts of one assignment; what is left out stays as it is."""

    due: AwareDatetime | None = None
    attempts: int | None = Field(None, ge=1, le=MOST_ATTEMPTS)


class ExtensionChange(By):
    """What one student is given."""

    due: AwareDatetime
    attempts: int | None = Field(None, ge=1, le=MOST_ATTEMPTS)
    reason: str = Field(min_length=1, max_length=LONGEST_REASON, pattern=r"\S")


class TermsRoutes:
    """Reads and changes rules.

    Args:
        store: the exchange, with what was handed in.
        shelf: the rules.
        hub: who a token belongs to, and who owns and takes a course.
        journal: what is remembered.
        now: the clock, in UTC.
    """

    def __init__(
        self,
        store: Store,
        shelf: TermsShelf,
        hub: Hub,
        journal: Journal,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._shelf = shelf
        self._hub = hub
        self._journal = journal
        self._now = now

    def routes(self) -> list[Route]:
        """The routes."""
        course = "/exchange/courses/{course}"
        one = course + "/assignments/{assignment}"
        return [
            Route(course + "/terms", self.terms, methods=["GET"]),
            Route(course + "/terms", self.change_course, methods=["PUT"]),
            Route(course + "/students", self.students, methods=["GET"]),
            Route(one + "/terms", self.own, methods=["GET"]),
            Route(one + "/terms", self.change_assignment, methods=["PUT"]),
            Route(one + "/standings", self.standings, methods=["GET"]),
            Route(one + "/extensions/{student}", self.extend, methods=["PUT"]),
            Route(one + "/extensions/{student}", self.take_back, methods=["DELETE"]),
        ]

    async def terms(self, request: Request) -> Response:
        """All rules of a course, for who oversees it."""
        caller, course = await self._course(request)
        if not caller.oversees(course):
            raise NotAllowed("Only teachers see the rules for everybody.")
        return _answer(await asyncio.to_thread(self._shelf.of, course))

    async def students(self, request: Request) -> Response:
        """Who takes the course now, by name, with what they are called; for the course's own account."""
        _, course = await self._own_course(request)
        return JSONResponse(await self._hub.students(course))

    async def own(self, request: Request) -> Response:
        """What holds for the student who asks, and what would become of work that is handed in now."""
        caller, course = await self._course(request)
        assignment = identifier("assignment", request.path_params["assignment"])
        if course not in caller.studies:
            raise NotAllowed(f"You are not a student of {course}.")
        return JSONResponse(await asyncio.to_thread(self._told, course, assignment, caller.name))

    def _told(self, course: str, assignment: str, student: str) -> dict[str, Any]:
        self._store.release_of(course, assignment)
        rules = self._shelf.rules(course, assignment, student)
        earlier = [deposit.manifest for deposit in self._store.submissions(course, assignment, student)]
        now = self._now()
        refused = ""
        try:
            rules.judge(now, len(earlier))
        except (TooLate, NoAttemptsLeft) as error:
            refused = error.code
        standing = rules.standing(now, len(earlier) + 1)
        return {
            **_dated(asdict(standing)),
            "closes": _iso(rules.closes),
            "extended": rules.extended,
            "policy": rules.late.model_dump(mode="json"),
            "refused": refused,
            # Work that is there already makes way for what is handed in now.
            "replaces": _dated(asdict(rules.standing(earlier[-1].time, len(earlier)))) if earlier else None,
        }

    async def standings(self, request: Request) -> Response:
        """How each hand-in for an assignment stands under the rules as they are now, or with `?student=` that of one;
        for the course's own account."""
        _, course = await self._own_course(request)
        assignment = identifier("assignment", request.path_params["assignment"])
        student = request.query_params.get("student", "")
        return JSONResponse(await asyncio.to_thread(self._standings, course, assignment, student))

    def _standings(self, course: str, assignment: str, student: str) -> dict[str, Any]:
        terms = self._shelf.of(course)
        one = terms.assignments.get(assignment, AssignmentTerms())
        handed_in: dict[str, dict[str, Any]] = {}
        counted: dict[str, int] = {}
        for deposit in self._store.submissions(course, assignment, student):
            manifest = deposit.manifest
            counted[manifest.student] = counted.get(manifest.student, 0) + 1
            rules = terms.rules(assignment, manifest.student)
            standing = rules.standing(manifest.time, counted[manifest.student])
            handed_in.setdefault(manifest.student, {})[manifest.timestamp] = _dated(asdict(standing))
        return {"due": _iso(one.due), "students": handed_in}

    async def change_course(self, request: Request) -> Response:
        """Change how the course takes work in."""
        _, course = await self._own_course(request)
        asked = await self._asked(request, CourseChange, course)

        def changed(terms: Terms) -> Terms:
            return terms.model_copy(update={"chosen": asked.hand_in})

        before, after = await asyncio.to_thread(self._shelf.change, course, asked.by, changed)
        if after != before:
            await self._journal.write(
                asked.by, "exchange.terms", course, **_flat("was", before.hand_in), **_flat("now", after.hand_in)
            )
        return _answer(after)

    async def change_assignment(self, request: Request) -> Response:
        """Change an assignment's deadline or attempts. Without a deadline nobody has an extension of it."""
        _, course = await self._own_course(request)
        assignment = identifier("assignment", request.path_params["assignment"])
        asked = await self._asked(request, AssignmentChange, course)
        given: dict[str, Any] = {
            name: getattr(asked, name) for name in ("due", "attempts") if name in asked.model_fields_set
        }

        def changed(terms: Terms) -> Terms:
            one = terms.assignments.get(assignment, AssignmentTerms()).model_copy(update=given)
            if one.due is None:
                one = one.model_copy(update={"extensions": {}})
            return terms.model_copy(update={"assignments": {**terms.assignments, assignment: one}})

        before, after = await asyncio.to_thread(self._shelf.change, course, asked.by, changed)
        if after != before:
            was, now = before.assignments.get(assignment, AssignmentTerms()), after.assignments[assignment]
            await self._journal.write(
                asked.by, "exchange.deadline", f"{course}/{assignment}",
                was=_iso(was.due), now=_iso(now.due), attempts_were=was.attempts, attempts=now.attempts,
            )  # fmt: skip
        return _answer(after)

    async def extend(self, request: Request) -> Response:
        """Give one student another deadline. The reason is kept with it, not in the ledger, which keeps all forever."""
        _, course = await self._own_course(request)
        assignment, student = self._named(request)
        asked = await self._asked(request, ExtensionChange, course)
        known = await asyncio.to_thread(self._store.submissions, course, assignment, student)
        if not known and student not in await self._hub.students(course):
            raise NotFound(f"{student} does not take {course}.", "Nothing was changed.")
        given = Extension(
            due=asked.due, attempts=asked.attempts, reason=asked.reason, by=asked.by, given=self._now()
        )  # fmt: skip

        def changed(terms: Terms) -> Terms:
            one = terms.assignments.get(assignment, AssignmentTerms())
            if one.due is None:
                raise WrongTree(
                    f"{assignment} has no deadline.", "So nobody can be given another.", "Set a deadline first."
                )
            if given.due < one.due:
                raise WrongTree("An extension cannot end before the deadline itself.", "", "Choose a later moment.")
            return _with_extensions(terms, assignment, {**one.extensions, student: given})

        before, after = await asyncio.to_thread(self._shelf.change, course, asked.by, changed)
        was = before.rules(assignment, student)
        await self._journal.write(
            asked.by, "exchange.extension", f"{course}/{assignment}/{student}",
            was=_iso(was.due), now=_iso(given.due), attempts=given.attempts,
        )  # fmt: skip
        return _answer(after)

    async def take_back(self, request: Request) -> Response:
        """Take back what a student was given; that it was given stays known."""
        _, course = await self._own_course(request)
        assignment, student = self._named(request)
        asked = await self._asked(request, By, course)

        def changed(terms: Terms) -> Terms:
            one = terms.assignments.get(assignment, AssignmentTerms())
            if student not in one.extensions:
                raise NotFound(f"{student} has no extension for {assignment}.")
            return _with_extensions(
                terms, assignment, {name: kept for name, kept in one.extensions.items() if name != student}
            )

        before, after = await asyncio.to_thread(self._shelf.change, course, asked.by, changed)
        was, now = (terms.rules(assignment, student) for terms in (before, after))
        await self._journal.write(
            asked.by, "exchange.extension.back", f"{course}/{assignment}/{student}", was=_iso(was.due),
            now=_iso(now.due),
        )  # fmt: skip
        return _answer(after)

    async def _course(self, request: Request) -> tuple[Caller, str]:
        caller = await self._hub.caller(request.headers.get("authorization"))
        course = identifier("course", request.path_params["course"])
        caller.must_see(course)
        return caller, course

    async def _own_course(self, request: Request) -> tuple[Caller, str]:
        caller, course = await self._course(request)
        caller.must_be_account(course)
        return caller, course

    def _named(self, request: Request) -> tuple[str, str]:
        parameters = request.path_params
        return identifier("assignment", parameters["assignment"]), person(parameters["student"])

    async def _asked(self, request: Request, kind: type[_Asked], course: str) -> _Asked:
        """The request's body, by somebody who owns the course.

        Raises:
            WrongTree, TooLarge: it is not what may be sent.
            NotAllowed: who makes the change does not own the course.
        """
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > LONGEST_BODY:
                raise TooLarge("This is too much text.", f"At most {LONGEST_BODY} bytes are read.")
        try:
            asked = kind.model_validate(json.loads(body))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise WrongTree(f"{where or 'This'}: {first['msg']}.", "Nothing was changed.") from error
        except ValueError as error:
            raise WrongTree("This cannot be read.", "Nothing was changed.") from error
        if asked.by != COURSE_ACCOUNT + course and not await self._hub.owns(person(asked.by), course):
            raise NotAllowed(f"{asked.by} does not own {course}.", "Nothing was changed.")
        return asked


def _with_extensions(terms: Terms, assignment: str, extensions: dict[str, Extension]) -> Terms:
    one = terms.assignments.get(assignment, AssignmentTerms()).model_copy(update={"extensions": extensions})
    return terms.model_copy(update={"assignments": {**terms.assignments, assignment: one}})


def _answer(terms: Terms) -> Response:
    return JSONResponse(terms.model_dump(mode="json"))


def _iso(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat() if moment else None


def _dated(standing: dict[str, Any]) -> dict[str, Any]:
    return {**standing, "due": _iso(standing["due"])}


def _flat(prefix: str, hand_in: HandIn) -> dict[str, Any]:
    late = hand_in.late
    return {
        f"{prefix}_days": late.days, f"{prefix}_penalty": late.penalty.value, f"{prefix}_percent": late.percent,
        f"{prefix}_attempts": hand_in.attempts,
    }  # fmt: skip
