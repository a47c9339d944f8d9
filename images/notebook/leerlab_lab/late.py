"""Late work in the gradebook: nbgrader's own due date, extension and late penalty, as the exchange's rules say.

The exchange decides how late each hand-in is and what that costs; here it is written where nbgrader, its feedback and
its exports look for it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbgrader.api import Assignment, Gradebook, MissingEntry, SubmittedAssignment, SubmittedNotebook
from nbgrader.converters.base import NbGraderException
from nbgrader.plugins import LateSubmissionPlugin
from nbgrader.preprocessors import AssignLatePenalties
from sqlalchemy import func
from traitlets import Float, Type

from leerlab_lab.service import Service, ServiceError

Standings = dict[str, Any]
"""`due` of the assignment, and by student and time of hand-in: `due`, `late_seconds`, `percent_off`."""


def standings_of(course: str, assignment: str, student: str = "") -> Standings:
    """How each hand-in for an assignment stands now.

    Args:
        course: the course's id.
        assignment: its name.
        student: whose; empty for everybody's.

    Raises:
        ServiceError: the exchange does not answer.
    """
    place = f"/exchange/courses/{quote(course, safe='')}/assignments/{quote(assignment, safe='')}/standings"
    found: Standings = Service().ask("GET", place, **({"student": student} if student else {}))
    return found


def bring(book: Gradebook, assignment: str, student: str, standings: Standings) -> float:
    """Write a student's deadline into the gradebook, as due date and extension.

    Args:
        book: the course's gradebook; the caller commits.
        assignment: its name.
        student: whose.
        standings: of the exchange.

    Returns:
        How many percent of the points are taken off; 0 for work that the exchange does not know.

    Raises:
        MissingEntry: no such assignment or submission.
    """
    due = naive(standings["due"])
    book.find_assignment(assignment).duedate = due
    submission = book.find_submission(assignment, student)
    when = submission.timestamp
    told = standings["students"].get(student, {})
    found = told.get(when.strftime("%Y-%m-%d %H:%M:%S.%f UTC"), {}) if when else {}
    own = naive(found.get("due"))
    submission.extension = own - due if own and due and own != due else None
    return float(found.get("percent_off", 0))


def settle(book: Gradebook, assignment: str, student: str, standings: Standings) -> None:
    """Bring a student's deadline and penalty up to date, after a mark, an extension or the rules have changed.

    Arguments and errors as of `bring`; the caller commits.
    """
    percent = bring(book, assignment, student, standings)
    for notebook in book.find_submission(assignment, student).notebooks:
        notebook.late_submission_penalty = penalty(notebook.score, percent)


def settle_all(book: Gradebook, standings: Standings, assignment: str, student: str = "") -> None:
    """`settle` for everybody, or for one, whose work is in the gradebook; who is not there yet is nobody."""
    try:
        found = [book.find_submission(assignment, student)] if student else book.find_assignment(assignment).submissions
        students = [submission.student.id for submission in found]
        book.find_assignment(assignment).duedate = naive(standings["due"])
    except MissingEntry:
        return
    for one in students:
        settle(book, assignment, one, standings)
    book.db.commit()


def penalties(book: Gradebook, assignment: str) -> dict[str, float]:
    """Points that are taken off for late work, by student; who loses none is left out."""
    rows = (
        book.db.query(SubmittedAssignment.student_id, func.sum(SubmittedNotebook.late_submission_penalty))
        .join(SubmittedNotebook, SubmittedNotebook.assignment_id == SubmittedAssignment.id)
        .join(Assignment, Assignment.id == SubmittedAssignment.assignment_id)
        .filter(Assignment.name == assignment, SubmittedNotebook.late_submission_penalty > 0)
        .group_by(SubmittedAssignment.student_id)
    )
    return {student: float(points) for student, points in rows}


def penalty(score: float, percent: float) -> float | None:
    """The points that are taken off; None for none, as nbgrader has it."""
    return score * percent / 100 if percent else None


def naive(moment: str | None) -> datetime | None:
    """A moment of the exchange's as nbgrader keeps it: in UTC, without saying so."""
    return datetime.fromisoformat(moment).astimezone(UTC).replace(tzinfo=None) if moment else None


class PolicyPenalty(LateSubmissionPlugin):  # type: ignore[misc]  # nbgrader has no types
    """nbgrader's late plugin for the course's own policy."""

    percent = Float(0)

    def late_submission_penalty(self, student_id: str, score: float, total_seconds_late: float) -> float | None:
        """The part of the score that the exchange says."""
        return penalty(score, self.percent)


class LatePenalties(AssignLatePenalties):  # type: ignore[misc]
    """nbgrader's step that gives late penalties, for the student's own deadline."""

    plugin_class = Type(PolicyPenalty, klass=LateSubmissionPlugin).tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> tuple[NotebookNode, ResourcesDict]:
        """As nbgrader's, once the exchange has said what holds for the student.

        Raises:
            NbGraderException: the exchange does not answer. Nothing is graded then, rather than without its rules.
        """
        about = resources["nbgrader"]
        assignment, student = about["assignment"], about["student"]
        try:
            standings = standings_of(str(self.config.CourseDirectory.course_id), assignment, student)
        except ServiceError as error:
            raise NbGraderException(f"Deadlines are not known now, so nothing was graded. {error}") from error
        self.init_plugin()
        with Gradebook(about["db_url"]) as book:
            percent = bring(book, assignment, student, standings)
            if isinstance(self.plugin_inst, PolicyPenalty):
                self.plugin_inst.percent = percent
            submission = book.find_submission(assignment, student)
            notebook = book.find_submission_notebook(about["notebook"], assignment, student)
            notebook.late_submission_penalty = None
            if submission.total_seconds_late > 0:
                off = self.plugin_inst.late_submission_penalty(student, notebook.score, submission.total_seconds_late)
                self.log.warning("Late by %d seconds: %g points less.", submission.total_seconds_late, off or 0)
                if off is not None:
                    notebook.late_submission_penalty = self._check_late_penalty(notebook, off)
            book.db.commit()
        return nb, resources
