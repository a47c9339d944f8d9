"""Marks by hand: one piece of work as a page, and the scores, which are refused when they cannot be."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from nbgrader.api import MissingEntry
from nbgrader.server_extensions.formgrader import apihandlers
from tornado import web

from leerlab_lab.flags import in_files
from leerlab_lab.formgrader.course_pages import CoursePage
from leerlab_lab.formgrader.look import catalogue
from leerlab_lab.late import settle, standings_of
from leerlab_lab.service import ServiceError

log = logging.getLogger("leerlab.marks")


class WorkPage(CoursePage):
    """One student's notebook, with a place for a score and a comment at each cell that has one."""

    place = "marking"

    @web.authenticated
    async def get(self, submission: str) -> None:
        """The page."""
        try:
            found = self.gradebook.find_submission_notebook_by_id(submission)
        except MissingEntry:
            raise web.HTTPError(404) from None
        assignment, notebook, student = found.assignment.assignment.name, found.notebook.name, found.student.id
        # The notebook's files (images) are relative to this address.
        if not self.request.path.endswith("/"):
            self.redirect(self.request.path + "/")
            return
        names = await self.people([found.student.to_dict()])
        others = self.api.get_notebook_submissions(assignment, notebook)
        titles = await self.people(others)
        others.sort(key=lambda one: titles[one["student"]].casefold())
        order = [one["id"] for one in others]
        here = order.index(found.id) if found.id in order else -1
        folder = self.coursedir.format_path(self.coursedir.autograded_directory, student, assignment)
        file = Path(folder, f"{notebook}.ipynb")
        self.show(
            "work_of_one.html",
            assignment=assignment,
            notebook=notebook,
            submission=found.id,
            name=names[student],
            number=here + 1,
            total=len(order),
            before=order[here - 1] if here > 0 else "",
            after=order[here + 1] if 0 <= here < len(order) - 1 else "",
            score=found.score,
            max_score=found.max_score,
            late=found.late_submission_penalty or 0,
            cells=self._cells(file),
            flags=in_files([file]),
        )

    def _cells(self, file: Path) -> Markup | None:
        if not file.is_file():
            return None
        resources = {"_": catalogue(self.words.language).gettext, "words": self.words}
        html, _ = self.exporter.from_filename(str(file), resources=resources)
        # SafePages has cleaned what the student made.
        return Markup(html)  # noqa: S704


class Grade(apihandlers.GradeHandler):  # type: ignore[misc]  # nbgrader has no types
    """A score, which nbgrader's page would cut down to the maximum without a word."""

    @web.authenticated
    async def put(self, grade_id: str) -> None:
        """Keep a score that is possible; answer 422 and what is possible to another."""
        try:
            grade = self.gradebook.find_grade_by_id(grade_id)
        except MissingEntry:
            raise web.HTTPError(404) from None
        given: Any = self.get_json_body()
        if not isinstance(given, dict):
            raise web.HTTPError(400)
        if not _possible(given.get("manual_score"), grade.max_score) or not _possible(given.get("extra_credit"), None):
            self.set_status(422)
            self.write({"max_score": grade.max_score})
            return
        if seen_before(self, grade, given, ("manual_score", "extra_credit", "auto_score")):
            super().put(grade_id)
            await self._late(grade.notebook.assignment)

    async def _late(self, submission: Any) -> None:
        """What is taken off for late work follows the score; where the exchange does not answer, with the feedback."""
        if not submission.total_seconds_late:
            return
        course, assignment = self.coursedir.course_id, submission.assignment.name
        try:
            standings = await asyncio.to_thread(standings_of, course, assignment, submission.student.id)
        except ServiceError as error:
            log.warning("What late work costs is not known now: %s", error)
            return
        settle(self.gradebook, assignment, submission.student.id, standings)
        self.gradebook.db.commit()


class Comment(apihandlers.CommentHandler):  # type: ignore[misc]
    """A comment, which two graders may be writing at once."""

    @web.authenticated
    def put(self, comment_id: str) -> None:
        """Keep a comment."""
        try:
            comment = self.gradebook.find_comment_by_id(comment_id)
        except MissingEntry:
            raise web.HTTPError(404) from None
        given: Any = self.get_json_body()
        if not isinstance(given, dict) or not isinstance(given.get("manual_comment"), str | None):
            raise web.HTTPError(400)
        if seen_before(self, comment, given, ("manual_comment", "auto_comment")):
            super().put(comment_id)


def seen_before(handler: Any, kept: Any, given: dict[str, Any], fields: Sequence[str]) -> bool:
    """Whether what is to be replaced is what the person saw; else they are told, by 409, what is kept now.

    Args:
        handler: of the request; the gradebook's session is its own.
        kept: the grade or comment in the gradebook.
        given: the request's body; without `seen`, a program asks, which replaces whatever there is.
        fields: what the person saw and another may have changed.
    """
    handler.gradebook.db.refresh(kept)
    seen = given.get("seen")
    if not isinstance(seen, dict):
        return True
    now = kept.to_dict()
    if all(seen.get(name) == now[name] for name in fields):
        return True
    handler.set_status(409)
    handler.write({"code": "grading.changed", "now": now})
    return False


def _possible(score: object, most: float | None) -> bool:
    """Whether a score is none at all, or a number from nought to the most."""
    if score is None:
        return True
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        return False
    return score >= 0 and (most is None or score <= most)
