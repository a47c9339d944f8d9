"""What is exported: one table of totals and one for each assignment, with typed values, not yet in any file format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from leerlab_lab.classbook.records import Key, Mark, Part, Task, Work
from leerlab_lab.classbook.standing import Place, Standing
from leerlab_lab.classbook.view import ClassView

_DIGITS = 6
"""Of points: a sum of tenths is 0.3, not 0.30000000000000004."""


class Kind(Enum):
    """What a column holds."""

    TEXT = "text"
    POINTS = "points"
    COUNT = "count"
    SHARE = "share"
    MOMENT = "moment"
    YES = "yes"


@dataclass(frozen=True)
class ByHand:
    """Points that a person gave, not a test."""

    points: float


Cell = str | float | int | datetime | bool | ByHand | None
"""A moment is in UTC, without saying so. None is an empty cell."""


@dataclass(frozen=True)
class Column:
    """One column.

    Args:
        key: its name for programs.
        title: its name for people.
    """

    key: str
    title: str
    kind: Kind


@dataclass(frozen=True)
class Table:
    """One table: its name for people, its columns and its rows."""

    name: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Titles:
    """What things are called in the reader's language.

    Args:
        words: as templates/columns.html has them.
        assignment: an assignment's title by its name.
        standing: a standing for the reader: in words, or as programs know it.
    """

    words: Mapping[str, str]
    assignment: Callable[[str], str]
    standing: Callable[[Standing], str]


def totals(seen: ClassView, names: Mapping[str, str], titles: Titles) -> Table:
    """A row for each student: points for each assignment, and what they come to.

    Args:
        seen: the class.
        names: what students are called, by pseudonym; rows are in the order of this.
        titles: the words.
    """
    words = titles.words
    columns = [
        Column("name", words["name"], Kind.TEXT),
        Column("student", words["student"], Kind.TEXT),
        *(Column(part.name, titles.assignment(part.name), Kind.POINTS) for part in seen.parts),
        Column("points", words["points"], Kind.POINTS),
        Column("possible", words["possible"], Kind.POINTS),
        Column("share", words["share"], Kind.SHARE),
        Column("handed_in", words["handed-in-count"], Kind.COUNT),
        Column("late", words["late-count"], Kind.COUNT),
        Column("waiting", words["waiting-count"], Kind.COUNT),
        Column("missed", words["missed-count"], Kind.COUNT),
    ]
    places = {part.name: {one.student: one for one in seen.places(part)} for part in seen.parts}
    behind = {part.name: set(seen.behind(part, places[part.name].values())) for part in seen.parts}
    possible = sum(part.most for part in seen.parts)
    rows = []
    for student, name in names.items():
        work = [seen.book.work.get((part.name, student)) for part in seen.parts]
        points = [_points(one.total) if one is not None and one.graded else None for one in work]
        total = sum(one for one in points if one is not None)
        stands = [places[part.name].get(student) for part in seen.parts]
        here = [one for one in stands if one is not None]
        rows.append((
            name, student, *points, _points(total), _points(possible), total / possible if possible else None,
            sum(one.standing is not Standing.NOTHING for one in here),
            sum(one.late for one in here),
            sum(one.standing in {Standing.HANDED_IN, Standing.WAITS} for one in here),
            sum(student in behind[part.name] for part in seen.parts),
        ))  # fmt: skip
    return Table(words["totals"], tuple(columns), tuple(rows))


def of_assignment(
    seen: ClassView,
    part: Part,
    tasks: Sequence[tuple[Task, str]],
    *,
    marks: Mapping[Key, Mapping[str, Mark]],
    names: Mapping[str, str],
    titles: Titles,
) -> Table:
    """A row for each student: every task's points, the penalty, and what they come to.

    Args:
        seen: the class.
        part: the assignment.
        tasks: its tasks with their names, in order.
        marks: every mark.
        names: what students are called, by pseudonym; rows are in the order of this.
        titles: the words.
    """
    words = titles.words
    several = len({task.notebook for task, _ in tasks}) > 1
    columns = [
        Column("name", words["name"], Kind.TEXT),
        Column("student", words["student"], Kind.TEXT),
        Column("state", words["state"], Kind.TEXT),
        Column("handed_in", words["handed-in"], Kind.MOMENT),
        Column("late", words["late"], Kind.YES),
        *(_task_column(task, title, words, several) for task, title in tasks),
        Column("before_penalty", words["before-penalty"], Kind.POINTS),
        Column("late_penalty", words["penalty"], Kind.POINTS),
        Column("points", words["points"], Kind.POINTS),
        Column("possible", words["possible"], Kind.POINTS),
        Column("share", words["share"], Kind.SHARE),
        Column("marked_by_hand", words["by-hand"], Kind.TEXT),
    ]
    places = {one.student: one for one in seen.places(part)}
    rows = tuple(
        _row(
            seen.book.work.get((part.name, student)),
            part,
            tasks,
            marks.get((part.name, student), {}),
            (name, student, *_about(places.get(student), titles)),
        )
        for student, name in names.items()
    )
    return Table(titles.assignment(part.name), tuple(columns), rows)


def _about(stands: Place | None, titles: Titles) -> tuple[Cell, ...]:
    """State, time of handing in, and whether that was late."""
    if stands is None:
        return "", None, None
    return titles.standing(stands.standing), stands.handed_in, stands.late if stands.handed_in else None


def _row(
    work: Work | None, part: Part, tasks: Sequence[tuple[Task, str]], marks: Mapping[str, Mark],
    about: tuple[Cell, ...],
) -> tuple[Cell, ...]:  # fmt: skip
    cells = [_cell(marks.get(task.id)) for task, _ in tasks]
    possible = _points(part.most)
    if work is None or not work.graded:
        return (*about, *cells, None, None, None, possible, None, "")
    by_hand = ", ".join(task.name for (task, _), cell in zip(tasks, cells, strict=True) if isinstance(cell, ByHand))
    share = work.total / part.most if part.most > 0 else None
    return (*about, *cells, *map(_points, (work.points, work.penalty, work.total)), possible, share, by_hand)


def _task_column(task: Task, title: str, words: Mapping[str, str], several: bool) -> Column:
    key = f"{task.notebook}/{task.name}" if several else task.name
    named = title if title == task.name else f"{title} ({task.name})"
    return Column(key, f"{named}, {words['at-most']} {task.most:g}", Kind.POINTS)


def _cell(mark: Mark | None) -> Cell:
    if mark is None or mark.waits:
        return None
    return ByHand(_points(mark.points)) if mark.by_hand else _points(mark.points)


def _points(value: float) -> float:
    return round(value, _DIGITS)
