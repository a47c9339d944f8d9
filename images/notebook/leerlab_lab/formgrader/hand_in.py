"""Deadlines, late work, attempts and extensions: the pages that show them, and what an owner changes there.

The exchange keeps the rules and decides by them; the gradebook is brought up to date with what it says.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from nbgrader.api import Gradebook
from nbgrader.server_extensions.formgrader.base import BaseApiHandler
from tornado import web

from leerlab_lab.formgrader.actions import Grading
from leerlab_lab.formgrader.course_pages import CoursePage
from leerlab_lab.formgrader.look import Surroundings, catalogue, from_input, language_of, local_input, text_of_page
from leerlab_lab.late import settle_all, standings_of
from leerlab_lab.service import Service, ServiceError

MOST_ATTEMPTS = 200
MOST_DAYS = 365
LONGEST_REASON = 500
log = logging.getLogger("leerlab.hand_in")


def place_of(course: str, *parts: str) -> str:
    """The exchange's address of a course's rules."""
    return "/".join(["/exchange/courses", *(quote(part, safe="") for part in (course, *parts))])


class HandInPage(CoursePage):
    """How the course takes work in."""

    place = "hand_in"

    @web.authenticated
    async def get(self) -> None:
        """The page."""
        try:
            terms = await asyncio.to_thread(Service().ask, "GET", place_of(self.surroundings.id, "terms"))
        except ServiceError as error:
            log.warning("The rules for hand-ins are not known now: %s", error)
            terms = None
        self.show("hand_in.html", terms=terms, rules=terms and (terms["chosen"] or terms["described"]))


class ExtensionsPage(CoursePage):
    """Who was given more time or attempts for one assignment."""

    place = "assignments"

    @web.authenticated
    async def get(self, assignment: str) -> None:
        """The page."""
        if self.api.get_assignment(assignment) is None:
            raise web.HTTPError(404)
        course, service = self.surroundings.id, Service()
        one: dict[str, Any] = {}
        students: dict[str, str] = {}
        known = True
        try:
            terms = await asyncio.to_thread(service.ask, "GET", place_of(course, "terms"))
            one = terms["assignments"].get(assignment, {})
            students = await asyncio.to_thread(service.ask, "GET", place_of(course, "students"))
        except ServiceError as error:
            log.warning("The extensions are not known now: %s", error)
            known = False
        extensions = one.get("extensions", {})
        names = {**await self.people([{"id": name} for name in extensions]), **students}
        self.show(
            "extensions.html",
            assignment=assignment,
            known=known,
            due=one.get("due"),
            least=local_input(one.get("due"), self.words.zone),
            extensions=dict(sorted(extensions.items(), key=lambda pair: names[pair[0]].casefold())),
            students=dict(sorted(students.items(), key=lambda pair: pair[1].casefold())),
            names=names,
        )


class Ruling(BaseApiHandler):  # type: ignore[misc]  # nbgrader has no types
    """What changing a rule has in common: who did it, in whose words it is refused, and the gradebook afterwards."""

    def initialize(self, surroundings: Surroundings) -> None:
        """Args:
        surroundings: the site around the course.
        """
        self._course = surroundings.id
        self._zone = ZoneInfo(surroundings.time_zone)
        self._language = surroundings.language

    def given(self) -> dict[str, Any]:
        """The request's body.

        Raises:
            HTTPError: 400, it is no JSON object.
        """
        found: Any = self.get_json_body()
        if not isinstance(found, dict):
            raise web.HTTPError(400)
        return found

    def moment(self, text: object) -> datetime | None:
        """What a field for day and time says; None when it is empty.

        Raises:
            HTTPError: 400, it is no day and time.
        """
        try:
            return from_input(str(text), self._zone)
        except ValueError:
            raise web.HTTPError(400) from None

    def refuse(self, sentence: str, status: int = 422) -> None:
        """Answer with a sentence in the person's language; nothing was changed."""
        texts = catalogue(language_of(self, self._language))
        self.set_status(status)
        self.write({"success": False, "said": texts.gettext(sentence)})

    async def change(self, method: str, parts: Sequence[str], content: dict[str, Any], assignment: str = "") -> bool:
        """Have the exchange change its rules, and bring the gradebook up to date; False when that was answered already.

        Args:
            method: of HTTP.
            parts: the address below the course's.
            content: what is to hold.
            assignment: whose marks may change; empty for those of all assignments.
        """
        content = {**content, "by": self.current_user.username}
        try:
            await asyncio.to_thread(Service().tell, place_of(self._course, *parts), content, method)
        except ServiceError as error:
            log.warning("The rules for hand-ins were not changed: %s", error)
            if error.status in {0, 503}:
                self.refuse(
                    text_of_page("Nothing was changed: the service that takes work in does not answer. Try again."), 503
                )
            else:
                self.refuse(text_of_page("Nothing was changed: the service that takes work in refused it."), 422)
            return False
        names = [assignment] if assignment else [one["name"] for one in self.api.get_assignments()]
        # In the one thread that changes marks, so that no grading step goes on meanwhile.
        await asyncio.get_running_loop().run_in_executor(Grading._threads, self._settle, names)
        self.gradebook.db.expire_all()
        self.write({"success": True})
        return True

    def _settle(self, assignments: Sequence[str]) -> None:
        with Gradebook(self.db_url, self.coursedir.course_id) as book:
            for assignment in assignments:
                settle_all(book, standings_of(self._course, assignment), assignment)


def begin_telling_old_deadlines(course: str, db_url: str) -> None:
    """Tell the exchange the deadlines that the gradebook has and it never heard of: those set before it kept them.

    Args:
        course: its id.
        db_url: of the gradebook; one that is not there yet has none, and is not made here: two that make its tables at
            once are in each other's way.
    """
    if db_url.startswith("sqlite:") and not Path(db_url.removeprefix("sqlite:///")).exists():
        return
    threading.Thread(target=_tell_old_deadlines, args=(course, db_url), name="old deadlines", daemon=True).start()


def _tell_old_deadlines(course: str, db_url: str) -> None:
    try:
        known = Service().ask("GET", place_of(course, "terms"))["assignments"]
        with Gradebook(db_url, course) as book:
            old = {one.name: one.duedate for one in book.assignments if one.duedate and one.name not in known}
        for assignment, due in old.items():
            content = {"by": f"course-{course}", "due": due.replace(tzinfo=UTC).isoformat()}
            Service().tell(place_of(course, "assignments", assignment, "terms"), content, "PUT")
    except ServiceError as error:
        log.warning(
            "The exchange was not told of deadlines that were set before; the next start tries again: %s", error
        )


class Deadline(Ruling):
    """Until when an assignment can be handed in on time, and how often."""

    @web.authenticated
    async def post(self, assignment: str) -> None:
        """Set it as `{"due": "2026-12-01T23:59", "attempts": 3}`; empty takes it away, what is left out stays."""
        given = self.given()
        if self.api.get_assignment(assignment) is None:
            raise web.HTTPError(404)
        content: dict[str, Any] = {}
        if "due" in given:
            due = self.moment(given["due"])
            content["due"] = due.isoformat() if due else None
            # The gradebook keeps a deadline also before anybody's work is in it.
            naive = due.replace(tzinfo=None) if due else None
        if "attempts" in given:
            content["attempts"] = number(given["attempts"], 1, MOST_ATTEMPTS)
        if not content:
            raise web.HTTPError(400)
        if await self.change("PUT", ("assignments", assignment, "terms"), content, assignment) and "due" in content:
            self.gradebook.update_or_create_assignment(assignment, duedate=naive)


class HandInRules(Ruling):
    """How the course takes work in."""

    @web.authenticated
    async def post(self) -> None:
        """Set it as `{"days": "", "penalty": "fixed", "percent": "9", "attempts": ""}`; `{}`: as course.yaml has it."""
        given = self.given()
        if not given:
            await self.change("PUT", ("terms",), {"hand_in": None})
            return
        penalty = given.get("penalty")
        if penalty not in {"none", "per-day", "fixed"}:
            raise web.HTTPError(400)
        days, percent = number(given.get("days"), 0, MOST_DAYS), number(given.get("percent"), 0, 100)
        if penalty == "none" or days == 0:
            penalty, percent = "none", 0
        elif not percent:
            self.refuse(text_of_page("Fill in how many percent of the points are taken off, from 1 to 100."))
            return
        late = {"days": days, "penalty": penalty, "percent": percent}
        content = {"late": late, "attempts": number(given.get("attempts"), 1, MOST_ATTEMPTS)}
        await self.change("PUT", ("terms",), {"hand_in": content})


class Extensions(Ruling):
    """More time, or more attempts, for one student."""

    @web.authenticated
    async def post(self, assignment: str, student: str) -> None:
        """Give it as `{"due": "2026-12-03T23:59", "attempts": "", "reason": "..."}`."""
        given = self.given()
        due, reason = self.moment(given.get("due", "")), str(given.get("reason", "")).strip()
        duedate = self.gradebook.find_assignment(assignment).duedate if self.api.get_assignment(assignment) else None
        if duedate is None:
            self.refuse(
                text_of_page("This assignment has no deadline, so nobody can be given another. Set a deadline first.")
            )
        elif due is None or due.replace(tzinfo=None) < duedate:
            self.refuse(text_of_page("An extension ends after the deadline itself. Choose a later day."))
        elif not 0 < len(reason) <= LONGEST_REASON:
            self.refuse(text_of_page("Write down in a few words why the student gets more time."))
        else:
            content = {
                "due": due.isoformat(),
                "reason": reason,
                "attempts": number(given.get("attempts"), 1, MOST_ATTEMPTS),
            }
            await self.change("PUT", ("assignments", assignment, "extensions", student), content, assignment)

    @web.authenticated
    async def delete(self, assignment: str, student: str) -> None:
        """Take it back."""
        await self.change("DELETE", ("assignments", assignment, "extensions", student), {}, assignment)


def number(given: object, least: int, most: int) -> int | None:
    """A whole number of a field; None when it is empty.

    Raises:
        HTTPError: 400, it is another.
    """
    text = "" if given is None else str(given).strip()
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or not least <= int(text[:6]) <= most:
        raise web.HTTPError(400)
    return int(text)
