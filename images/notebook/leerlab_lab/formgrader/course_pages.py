"""A course's pages for its teachers: assignments, what was handed in, what waits for a mark by hand, students."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from nbgrader.api import MissingEntry
from nbgrader.server_extensions.formgrader.base import BaseHandler
from tornado import web

from leerlab_lab.flags import Seen, in_files
from leerlab_lab.formgrader import again
from leerlab_lab.formgrader.access import Role, role_here
from leerlab_lab.formgrader.actions import ClassRuns
from leerlab_lab.formgrader.look import (
    COOKIE,
    LANGUAGES,
    Surroundings,
    Words,
    environment,
    language_of,
    local_input,
    static_version,
)
from leerlab_lab.formgrader.names import Names
from leerlab_lab.halves import changed
from leerlab_lab.late import penalties
from leerlab_lab.service import Service, ServiceError

_YEAR_DAYS = 365
log = logging.getLogger("leerlab.pages")


class CoursePage(BaseHandler):
    """What all pages share: language, clock, names and the portal's shell."""

    place = ""

    def initialize(self, surroundings: Surroundings, names: Names) -> None:
        """Args:
        surroundings: the site around the course.
        names: what students are called.
        """
        self.surroundings = surroundings
        self.names = names

    @property
    def words(self) -> Words:
        """The person's language, on the site's clock."""
        given = self.surroundings
        return Words(language_of(self, given.language), ZoneInfo(given.time_zone))

    def assignment_title(self, assignment: str) -> str:
        """An assignment's title in the catalogue, else its id."""
        return self.surroundings.assignments.get(assignment, {}).get(self.words.language, assignment)

    async def people(self, students: list[dict[str, Any]]) -> dict[str, str]:
        """What to call students.

        Args:
            students: nbgrader's dictionaries, with the pseudonym in `id`, `student` or both, and names that somebody
                told the gradebook.

        Returns:
            By pseudonym: the hub's name, else the gradebook's, else the pseudonym.
        """
        ids = [str(one.get("student") or one["id"]) for one in students]
        told = {
            name: " ".join(filter(None, (one.get("first_name"), one.get("last_name")))) or name
            for name, one in zip(ids, students, strict=True)
        }
        return {**told, **await self.names.of(ids)}

    def show(self, template: str, **context: Any) -> None:
        """Write a page."""
        given, words = self.surroundings, self.words
        base = f"{self.base_url}/formgrader/"
        course = f"/courses/{given.id}"
        back = f"{given.portal}/language?{urlencode({'to': words.language, 'next': course})}" if given.portal else ""
        page = SimpleNamespace(language=words.language, uri=self.request.uri)
        self.write(
            environment(words.language)
            .get_template(template)
            .render(
                page_request=lambda: page,
                asset_version=static_version(),
                base_url=base,
                home_url=f"{given.portal}/" if given.portal else base,
                site_title=given.site[words.language],
                demo=given.demo,
                course_title=given.course[words.language],
                back_url=back,
                place=self.place,
                owns=role_here(self).reaches(Role.OWNER),
                grades=role_here(self).reaches(Role.GRADER),
                csrf=self.xsrf_token.decode(),
                words=words,
                title_of=self.assignment_title,
                url=lambda *parts: base + "/".join(quote(part, safe="") for part in parts),
                **context,
            )
        )


class AssignmentsPage(CoursePage):
    """All assignments, with what can be done for each."""

    place = "assignments"

    @web.authenticated
    async def get(self) -> None:
        """The page."""
        zone = self.words.zone
        assignments = [
            {**one, "due_input": local_input(one["duedate"], zone), "ready": one["release_path"] is not None}
            for one in self.api.get_assignments()
        ]
        self.show("assignments.html", assignments=assignments, terms=await self.terms())

    async def terms(self) -> dict[str, Any] | None:
        """Attempts and extensions by assignment; None while the exchange does not answer."""
        try:
            found = await asyncio.to_thread(Service().ask, "GET", f"/exchange/courses/{self.surroundings.id}/terms")
        except ServiceError as error:
            log.warning("Attempts and extensions are not known now: %s", error)
            return None
        return dict(found["assignments"])


class HandedInPage(CoursePage):
    """What was handed in for one assignment."""

    place = "assignments"

    @web.authenticated
    async def get(self, assignment: str) -> None:
        """The page."""
        if self.api.get_assignment(assignment) is None:
            raise web.HTTPError(404)
        handed_in = self.api.get_submissions(assignment)
        names = await self.people(handed_in)
        handed_in.sort(key=lambda one: names[one["student"]].casefold())
        waiting = sum(changed(self.coursedir, assignment, one["student"]) for one in handed_in)
        course = Path(self.coursedir.root)
        self.show(
            "handed_in.html",
            assignment=assignment,
            handed_in=handed_in,
            names=names,
            waiting=waiting,
            run=ClassRuns.seen(assignment),
            late=penalties(self.gradebook, assignment),
            report=again.waiting(course, assignment),
            records=again.records(course, assignment),
            graded=any(one["autograded"] for one in handed_in),
            flags={one["student"]: self._flags(assignment, one["student"]) for one in handed_in},
        )

    def _flags(self, assignment: str, student: str) -> list[Seen]:
        folder = self.coursedir.format_path(self.coursedir.autograded_directory, student, assignment)
        return in_files(Path(folder).glob("*.ipynb"))


class MarkingPage(CoursePage):
    """Which assignments have work that a person has to look at."""

    place = "marking"

    @web.authenticated
    async def get(self) -> None:
        """The page."""
        api = self.api
        found = [one for one in api.get_assignments() if one["num_submissions"]]
        notebooks = {one["name"]: api.get_notebooks(one["name"]) for one in found}
        self.show("marking.html", assignments=found, notebooks=notebooks)


class NotebooksPage(CoursePage):
    """An assignment's notebooks; with one notebook, the work itself."""

    place = "marking"

    @web.authenticated
    async def get(self, assignment: str) -> None:
        """The page."""
        notebooks = self.api.get_notebooks(assignment)
        if not notebooks:
            raise web.HTTPError(404)
        if len(notebooks) == 1:
            where = "/".join(quote(part, safe="") for part in (assignment, notebooks[0]["name"]))
            self.redirect(f"{self.base_url}/formgrader/gradebook/{where}")
            return
        self.show("marking.html", assignments=[{"name": assignment}], notebooks={assignment: notebooks})


class NotebookWorkPage(CoursePage):
    """Everybody's version of one notebook."""

    place = "marking"

    @web.authenticated
    async def get(self, assignment: str, notebook: str) -> None:
        """The page."""
        try:
            work = self.api.get_notebook_submissions(assignment, notebook)
        except MissingEntry:
            raise web.HTTPError(404) from None
        names = await self.people(work)
        work.sort(key=lambda one: names[one["student"]].casefold())
        self.show("work.html", assignment=assignment, notebook=notebook, work=work, names=names)


class StudentsPage(CoursePage):
    """All students with their score."""

    place = "students"

    @web.authenticated
    async def get(self) -> None:
        """The page."""
        students = self.api.get_students()
        names = await self.people(students)
        students.sort(key=lambda one: names[one["id"]].casefold())
        self.show("students.html", students=students, names=names)


class StudentPage(CoursePage):
    """One student's assignments."""

    place = "students"

    @web.authenticated
    async def get(self, student: str, assignment: str = "") -> None:
        """The page; with an assignment of one notebook in the address, that notebook."""
        about = self.api.get_student(student)
        if about is None:
            raise web.HTTPError(404)
        names = await self.people([about])
        work = [one for one in self.api.get_student_submissions(student) if assignment in {"", one["name"]}]
        notebooks = {one["name"]: self.api.get_student_notebook_submissions(student, one["name"]) for one in work}
        late = {one["name"]: penalties(self.gradebook, one["name"]).get(student, 0) for one in work}
        only = notebooks.get(assignment, [])
        if len(only) == 1 and only[0]["id"]:
            self.redirect(f"{self.base_url}/formgrader/submissions/{quote(only[0]['id'], safe='')}/")
            return
        self.show("student.html", student=student, name=names[student], work=work, notebooks=notebooks, late=late)


class RefusedPage(CoursePage):
    """For who came here and has no role in the course, or has it no longer."""

    @web.authenticated
    def get(self) -> None:
        """The page."""
        self.set_status(403)
        self.show("refused.html")


class LanguageSwitch(CoursePage):
    """Remembers the language that the person chose, for this course's pages."""

    @web.authenticated
    def get(self) -> None:
        """Back to where the person was, in that language; never off this server."""
        language, following = self.get_query_argument("to", ""), self.get_query_argument("next", "")
        if language not in LANGUAGES:
            raise web.HTTPError(400)
        keep_language(self, language)
        within = f"{self.base_url}/formgrader"
        plain = all(" " < letter < "\x7f" for letter in following) and "\\" not in following
        self.redirect(following if plain and following.startswith(within + "/") else within + "/manage_assignments")


def keep_language(page: CoursePage, language: str) -> None:
    """Set the cookie for this course's pages."""
    page.set_cookie(
        COOKIE, language, path=f"{page.base_url}/formgrader", expires_days=_YEAR_DAYS, httponly=True, samesite="Lax"
    )


class Home(CoursePage):
    """The first page. Unlike nbgrader's, it never loads settings from a folder that the address names."""

    @web.authenticated
    def get(self) -> None:
        """Go to the assignments, in the language that the portal's link names."""
        language = self.get_query_argument("language", "")
        if language in LANGUAGES:
            keep_language(self, language)
        self.redirect(f"{self.base_url}/formgrader/manage_assignments")
