"""What a teacher does to an assignment: nbgrader's long actions."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from nbgrader.api import Gradebook
from nbgrader.apps.api import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from nbgrader.server_extensions.formgrader import apihandlers
from nbgrader.server_extensions.formgrader.base import BaseApiHandler
from tornado import web

from leerlab_lab.formgrader.class_run import ClassRun, taken_up
from leerlab_lab.formgrader.plan import Kind, Plan, Taken, forget
from leerlab_lab.halves import changed
from leerlab_lab.late import settle_all, standings_of
from leerlab_lab.service import ServiceError


class Grading(BaseApiHandler):  # type: ignore[misc]  # nbgrader has no types
    """One of nbgrader's long actions, in a thread of its own, so that other pages answer meanwhile."""

    # One at a time: nbgrader's converters change the process's folder and environment.
    _threads: ClassVar = ThreadPoolExecutor(max_workers=1, thread_name_prefix="grading")

    def initialize(self, action: str) -> None:
        """Args:
        action: name of the method of `nbgrader.apps.api.NbGraderAPI`.
        """
        self._action = action

    @web.authenticated
    async def post(self, *names: str) -> None:
        """Run the action for an assignment, or for an assignment and a student; answers nbgrader's own result."""
        result = await asyncio.get_running_loop().run_in_executor(self._threads, self._run, names)
        self.write(json.dumps(result))

    def _run(self, names: tuple[str, ...]) -> Any:
        # A course directory of its own: nbgrader changes it while it works, and other requests read the shared one.
        app = self.coursedir.parent
        api = NbGraderAPI(CourseDirectory(parent=app), self.authenticator, parent=app)
        if self._action == "generate_feedback":
            try:
                standings = standings_of(self.coursedir.course_id, *names)
            except ServiceError as error:
                return {"success": False, "error": str(error)}
            with Gradebook(self.db_url, self.coursedir.course_id) as book:
                settle_all(book, standings, *names)
        return getattr(api, self._action)(*names)


class ClassRuns(BaseApiHandler):  # type: ignore[misc]
    """Grading everybody's work for an assignment: POST begins, GET tells how far it is, DELETE stops it.

    There is one run for an assignment at a time: who begins a second one is told of the first.
    """

    runs: ClassVar[dict[str, ClassRun]] = {}

    @classmethod
    def seen(cls, assignment: str) -> dict[str, Any]:
        """How far the last run is, for a page; the end of one is told once."""
        run = cls.runs.get(assignment)
        if run is None:
            return {}
        told = run.told()
        if not told["running"]:
            del cls.runs[assignment]
            if run.plan.kind is Kind.GRADE:
                forget(run.folder)
        return told

    @classmethod
    def take_up(cls, parent: Any) -> None:
        """Go on with the runs of a server of this course that ended.

        Args:
            parent: what nbgrader's converters are configured by.
        """
        for run in taken_up(parent, Grading._threads):
            cls.runs[run.plan.assignment] = run

    @web.authenticated
    def get(self, assignment: str) -> None:
        """How far the last run is; `{}` when there was none since this server began."""
        run = self.runs.get(assignment)
        self.write(run.told() if run is not None else {})

    @web.authenticated
    def post(self, assignment: str) -> None:
        """Begin with all work that is other than what was graded of it."""
        handed_in = sorted(one["student"] for one in self.api.get_submissions(assignment))
        waiting = [student for student in handed_in if changed(self.coursedir, assignment, student)]
        begin(self, assignment, waiting, Kind.GRADE)

    @web.authenticated
    def delete(self, assignment: str) -> None:
        """Stop; what has been marked stays so."""
        run = self.runs.get(assignment)
        if run is None:
            raise web.HTTPError(404)
        run.cancel()
        self.write(run.told())


def refuse_for_room(asked: BaseApiHandler, error: OSError) -> None:
    """Answer that nothing was begun, since how far it is could not be kept."""
    asked.log.error("Nothing was begun: %s", error)
    asked.set_status(507)
    asked.write({"error": f"The course's folder cannot be written to ({error.strerror}). Nothing was begun or lost."})


def begin(asked: BaseApiHandler, assignment: str, students: list[str], kind: Kind) -> None:
    """Answer a request for a run over an assignment: begin it, or tell of the one that goes on.

    Args:
        asked: the request.
        students: whose work it is about.
        kind: what it is for.
    """
    run = ClassRuns.runs.get(assignment)
    if run is None or not run.running:
        if asked.api.get_assignment(assignment) is None:
            raise web.HTTPError(404)
        run = ClassRun(asked.coursedir.parent, Plan(assignment, kind, students), Grading._threads)
        try:
            run.start()
        except Taken as error:
            raise web.HTTPError(409) from error
        except OSError as error:
            refuse_for_room(asked, error)
            return
        ClassRuns.runs[assignment] = run
    asked.set_status(202)
    asked.write(run.told())


class Assignment(apihandlers.AssignmentHandler):  # type: ignore[misc]
    """What nbgrader knows of an assignment; a new one comes from the catalogue alone."""

    @web.authenticated
    def put(self, assignment_id: str) -> None:
        """Refused: it would make a folder that nobody can put files into here."""
        raise web.HTTPError(405)
