"""What a class's gradebook holds, as plain records; times are in UTC without saying so, as nbgrader keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

Key = tuple[str, str]
"""Assignment and student."""


@dataclass(frozen=True)
class Task:
    """One cell that has points.

    Args:
        id: of the cell in the gradebook.
        name: its grade_id.
        notebook: the name of its notebook.
        most: points that it is worth.
        by_hand: whether a person marks it, not a test.
    """

    id: str
    name: str
    notebook: str
    most: float
    by_hand: bool


@dataclass(frozen=True)
class Part:
    """One assignment of the course.

    Args:
        name: nbgrader's name of it.
        due: in UTC, without saying so, as nbgrader keeps all its times.
        tasks: by notebook and name.
    """

    name: str
    due: datetime | None
    tasks: tuple[Task, ...]

    @property
    def most(self) -> float:
        """Points that it is worth."""
        return sum(task.most for task in self.tasks)


@dataclass(frozen=True)
class Deadline:
    """Until when an assignment can be handed in on time.

    Args:
        due: for everybody; None: there is none.
        own: the deadlines of those who have another, by pseudonym.
    """

    due: datetime | None
    own: Mapping[str, datetime]


@dataclass(frozen=True)
class Work:
    """What one student has for one assignment.

    Args:
        handed_in: when the work that was graded was handed in, in UTC.
        extension: how much later than the deadline this student may hand in.
        graded: whether the tests have run.
        points: the sum of the marks, before the penalty.
        penalty: points off for being late.
        waits: whether a person still has to mark something.
    """

    handed_in: datetime | None
    extension: timedelta | None
    graded: bool
    points: float
    penalty: float
    waits: bool

    @property
    def total(self) -> float:
        """Points after the penalty, never below 0: as nbgrader's own export reckons it."""
        return max(0.0, self.points - self.penalty)

    @property
    def final(self) -> bool:
        """Whether all marks are there."""
        return self.graded and not self.waits


@dataclass(frozen=True)
class Mark:
    """One student's mark for one task.

    Args:
        points: the mark by hand if there is one, else the tests', with what a teacher gave on top.
        by_hand: whether a person gave it, or gave something on top.
        waits: whether a person still has to give it.
    """

    points: float
    by_hand: bool
    waits: bool


@dataclass(frozen=True)
class ClassBook:
    """The gradebook of a class.

    Args:
        parts: the assignments, by deadline and name; those without a deadline come last.
        students: what the gradebook itself says of people, by pseudonym.
        work: what they have.
    """

    parts: tuple[Part, ...]
    students: Mapping[str, Mapping[str, str | None]]
    work: Mapping[Key, Work]

    def part(self, name: str) -> Part | None:
        """One assignment, by nbgrader's name of it."""
        return next((part for part in self.parts if part.name == name), None)
