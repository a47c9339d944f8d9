"""A draft of the gradebook, in which nbgrader's own steps give marks that do not count yet.

nbgrader commits each cell's mark by itself, so whatever stops it half-way would leave a student with marks of two
versions, and a gradebook that somebody else writes to would break it off. In a draft, a small SQLite file that nobody
else opens, neither matters. What came of it is taken out as a `Sheet`, and `settle` brings a sheet into the gradebook
in one transaction. What a person typed (marks, extra points and comments by hand) is never taken from a sheet.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import nbformat
from nbgrader.api import (
    Assignment,
    Base,
    BaseCell,
    Comment,
    Course,
    Grade,
    GradeCell,
    Notebook,
    SolutionCell,
    SourceCell,
    Student,
    SubmittedAssignment,
    SubmittedNotebook,
    TaskCell,
)
from nbgrader.converters import Autograde
from nbgrader.preprocessors import AssignLatePenalties
from sqlalchemy import Connection, Table, create_engine, delete, insert, select, update
from sqlalchemy.sql import ColumnElement

Row = dict[str, Any]
# By what a grade or a comment is known: the id of its notebook's source, and of its cell.
Cell = tuple[str, str]


class NotTheSameTests(Exception):
    """The assignment's tests are not those with which the marks were made."""


@dataclass(frozen=True)
class Task:
    """Something in an assignment that has a mark.

    Args:
        notebook: name of its notebook.
        name: nbgrader's id of its cell.
        most: points that it is worth.
        key: ids of the notebook and the cell in the gradebook.
    """

    notebook: str
    name: str
    most: float
    key: Cell


@dataclass(frozen=True)
class Sheet:
    """All that a gradebook has of one student's work for an assignment, as rows of nbgrader's tables.

    Args:
        student: the row of the person; empty when the gradebook does not know them.
        submission: of the work; empty when there is none.
        notebooks: one for each.
        grades: one for each task and notebook; `notebook_id` is that of the student's notebook.
        comments: idem.
        due: deadline of the assignment, in UTC without saying so, as nbgrader has it.
    """

    student: Row
    submission: Row
    notebooks: list[Row]
    grades: list[Row]
    comments: list[Row]
    due: datetime | None = None

    def to_json(self) -> str:
        """As text, to keep."""
        plain = asdict(self)
        plain["due"] = self.due.isoformat() if self.due else None
        if moment := plain["submission"].get("timestamp"):
            plain["submission"]["timestamp"] = moment.isoformat()
        if more := plain["submission"].get("extension"):
            plain["submission"]["extension"] = more.total_seconds()
        return json.dumps(plain)

    @classmethod
    def from_json(cls, text: str) -> Sheet:
        """What `to_json` kept.

        Raises:
            ValueError, TypeError, KeyError: it is no such text.
        """
        plain = json.loads(text)
        if moment := plain["submission"].get("timestamp"):
            plain["submission"]["timestamp"] = datetime.fromisoformat(moment)
        if more := plain["submission"].get("extension"):
            plain["submission"]["extension"] = timedelta(seconds=more)
        due = datetime.fromisoformat(plain["due"]) if plain["due"] else None
        return cls(**{**plain, "due": due})

    def by_cell(self, rows: Sequence[Row]) -> dict[Cell, Row]:
        """Grades or comments of this sheet by the source of their notebook and cell."""
        source = {one["id"]: one["notebook_id"] for one in self.notebooks}
        return {(source[row["notebook_id"]], row["cell_id"]): row for row in rows}

    @property
    def automatic(self) -> dict[str, Any]:
        """What the tests gave, and of which work; nothing that a person typed. As JSON would keep it."""
        moment = self.submission.get("timestamp")
        grades = {"/".join(key): row["auto_score"] for key, row in self.by_cell(self.grades).items()}
        return {"timestamp": moment.isoformat() if moment else None, "scores": dict(sorted(grades.items()))}


def _table(mapped: Any) -> Table:
    return cast("Table", mapped.__table__)


def _rows(connection: Connection, mapped: Any, where: ColumnElement[bool]) -> list[Row]:
    return [dict(row) for row in connection.execute(select(_table(mapped)).where(where)).mappings()]


def _structure(connection: Connection, assignment: str) -> dict[Any, list[Row]]:
    """The assignment itself in the gradebook: its notebooks, cells and sources; in an order that keeps references."""
    found = {Assignment: _rows(connection, Assignment, Assignment.name == assignment)}
    ids = [row["id"] for row in found[Assignment]]
    found[Notebook] = _rows(connection, Notebook, Notebook.assignment_id.in_(ids))
    notebooks = [row["id"] for row in found[Notebook]]
    found[BaseCell] = _rows(connection, BaseCell, _table(BaseCell).c.notebook_id.in_(notebooks))
    cells = [row["id"] for row in found[BaseCell]]
    for kind in (GradeCell, SolutionCell, TaskCell):
        found[kind] = _rows(connection, kind, _table(kind).c.id.in_(cells))
    found[SourceCell] = _rows(connection, SourceCell, SourceCell.notebook_id.in_(notebooks))
    return found


def _digest(structure: dict[Any, list[Row]]) -> str:
    """Changes when anything changes by which marks are given: tests, points, cells. A deadline is no such thing."""
    shown = {
        kind.__tablename__: sorted(
            ({key: value for key, value in row.items() if key != "duedate"} for row in rows), key=lambda row: row["id"]
        )
        for kind, rows in structure.items()
    }
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()


def _tasks(structure: dict[Any, list[Row]]) -> list[Task]:
    names = {row["id"]: row["name"] for row in structure[Notebook]}
    cells = {row["id"]: row for row in structure[BaseCell]}
    found = []
    for row in (*structure[GradeCell], *structure[TaskCell]):
        cell = cells[row["id"]]
        found.append(
            Task(names[cell["notebook_id"]], cell["name"], row["max_score"], (cell["notebook_id"], cell["id"]))
        )
    return sorted(found, key=lambda task: (task.notebook, task.name))


def _sheet(connection: Connection, assignment_id: str, student: str) -> Sheet:
    people = _rows(connection, Student, Student.id == student)
    work = _rows(
        connection,
        SubmittedAssignment,
        (SubmittedAssignment.assignment_id == assignment_id) & (SubmittedAssignment.student_id == student),
    )
    ids = [row["id"] for row in work]
    (about,) = _rows(connection, Assignment, Assignment.id == assignment_id) or [{"duedate": None}]
    notebooks = _rows(connection, SubmittedNotebook, SubmittedNotebook.assignment_id.in_(ids))
    inside = [row["id"] for row in notebooks]
    return Sheet(
        student=people[0] if people else {},
        submission=work[0] if work else {},
        notebooks=notebooks,
        grades=_rows(connection, Grade, Grade.notebook_id.in_(inside)),
        comments=_rows(connection, Comment, Comment.notebook_id.in_(inside)),
        due=about["duedate"],
    )


class Draft:
    """A draft of one assignment's part of a gradebook.

    Args:
        gradebook: address of the gradebook, as SQLAlchemy takes it; SQLite or PostgreSQL.
        assignment: name of the assignment.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the gradebook cannot be read.
    """

    def __init__(self, gradebook: str, assignment: str) -> None:
        self._gradebook, self.assignment = gradebook, assignment
        self._folder = Path(tempfile.mkdtemp(prefix="leerlab-draft-"))
        self.url = f"sqlite:///{self._folder / 'gradebook.db'}"
        self._engine = create_engine(self.url)
        # Made here and not by nbgrader, which starts a program to write down a version in each new gradebook.
        Base.metadata.create_all(bind=self._engine)
        real = create_engine(gradebook)
        try:
            with real.connect() as source, self._engine.begin() as target:
                structure = _structure(source, assignment)
                courses = [row["course_id"] for row in structure[Assignment]]
                for kind, rows in {Course: _rows(source, Course, Course.id.in_(courses)), **structure}.items():
                    if rows:
                        target.execute(insert(_table(kind)), rows)
        except BaseException:
            self.remove()
            raise
        finally:
            real.dispose()
        self.digest = _digest(structure)
        self._assignment_id = structure[Assignment][0]["id"] if structure[Assignment] else ""
        self._notebooks = [row["name"] for row in structure[Notebook]]

    def remove(self) -> None:
        """Throw it away."""
        self._engine.dispose()
        shutil.rmtree(self._folder, ignore_errors=True)

    def bring(self, student: str) -> Sheet:
        """Have the gradebook's present state of a student's work in the draft; gives that state.

        Raises:
            NotTheSameTests: the assignment has changed since the draft was made.
            sqlalchemy.exc.SQLAlchemyError: the gradebook cannot be read.
        """
        real = create_engine(self._gradebook)
        try:
            with real.connect() as source:
                if _digest(_structure(source, self.assignment)) != self.digest:
                    raise NotTheSameTests
                present = _sheet(source, self._assignment_id, student)
        finally:
            real.dispose()
        with self._engine.begin() as target:
            former = _sheet(target, self._assignment_id, student)
            for kind, rows in (
                (Grade, former.grades),
                (Comment, former.comments),
                (SubmittedNotebook, former.notebooks),
            ):
                target.execute(delete(_table(kind)).where(_table(kind).c.id.in_([row["id"] for row in rows])))
            target.execute(delete(_table(SubmittedAssignment)).where(SubmittedAssignment.student_id == student))
            target.execute(delete(_table(Student)).where(Student.id == student))
            target.execute(update(_table(Assignment)).values(duedate=present.due))
            _insert_all(target, present)
        return present

    def sheet(self, student: str) -> Sheet:
        """What the draft has of a student's work."""
        with self._engine.connect() as connection:
            return _sheet(connection, self._assignment_id, student)

    def put(self, sheet: Sheet, converters: Any) -> Sheet:
        """Have marks that were made before in the draft, over what a person typed since; gives what comes of it.

        The penalty for lateness depends on the marks by hand and on the deadline of this moment as well, so the
        course's own step gives it anew.

        Args:
            sheet: the marks; of a student whom `bring` has brought.
            converters: what nbgrader's steps are configured by.

        Raises:
            NbGraderException: it is not known now what holds for late work.
        """
        student = str(sheet.student["id"])
        now = self.sheet(student)
        submission = {**sheet.submission, "extension": now.submission.get("extension")}
        settle(self.url, self.assignment, self.digest, replace(sheet, due=now.due, submission=submission))
        steps = Autograde(parent=converters).autograde_preprocessors
        for notebook in self._notebooks:
            about = {"notebook": notebook, "assignment": self.assignment, "student": student, "db_url": self.url}
            for step in (step for step in steps if issubclass(step, AssignLatePenalties)):
                empty = nbformat.v4.new_notebook()  # type: ignore[no-untyped-call]
                step(parent=converters).preprocess(empty, {"nbgrader": about})
        return self.sheet(student)

    def settle(self, sheet: Sheet) -> None:
        """Bring marks into the gradebook; see `settle`."""
        settle(self._gradebook, self.assignment, self.digest, sheet)


@dataclass(frozen=True)
class Present:
    """What a gradebook has now of an assignment.

    Args:
        digest: of that by which marks are given, as `Draft.digest`.
        tasks: what has a mark.
        sheets: the work of each student who was asked for.
    """

    digest: str
    tasks: list[Task]
    sheets: dict[str, Sheet]


def read(gradebook: str, assignment: str, students: Sequence[str] = ()) -> Present:
    """What a gradebook has now of an assignment, and of students' work for it.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the gradebook cannot be read.
    """
    engine = create_engine(gradebook)
    try:
        with engine.connect() as connection:
            structure = _structure(connection, assignment)
            ids = [row["id"] for row in structure[Assignment]] or [""]
            sheets = {student: _sheet(connection, ids[0], student) for student in students}
            return Present(_digest(structure), _tasks(structure), sheets)
    finally:
        engine.dispose()


def settle(gradebook: str, assignment: str, digest: str, sheet: Sheet) -> None:
    """Bring what a sheet says into a gradebook, all of it or nothing; the same sheet twice changes nothing more.

    What the tests gave is taken over. A mark by hand stays, and stays settled where the work and what the tests gave
    are as they were; else it is to be looked at, as nbgrader has it (`preprocessors/saveautogrades.py`).

    Args:
        gradebook: its address.
        assignment: name of the assignment.
        digest: of the assignment by which the marks were made.
        sheet: the marks.

    Raises:
        NotTheSameTests: the assignment has changed since; nothing was written.
        sqlalchemy.exc.SQLAlchemyError: idem, for the gradebook is locked, away or full.
    """
    engine = create_engine(gradebook)
    try:
        with engine.begin() as connection:
            structure = _structure(connection, assignment)
            if _digest(structure) != digest:
                raise NotTheSameTests
            present = _sheet(connection, structure[Assignment][0]["id"], str(sheet.student["id"]))
            if not present.submission:
                _insert_all(connection, sheet if not present.student else replace(sheet, student={}))
            else:
                _take_over(connection, present, sheet)
            if present.due != sheet.due:
                due = update(_table(Assignment)).where(Assignment.name == assignment)
                connection.execute(due.values(duedate=sheet.due))
    finally:
        engine.dispose()


def _insert_all(connection: Connection, sheet: Sheet) -> None:
    for kind, rows in (
        (Student, [sheet.student]),
        (SubmittedAssignment, [sheet.submission]),
        (SubmittedNotebook, sheet.notebooks),
        (Grade, sheet.grades),
        (Comment, sheet.comments),
    ):
        if given := [row for row in rows if row]:
            connection.execute(insert(_table(kind)), given)


def _take_over(connection: Connection, present: Sheet, sheet: Sheet) -> None:
    """Change the rows of a submission that is there."""

    def change(kind: Any, row: Row, values: Row) -> None:
        if values != {key: row[key] for key in values}:
            connection.execute(update(_table(kind)).where(_table(kind).c.id == row["id"]).values(**values))

    same_work = present.submission["timestamp"] == sheet.submission["timestamp"]
    about = {key: sheet.submission[key] for key in ("timestamp", "extension")}
    change(SubmittedAssignment, present.submission, about)
    own = {row["notebook_id"]: row for row in present.notebooks}
    for row in sheet.notebooks:
        if (now := own.get(row["notebook_id"])) is None:
            own[row["notebook_id"]] = now = {**row, "assignment_id": present.submission["id"]}
            connection.execute(insert(_table(SubmittedNotebook)), [now])
        flagged = bool(now["flagged"] or row["flagged"])
        penalty = row["late_submission_penalty"]
        change(SubmittedNotebook, now, {"late_submission_penalty": penalty, "flagged": flagged})
    grades, comments = present.by_cell(present.grades), present.by_cell(present.comments)
    for key, row in sheet.by_cell(sheet.grades).items():
        if (now := grades.get(key)) is None:
            connection.execute(insert(_table(Grade)), [{**row, "notebook_id": own[key[0]]["id"]}])
            continue
        needed = row["needs_manual_grade"]
        if now["manual_score"] is not None:
            unchanged = same_work and now["auto_score"] == row["auto_score"]
            needed = now["needs_manual_grade"] if unchanged else True
        change(Grade, now, {"auto_score": row["auto_score"], "needs_manual_grade": needed})
    for key, row in sheet.by_cell(sheet.comments).items():
        if (now := comments.get(key)) is None:
            connection.execute(insert(_table(Comment)), [{**row, "notebook_id": own[key[0]]["id"]}])
        else:
            change(Comment, now, {"auto_comment": row["auto_comment"]})
