"""How far each student is with each assignment: one standing each, from the exchange and the gradebook together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from leerlab_lab.classbook.records import Work


class Standing(StrEnum):
    """The furthest that an assignment has come."""

    NOTHING = "nothing"
    HANDED_IN = "handed-in"
    WAITS = "waits"
    MARKED = "marked"
    RETURNED = "returned"


@dataclass(frozen=True)
class HandIn:
    """A submission that the exchange holds.

    Args:
        when: by the exchange's clock, in UTC, without saying so, as nbgrader keeps it.
        feedback: whether the student can read feedback on it.
    """

    when: datetime
    feedback: bool


@dataclass(frozen=True)
class Place:
    """Where one student stands with one assignment.

    Args:
        student: the pseudonym.
        standing: how far.
        handed_in: when what counts was handed in: what was graded, else what was handed in last.
        late: whether that was after the student's deadline.
        overdue: whether the deadline has passed without anything handed in.
        again: whether something newer than what was graded was handed in.
    """

    student: str
    standing: Standing
    handed_in: datetime | None
    late: bool
    overdue: bool
    again: bool


def place(student: str, due: datetime | None, work: Work | None, handed_in: Iterable[HandIn], now: datetime) -> Place:
    """Where a student stands.

    Args:
        student: the pseudonym.
        due: the student's own deadline, in UTC without saying so; None: there is none.
        work: what the gradebook has.
        handed_in: what the exchange has of this student for this assignment, in any order.
        now: in UTC, without saying so.
    """
    known = sorted(handed_in, key=lambda one: one.when)
    graded = work is not None and work.graded
    last = known[-1].when if known else None
    when = (work.handed_in if work is not None and graded else None) or last
    returned = graded and any(one.feedback for one in known if one.when == when)
    if work is not None and graded:
        standing = Standing.WAITS if work.waits else Standing.RETURNED if returned else Standing.MARKED
    else:
        standing = Standing.HANDED_IN if when else Standing.NOTHING
    return Place(
        student,
        standing,
        when,
        late=due is not None and when is not None and when > due,
        overdue=due is not None and standing is Standing.NOTHING and now > due,
        again=graded and last is not None and when is not None and last > when,
    )


def counted(found: Iterable[Place]) -> dict[Standing, int]:
    """How many stand where; every standing is there."""
    counts = Counter(one.standing for one in found)
    return {standing: counts[standing] for standing in Standing}
