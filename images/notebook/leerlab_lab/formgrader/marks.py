"""Marks by hand: one piece of work as a page, and the scores, which are refused when they cannot be."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from markupsafe import Markup
from nbgrader.api import MissingEntry
from nbgrader.server_extensions.formgrader import apihandlers
from tornado import web

from leerlab_lab.formgrader.course_pages import CoursePage
from leerlab_lab.formgrader.look import catalogue


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
            cells=self._cells(file),
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
    def put(self, grade_id: str) -> None:
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
        super().put(grade_id)


def _possible(score: object, most: float | None) -> bool:
    """Whether a score is none at all, or a number from nought to the most."""
    if score is None:
        return True
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        return False
    return score >= 0 and (most is None or score <= most)
