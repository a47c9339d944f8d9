"""How far a student is with each assignment, and what a teacher has to grade: read from the exchange on disk."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from base.paths import State
from courses.catalogue import Course, in_language
from grading.in_work import has_fetched
from grading.store import Store
from grading.terms import Rules
from grading.terms_shelf import TermsShelf

_ANSWER_SECONDS = 1.0


class WorkState(StrEnum):
    """How far one student is with one assignment."""

    NOT_FETCHED = "not-fetched"
    IN_WORK = "in-work"
    HANDED_IN = "handed-in"
    FEEDBACK = "feedback"


@dataclass(frozen=True)
class Work:
    """One released assignment as one person sees it.

    Args:
        id: the assignment's id.
        title: in the person's language.
        minutes: how long it takes; 0 when the catalogue does not say.
        deadline: until when this person can hand it in on time; None when there is none.
        state: how far the student is.
        handed_in: for a teacher: how many students handed it in.
        late: whether the deadline is over and nothing was handed in.
        rules: what holds for this person beside the deadline.
        attempts_used: how often they handed it in.
        percent_off: what is taken off for what they handed in last.
        percent_now: what would be taken off if they handed in now.
        closed: whether nothing is taken in from them now.
    """

    id: str
    title: str
    minutes: int
    deadline: datetime | None
    state: WorkState
    handed_in: int = 0
    late: bool = False
    rules: Rules = field(default_factory=Rules)
    attempts_used: int = 0
    percent_off: float = 0
    percent_now: float = 0
    closed: bool = False

    @property
    def open(self) -> bool:
        """Whether the student has still to hand it in."""
        return self.state in (WorkState.NOT_FETCHED, WorkState.IN_WORK)


class Exchange:
    """Reads; blocks for milliseconds, so async callers use a thread.

    Args:
        store: the exchange.
        state: the site's state folder, with homes and gradebooks.
    """

    def __init__(self, store: Store, state: State) -> None:
        self._store = store
        self._state = state
        self._terms = TermsShelf(state.exchange)

    def work(self, course: Course, person: str, language: str, *, teacher: bool = False) -> list[Work]:
        """The released assignments of a course, in teaching order.

        Args:
            course: from the catalogue.
            person: whose work.
            language: of the titles.
            teacher: count what all students handed in, too.
        """
        course_id = course.description.id
        released = [deposit.manifest.assignment for deposit in self._store.released(course_id)]
        described = {assignment.id: assignment for assignment in course.assignments()}
        # A teacher may release an assignment of their own, which the catalogue does not know.
        order = [name for name in described if name in released]
        order += [name for name in released if name not in described]
        deadlines = self._deadlines(course_id)
        terms = self._terms.of(course_id)
        now = datetime.now(UTC)
        found = []
        for name in order:
            state = self._state_of(course_id, name, person)
            about, rules = described.get(name), terms.rules(name, person)
            handed_in = [one.manifest.time for one in self._store.submissions(course_id, name, person)]
            if rules.due is None and name not in terms.assignments:
                # Set before the exchange knew of deadlines.
                rules = replace(rules, due=deadlines.get(name))
            deadline = rules.due
            unfinished = state in (WorkState.NOT_FETCHED, WorkState.IN_WORK)
            found.append(
                Work(
                    id=name,
                    title=in_language(about.title, language) if about else name,
                    minutes=about.minutes if about else 0,
                    deadline=deadline,
                    state=state,
                    handed_in=self._handed_in(course_id, name) if teacher else 0,
                    late=unfinished and deadline is not None and deadline < now,
                    rules=rules,
                    attempts_used=len(handed_in),
                    percent_off=rules.standing(handed_in[-1], len(handed_in)).percent_off if handed_in else 0,
                    percent_now=rules.standing(now, len(handed_in) + 1).percent_off,
                    closed=not rules.open_to(now, len(handed_in)),
                )
            )
        return found

    def _state_of(self, course: str, assignment: str, person: str) -> WorkState:
        submissions = self._store.submissions(course, assignment, person)
        if not submissions:
            fetched = has_fetched(self._state.homes, person, course, assignment)
            return WorkState.IN_WORK if fetched else WorkState.NOT_FETCHED
        newest = submissions[-1].manifest.stamp
        given = self._store.feedback(course, assignment, person, newest)
        return WorkState.FEEDBACK if given is not None else WorkState.HANDED_IN

    def _handed_in(self, course: str, assignment: str) -> int:
        return len({deposit.manifest.student for deposit in self._store.submissions(course, assignment)})

    def _deadlines(self, course: str) -> dict[str, datetime]:
        """Due dates as teachers set them in formgrader: nbgrader's table `assignment`, in UTC (nbgrader/api.py)."""
        book = self._state.courses / course / "gradebook.db"
        if not book.is_file():
            return {}
        with suppress(sqlite3.Error), closing(_read_only(book)) as connection:
            rows = connection.execute("select name, duedate from assignment where duedate is not null").fetchall()
            return {str(name): datetime.fromisoformat(str(due)).replace(tzinfo=UTC) for name, due in rows}
        return {}


def _read_only(book: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{book.as_uri()}?mode=ro", uri=True, timeout=_ANSWER_SECONDS)
