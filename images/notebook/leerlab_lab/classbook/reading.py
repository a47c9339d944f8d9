"""A whole class's gradebook in a few queries, where nbgrader's own API asks the database for each student and cell.

Read-only, on nbgrader's models, for SQLite and PostgreSQL alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, cast

from nbgrader.api import (
    Assignment,
    BaseCell,
    Grade,
    GradeCell,
    Notebook,
    Student,
    SubmittedAssignment,
    SubmittedNotebook,
    TaskCell,
)
from sqlalchemy import Connection, Engine, case, func, select

from leerlab_lab.classbook.records import ClassBook, Key, Mark, Part, Task, Work

_LAST = "~"
"""Sorts after every date."""


def read(engine: Engine) -> ClassBook:
    """Read everything but the separate marks: five queries, however large the class is.

    Args:
        engine: of nbgrader's `Gradebook`.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database does not answer.
    """
    with engine.connect() as connection:
        return ClassBook(_parts(connection), _students(connection), _work(connection))


def read_marks(engine: Engine, assignments: Iterable[str]) -> dict[Key, dict[str, Mark]]:
    """Every mark of some assignments, by task's id: one query.

    Args:
        engine: of nbgrader's `Gradebook`.
        assignments: their names.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database does not answer.
    """
    wanted = (
        select(
            Assignment.name, SubmittedAssignment.student_id, Grade.cell_id,
            Grade.auto_score, Grade.manual_score, Grade.extra_credit, Grade.needs_manual_grade,
        )
        .select_from(Grade)
        .join(SubmittedNotebook, Grade.notebook_id == SubmittedNotebook.id)
        .join(SubmittedAssignment, SubmittedNotebook.assignment_id == SubmittedAssignment.id)
        .join(Assignment, SubmittedAssignment.assignment_id == Assignment.id)
        .where(Assignment.name.in_(list(assignments)))
    )  # fmt: skip
    marks: dict[Key, dict[str, Mark]] = defaultdict(dict)
    with engine.connect() as connection:
        for name, student, cell, auto, manual, extra, waits in connection.execute(wanted):
            base = manual if manual is not None else auto
            # As nbgrader's `Grade.score`: what is given on top counts only beside a mark.
            points = 0.0 if base is None else base + (extra or 0.0)
            by_hand = manual is not None or bool(extra)
            marks[name, student][cell] = Mark(float(points), by_hand, bool(waits))
    return dict(marks)


def _parts(connection: Connection) -> tuple[Part, ...]:
    tasks: dict[str, list[Task]] = defaultdict(list)
    for table, marked in ((_table(GradeCell), "markdown"), (_table(TaskCell), None)):
        cells = (
            select(
                Notebook.assignment_id, BaseCell.id, BaseCell.name, Notebook.name, table.c.max_score, table.c.cell_type
            )
            .select_from(_table(BaseCell).join(table, table.c.id == _table(BaseCell).c.id))
            .join(Notebook, BaseCell.notebook_id == Notebook.id)
        )  # fmt: skip
        for assignment, cell, name, notebook, most, kind in connection.execute(cells):
            tasks[assignment].append(Task(cell, name, notebook, float(most), marked in {None, kind}))
    found = [
        Part(name, due, tuple(sorted(tasks[identity], key=lambda task: (task.notebook, task.name))))
        for identity, name, due in connection.execute(select(Assignment.id, Assignment.name, Assignment.duedate))
    ]
    return tuple(sorted(found, key=lambda part: (part.due.isoformat() if part.due else _LAST, part.name)))


def _students(connection: Connection) -> dict[str, dict[str, str | None]]:
    known = connection.execute(select(Student.id, Student.first_name, Student.last_name))
    return {student: {"id": student, "first_name": first, "last_name": last} for student, first, last in known}


def _work(connection: Connection) -> dict[Key, Work]:
    penalties = (
        select(
            SubmittedNotebook.assignment_id.label("id"),
            func.sum(func.coalesce(SubmittedNotebook.late_submission_penalty, 0.0)).label("penalty"),
        )
        .group_by(SubmittedNotebook.assignment_id)
        .subquery()
    )
    # The expression of nbgrader's `Grade.score`, without its class: as a column property it would be a query a row.
    base = func.coalesce(Grade.manual_score, Grade.auto_score)
    score = case((base.is_(None), 0.0), else_=base + func.coalesce(Grade.extra_credit, 0.0))
    marks = (
        select(
            SubmittedNotebook.assignment_id.label("id"),
            func.sum(score).label("points"),
            func.max(case((Grade.needs_manual_grade, 1), else_=0)).label("waits"),
        )
        .select_from(Grade)
        .join(SubmittedNotebook, Grade.notebook_id == SubmittedNotebook.id)
        .group_by(SubmittedNotebook.assignment_id)
        .subquery()
    )
    wanted = (
        select(
            Assignment.name, SubmittedAssignment.student_id, SubmittedAssignment.timestamp,
            SubmittedAssignment.extension, marks.c.points, marks.c.waits, penalties.c.penalty,
        )
        .select_from(SubmittedAssignment)
        .join(Assignment, SubmittedAssignment.assignment_id == Assignment.id)
        .outerjoin(marks, marks.c.id == SubmittedAssignment.id)
        .outerjoin(penalties, penalties.c.id == SubmittedAssignment.id)
    )  # fmt: skip
    return {
        (name, student): Work(
            when, extension, points is not None, float(points or 0.0), float(penalty or 0.0), bool(waits)
        )
        for name, student, when, extension, points, waits, penalty in connection.execute(wanted)
    }


def _table(model: Any) -> Any:
    return cast("Any", model).__table__
