"""Routes and pages of grading everything again: the differences, and a teacher's yes or no to them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar

from nbgrader.server_extensions.formgrader.base import BaseApiHandler
from tornado import web

from leerlab_lab.formgrader import again
from leerlab_lab.formgrader.actions import ClassRuns, Grading, begin, refuse_for_room
from leerlab_lab.formgrader.course_pages import CoursePage
from leerlab_lab.formgrader.differences import OfStudent, Way, as_csv, counts
from leerlab_lab.formgrader.plan import Kind, Taken, place


def named(assignment: str) -> None:
    """Refuse what cannot be an assignment's name: it is part of a path.

    Raises:
        web.HTTPError: 404.
    """
    if "/" in assignment or assignment.startswith("."):
        raise web.HTTPError(404)


class GradingAgain(BaseApiHandler):  # type: ignore[misc]  # nbgrader has no types
    """Grading all work for an assignment again: POST begins it. How far it is, `class_run` tells."""

    @web.authenticated
    def post(self, assignment: str) -> None:
        """Begin with all work that was collected; new marks that wait for an answer are thrown away."""
        named(assignment)
        accepting = Decision.running.get(assignment)
        if accepting is not None and accepting.running:
            raise web.HTTPError(409)
        handed_in = sorted(one["student"] for one in self.api.get_submissions(assignment))
        begin(self, assignment, handed_in, Kind.AGAIN)


class Decision(BaseApiHandler):  # type: ignore[misc]
    """A teacher's answer to new marks: POST accepts them, DELETE throws them away, GET tells how far it is."""

    running: ClassVar[dict[str, again.Acceptance]] = {}

    @web.authenticated
    def get(self, assignment: str, report: str) -> None:
        """How far accepting is; `{"running": false}` when nothing goes on."""
        named(assignment)
        one = self.running.get(assignment)
        self.write(one.told() if one is not None and one.plan.id == report else {"running": False})

    @web.authenticated
    def post(self, assignment: str, report: str) -> None:
        """Accept the new marks that the teacher has seen; a second yes is told of the first."""
        named(assignment)
        before = self.running.get(assignment)
        if before is None or before.plan.id != report or not before.running:
            course = Path(self.coursedir.root)
            plan = again.waiting(course, assignment)
            run = ClassRuns.runs.get(assignment)
            if plan is None or plan.id != report or (run is not None and run.running):
                if again.recorded(course, assignment, report) is None:
                    raise web.HTTPError(409)
                self.write({"running": False, "success": True})
                return
            before = again.Acceptance(self.coursedir.parent, plan, Grading._threads)
            try:
                before.start()
            except Taken as error:
                raise web.HTTPError(409) from error
            except OSError as error:
                refuse_for_room(self, error)
                return
            self.running[assignment] = before
        self.set_status(202)
        self.write({**before.told(), "success": True})

    @web.authenticated
    def delete(self, assignment: str, report: str) -> None:
        """Throw the new marks away; the gradebook stays as it is."""
        named(assignment)
        try:
            again.discard(Path(self.coursedir.root), assignment, report)
        except again.NotNow as error:
            raise web.HTTPError(409) from error
        self.write({"success": True})


class DifferencesPage(CoursePage):
    """Marks before and after, of new marks that wait or that were accepted."""

    place = "assignments"

    @web.authenticated
    async def get(self, assignment: str, report: str = "") -> None:
        """The page; with an id, of marks that were accepted before."""
        named(assignment)
        found = await _found(self, assignment, report)
        if found is None:
            if report or self.api.get_assignment(assignment) is None:
                raise web.HTTPError(404)
            self.redirect(f"{self.base_url}/formgrader/manage_submissions/{assignment}")
            return
        rows, about = found
        names = await self.people([{"id": student} for student in (*(row.student for row in rows), *about["stayed"])])
        rows.sort(key=lambda row: names[row.student].casefold())
        self.show(
            "differences.html", assignment=assignment, names=names, counts=counts(rows), Way=Way,
            changed=[row for row in rows if row.changed or row.way is not Way.SAME],
            same=[row for row in rows if not row.changed and row.way is Way.SAME],
            late=any(row.late_before or row.late_after for row in rows), **about,
        )  # fmt: skip


class DifferencesFile(CoursePage):
    """The same as a file for a spreadsheet."""

    @web.authenticated
    async def get(self, assignment: str, report: str) -> None:
        """The file, of the marks with this id, whether they wait or were accepted."""
        named(assignment)
        found = await _found(self, assignment, report)
        if found is None:
            raise web.HTTPError(404)
        rows, _ = found
        names = await self.people([{"id": row.student} for row in rows])
        self.set_header("Content-Type", "text/csv; charset=utf-8")
        self.set_header("Content-Disposition", f'attachment; filename="{assignment}-{report}.csv"')
        # A spreadsheet knows by the mark at the front that the file is UTF-8.
        self.write("\ufeff" + as_csv(rows, names))


async def _found(page: CoursePage, assignment: str, report: str) -> tuple[list[OfStudent], dict[str, Any]] | None:
    """Differences, and what is said of them; None where there are none."""
    course = Path(page.coursedir.root)
    plan = again.waiting(course, assignment)
    if plan is not None and report in {"", plan.id}:
        loop = asyncio.get_running_loop()
        rows, current = await loop.run_in_executor(None, again.report, course, page.coursedir.db_url, plan)
        accepting = Decision.running.get(assignment)
        before = again.put_in_before(place(course, Kind.AGAIN, assignment), plan)
        told = accepting.told() if accepting is not None and accepting.plan.id == plan.id else {}
        return rows, {
            "report": plan.id, "waits": True, "current": current, "stayed": plan.failed,
            "accepting": told if told.get("running") else {},
            "broken_off": len(before[0]) if before else None,
        }  # fmt: skip
    found = again.recorded(course, assignment, report) if report else None
    if found is None:
        return None
    about = {"report": report, "waits": False, "current": True, "stayed": found[1], "accepting": {}, "broken_off": None}
    return found[0], about
