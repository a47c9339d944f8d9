"""Marks before and after, for a class: what went up, what went down, and where a mark by hand decides."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from leerlab_lab.formgrader.draft import Row, Sheet, Task

_LEAST = 1e-9
"""Smaller differences are those of adding up numbers."""
COLUMNS = (
    "student", "name", "notebook", "task", "maximum", "before", "after", "difference", "by_hand",
    "late_penalty_before", "late_penalty_after",
)  # fmt: skip


class Way(StrEnum):
    """Which way a mark went."""

    UP = "up"
    DOWN = "down"
    SAME = "same"


def way(before: float | None, after: float | None) -> Way:
    """Which way a mark went; one that was not there counts as nothing."""
    difference = (after or 0.0) - (before or 0.0)
    return Way.SAME if abs(difference) < _LEAST else Way.UP if difference > 0 else Way.DOWN


@dataclass(frozen=True)
class OfTask:
    """One task of one student.

    Args:
        notebook: name of its notebook.
        task: nbgrader's id of its cell.
        most: points it is worth.
        before: points it had; None when it had no mark.
        after: points it has then.
        by_hand: whether a mark by hand decides, whatever the tests give.
        tests_before: what the tests gave; None where they give none.
        tests_after: what the tests give now.
    """

    notebook: str
    task: str
    most: float
    before: float | None
    after: float | None
    by_hand: bool
    tests_before: float | None
    tests_after: float | None

    @property
    def way(self) -> Way:
        """Which way it goes."""
        return way(self.before, self.after)

    @property
    def overruled(self) -> bool:
        """Whether the tests give something else now, and a mark by hand stays."""
        return self.by_hand and self.tests_before != self.tests_after


@dataclass(frozen=True)
class OfStudent:
    """All tasks of one student.

    Args:
        student: the pseudonym.
        before: points in all, after what lateness took; None when there was no mark.
        after: points in all then.
        most: points that there are.
        late_before: points that lateness took.
        late_after: points that it takes then.
        tasks: each of them.
    """

    student: str
    before: float | None
    after: float
    most: float
    late_before: float
    late_after: float
    tasks: tuple[OfTask, ...]

    @property
    def way(self) -> Way:
        """Which way the points in all go."""
        return way(self.before, self.after)

    @property
    def changed(self) -> tuple[OfTask, ...]:
        """Tasks with other points, or with other points by the tests that a mark by hand overrules."""
        return tuple(task for task in self.tasks if task.way is not Way.SAME or task.overruled)

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> OfStudent:
        """What `asdict` made of one, read back."""
        return cls(**{**kept, "tasks": tuple(OfTask(**task) for task in kept["tasks"])})


def _points(grade: Row | None) -> float | None:
    """As nbgrader counts: a mark by hand, else that of the tests, and extra points (`api.py`, `Grade.score`)."""
    if grade is None:
        return None
    score = grade["manual_score"] if grade["manual_score"] is not None else grade["auto_score"]
    return None if score is None else float(score + (grade["extra_credit"] or 0.0))


def _late(sheet: Sheet) -> float:
    return float(sum(row["late_submission_penalty"] or 0.0 for row in sheet.notebooks))


def _total(points: Iterable[float | None], late: float) -> float:
    return max(0.0, sum(score or 0.0 for score in points) - late)


def compared(student: str, before: Sheet, after: Sheet, tasks: Sequence[Task]) -> OfStudent:
    """One student's marks before and after.

    Args:
        before: what the gradebook has, with all that was typed by hand.
        after: what the tests gave since.
        tasks: of the assignment.
    """
    then, now = before.by_cell(before.grades), after.by_cell(after.grades)
    found = []
    for task in tasks:
        old, new = then.get(task.key), now.get(task.key)
        hand = {key: old[key] for key in ("manual_score", "extra_credit")} if old else {}
        merged = {**new, **hand} if new else old
        found.append(
            OfTask(
                task.notebook, task.name, float(task.most), _points(old), _points(merged),
                by_hand=bool(old and old["manual_score"] is not None),
                tests_before=old["auto_score"] if old else None, tests_after=new["auto_score"] if new else None,
            )
        )  # fmt: skip
    late = (_late(before), _late(after))
    return OfStudent(
        student,
        _total((task.before for task in found), late[0]) if before.submission else None,
        _total((task.after for task in found), late[1]),
        sum(task.most for task in found),
        *late,
        tuple(found),
    )


def counts(rows: Iterable[OfStudent]) -> dict[Way, int]:
    """How many students' points go which way."""
    found = dict.fromkeys(Way, 0)
    for row in rows:
        found[row.way] += 1
    return found


def as_plain(rows: Iterable[OfStudent]) -> list[dict[str, Any]]:
    """The same as plain data, to keep."""
    return [asdict(row) for row in rows]


def as_csv(rows: Iterable[OfStudent], names: Mapping[str, str]) -> str:
    """The same as a file for a spreadsheet: a line for each task of each student, and one for all of a student's.

    Args:
        names: what students are called.
    """
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(COLUMNS)
    for row in rows:
        who = (row.student, _plain(names.get(row.student, row.student)))
        for task in row.tasks:
            points = (task.most, *_pair(task.before, task.after))
            table.writerow(
                (*who, _plain(task.notebook), _plain(task.task), *points, "yes" if task.by_hand else "no", "", "")
            )
        total = (row.most, *_pair(row.before, row.after))
        table.writerow((*who, "", "", *total, "", row.late_before, row.late_after))
    return text.getvalue()


def _pair(before: float | None, after: float | None) -> tuple[float | str, float | str, float]:
    shown = ["" if value is None else value for value in (before, after)]
    return shown[0], shown[1], round((after or 0.0) - (before or 0.0), 6)


def _plain(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
