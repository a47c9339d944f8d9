"""The class as one thing: gradebook, class list and exchange put together, for the overview and the export."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from leerlab_lab.classbook.records import ClassBook, Deadline, Key, Part
from leerlab_lab.classbook.standing import HandIn, Place, Standing, place
from leerlab_lab.classbook.statistics import Spread, spread


@dataclass(frozen=True)
class ClassList:
    """What the service told.

    Args:
        students: pseudonyms of the course's students; None when it did not answer.
        given: assignments that are handed out now; None when it did not answer.
        deadlines: by assignment, of those whose deadline the exchange keeps; None when it did not answer.
        handed_in: what the exchange holds; None when it did not answer.
    """

    students: frozenset[str] | None
    given: frozenset[str] | None
    deadlines: dict[str, Deadline] | None
    handed_in: dict[Key, list[HandIn]] | None

    @property
    def complete(self) -> bool:
        """Whether all of it is known."""
        return None not in (self.students, self.given, self.deadlines, self.handed_in)


@dataclass(frozen=True)
class ClassView:
    """A class at one moment.

    Args:
        book: the gradebook.
        listed: who is in the class and what was handed in, as far as the service tells.
        now: in UTC, without saying so, as nbgrader keeps times.
    """

    book: ClassBook
    listed: ClassList
    now: datetime

    @cached_property
    def students(self) -> list[str]:
        """Everybody: who is in the class, and who left it but has work here."""
        handed_in = {student for _, student in self.listed.handed_in or ()}
        return sorted((self.listed.students or frozenset()) | set(self.book.students) | handed_in)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The assignments that matter now: handed out, or with work of somebody."""
        if self.listed.given is None:
            return self.book.parts
        worked_at = {name for name, _ in self.book.work} | {name for name, _ in self.listed.handed_in or ()}
        return tuple(part for part in self.book.parts if part.name in self.listed.given | worked_at)

    def due(self, part: Part, student: str = "") -> datetime | None:
        """The deadline, in UTC without saying so: the exchange's, else the gradebook's.

        Args:
            part: the assignment.
            student: who may have a deadline of their own; empty for everybody's.
        """
        kept = (self.listed.deadlines or {}).get(part.name)
        if kept is not None:
            return kept.own.get(student, kept.due)
        work = self.book.work.get((part.name, student))
        return part.due + work.extension if part.due and work is not None and work.extension else part.due

    def places(self, part: Part) -> list[Place]:
        """Where everybody stands with one assignment; who left the class only where they have something."""
        handed_in = self.listed.handed_in or {}
        members = self.listed.students
        found = [
            place(student, self.due(part, student), self.book.work.get(key), handed_in.get(key, ()), self.now)
            for student in self.students
            for key in [(part.name, student)]
        ]
        return [
            one for one in found if members is None or one.student in members or one.standing is not Standing.NOTHING
        ]

    def behind(self, part: Part, places: Iterable[Place]) -> list[str]:
        """Who did not hand in though the deadline has passed; nobody while that is not known.

        What is not handed out now cannot be handed in, so nobody is behind with it.
        """
        known = self.listed
        if known.handed_in is None or known.deadlines is None:
            return []
        if known.given is not None and part.name not in known.given:
            return []
        return [one.student for one in places if one.overdue]

    def spread_of(self, part: Part) -> Spread | None:
        """How the final marks of one assignment are spread, after the penalty for being late."""
        if part.most <= 0:
            return None
        work = (self.book.work.get((part.name, student)) for student in self.students)
        return spread([one.total / part.most for one in work if one is not None and one.final])

    def spread_of_all(self) -> Spread | None:
        """How students stand over all assignments that have their final mark; of each only those."""
        shares = []
        for student in self.students:
            had = [
                (work.total, part.most)
                for part in self.parts
                if (work := self.book.work.get((part.name, student))) is not None and work.final and part.most > 0
            ]
            if had:
                shares.append(sum(total for total, _ in had) / sum(most for _, most in had))
        return spread(shares)
