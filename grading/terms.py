"""By which rules work is taken in: deadlines, the late policy, attempts, and what one student was given beside it.

Pure rules. Which work counts: the last that was taken in. What is taken in is decided at its own moment and stays taken
in, whatever the rules become; how late it is follows the rules as they are now, since a deadline may be put off later.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from base.settings import Section
from grading.errors import NoAttemptsLeft, TooLate

DAY = timedelta(days=1)
MOST_ATTEMPTS = 200
LONGEST_REASON = 500


class Penalty(StrEnum):
    """What being late costs."""

    NONE = "none"
    PER_DAY = "per-day"
    FIXED = "fixed"


class LatePolicy(Section):
    """What becomes of work that is handed in after its deadline."""

    days: int | None = Field(
        None, ge=0, le=365, description="Whole days after the deadline in which work is still taken in; 0: none; left "
        "out: for as long as the assignment is handed out.",
    )  # fmt: skip
    penalty: Penalty = Field(
        Penalty.NONE, description="`none`; `per-day`: `percent` for each day that has begun; `fixed`: `percent` once."
    )
    percent: float = Field(0, ge=0, le=100, description="Part of the points earned that is taken off.")

    @model_validator(mode="after")
    def _percent_and_penalty_belong_together(self) -> LatePolicy:
        if (self.penalty is Penalty.NONE) != (self.percent == 0):
            raise ValueError(
                f"the penalty `{self.penalty}` and percent {self.percent:g} do not belong together "
                "(allowed: no percent with `none`, more than 0 with the others)"
            )
        if self.days == 0 and self.penalty is not Penalty.NONE:
            raise ValueError("nothing late is taken in with days 0, so it has no penalty (allowed: `none`)")
        return self

    def takes(self, late: timedelta) -> bool:
        """Whether work that is so late is still taken in."""
        return self.days is None or late <= self.days * DAY

    def percent_off(self, late: timedelta) -> float:
        """How many percent of the points earned are taken off for being so late; at most 100."""
        if late <= timedelta(0):
            return 0
        match self.penalty:
            case Penalty.NONE:
                return 0
            case Penalty.FIXED:
                return self.percent
            case Penalty.PER_DAY:
                return min(100.0, self.percent * math.ceil(late / DAY))


class HandIn(Section):
    """How a course takes work in."""

    late: LatePolicy = Field(LatePolicy(), description="What becomes of work that is handed in after its deadline.")
    attempts: int | None = Field(
        None,
        ge=1,
        le=MOST_ATTEMPTS,
        description="How often an assignment can be handed in; the last counts. Left out: as often as one likes.",
    )


class Kept(BaseModel):
    """Base of what is written down."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Extension(Kept):
    """What one student was given for one assignment.

    Args:
        due: the student's own deadline.
        attempts: how often the student can hand in; None: as everybody.
        reason: in the words of who gave it.
        by: who gave it.
        given: when.
    """

    due: AwareDatetime
    attempts: int | None = Field(None, ge=1, le=MOST_ATTEMPTS)
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_REASON)]
    by: str
    given: AwareDatetime


class AssignmentTerms(Kept):
    """What holds for one assignment.

    Args:
        due: the deadline; None: there is none.
        attempts: how often it can be handed in; None: as the course says.
        extensions: by student.
    """

    due: AwareDatetime | None = None
    attempts: int | None = Field(None, ge=1, le=MOST_ATTEMPTS)
    extensions: dict[str, Extension] = {}


class Terms(Kept):
    """All rules of a course, as they are from `time` on.

    Args:
        time: when they were made; None: nobody ever did.
        by: who made them so.
        described: as the course's own course.yaml says.
        chosen: as the course's owner says here instead; None: as described.
        assignments: by assignment.
    """

    time: AwareDatetime | None = None
    by: str = ""
    described: HandIn = HandIn()
    chosen: HandIn | None = None
    assignments: dict[str, AssignmentTerms] = {}

    @property
    def hand_in(self) -> HandIn:
        """How the course takes work in."""
        return self.chosen or self.described

    def rules(self, assignment: str, student: str) -> Rules:
        """What holds for one student and one assignment."""
        one = self.assignments.get(assignment, AssignmentTerms())
        own = one.extensions.get(student)
        attempts = one.attempts or self.hand_in.attempts
        return Rules(
            due=own.due if own else one.due,
            attempts=own.attempts if own and own.attempts else attempts,
            late=self.hand_in.late,
            extended=own is not None,
        )


@dataclass(frozen=True)
class Standing:
    """How one hand-in stands under the rules.

    Args:
        due: the deadline that held for the student; None: there was none.
        late_seconds: after the deadline; 0 where it was in time.
        percent_off: of the points earned.
        attempt: which hand-in of the student's it is; the first is 1.
        attempts: how many there are; None: as many as one likes.
    """

    due: datetime | None
    late_seconds: float
    percent_off: float
    attempt: int
    attempts: int | None


@dataclass(frozen=True)
class Rules:
    """What holds for one student and one assignment.

    Args:
        due: the student's deadline; None: there is none.
        attempts: how often the student can hand in; None: as often as they like.
        late: what becomes of late work.
        extended: whether the student was given something that others have not.
    """

    due: datetime | None = None
    attempts: int | None = None
    late: LatePolicy = field(default_factory=LatePolicy)
    extended: bool = False

    @property
    def closes(self) -> datetime | None:
        """The last moment at which work is taken in; None: there is none."""
        return None if self.due is None or self.late.days is None else self.due + self.late.days * DAY

    def standing(self, moment: datetime, attempt: int) -> Standing:
        """How work stands that came at this moment, whether or not it is taken in."""
        late = max(timedelta(0), moment - self.due) if self.due else timedelta(0)
        return Standing(self.due, late.total_seconds(), self.late.percent_off(late), attempt, self.attempts)

    def open_to(self, moment: datetime, before: int) -> bool:
        """Whether work would be taken in; arguments as of `judge`."""
        try:
            self.judge(moment, before)
        except (TooLate, NoAttemptsLeft):
            return False
        return True

    def judge(self, moment: datetime, before: int) -> Standing:
        """Take work in, or not.

        Args:
            moment: the server's own time.
            before: how often the student has handed the assignment in.

        Raises:
            TooLate: the deadline is over, and with it the time in which late work is taken in.
            NoAttemptsLeft: the student has used all attempts.
        """
        if self.attempts is not None and before >= self.attempts:
            raise NoAttemptsLeft(
                f"You have handed this assignment in {before} times, and {self.attempts} is the most.",
                "What you handed in last counts. Nothing was changed.",
                "Ask your teacher if you need another attempt.",
            )
        if self.closes is not None and moment > self.closes:
            raise TooLate(
                f"This assignment could be handed in until {self.closes:%Y-%m-%d %H:%M} UTC.",
                "It was not taken in. What you handed in before is safe, and so are your files.",
                "Ask your teacher if you need more time.",
            )
        return self.standing(moment, before + 1)
