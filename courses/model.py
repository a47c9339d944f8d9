"""course.yaml: what a course is, for learners, teachers and the site."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from base.settings import BothLanguages, Section
from grading.terms import HandIn
from grading.when import BY_HAND, GradeRule

Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,30}$")]


class Track(StrEnum):
    """For whom a course is made."""

    MBO = "mbo"
    HBO = "hbo"
    LLO = "llo"


class Outcome(Section):
    """Something that a learner can do afterwards, and that an assignment measures."""

    id: Identifier = Field(description="Names the outcome in assignments.")
    text: BothLanguages = Field(description="What the learner can do; measurable.")
    framework: str = Field("", max_length=200, description="Where it fits in DigComp, HBO-i or another framework.")


class Assignment(Section):
    """One assignment of the course, in `source/<id>`."""

    id: Identifier = Field(description="Names the folder and the gradebook's assignment.")
    title: BothLanguages = Field(description="What learners see.")
    minutes: int = Field(ge=5, le=2000, description="How long it takes.")
    outcomes: tuple[Identifier, ...] = Field(min_length=1, description="Which outcomes it measures.")
    measured_by: dict[Identifier, tuple[str, ...]] = Field(
        {}, description="Which graded cells measure each outcome, by grade_id."
    )
    explorables: tuple[str, ...] = Field((), description="Cells that show something to explore, by grade_id or id.")
    grade: GradeRule | None = Field(None, description="As the course's `grade`, for this assignment alone.")


class CourseDescription(Section):
    """The whole of course.yaml."""

    id: Identifier = Field(description="Names the course.")
    title: BothLanguages = Field(description="What learners see.")
    summary: BothLanguages = Field(description="One or two sentences: what one does and why.")
    track: Track = Field(description="For whom it is made.")
    level: str = Field(min_length=1, max_length=100, description="Level within the track, such as `mbo 2-3`.")
    hours: int = Field(ge=1, le=1000, description="Study load of the whole course.")
    prior_knowledge: BothLanguages | None = Field(None, description="What a learner must know before.")
    outcomes: tuple[Outcome, ...] = Field(min_length=1, description="What one can do afterwards.")
    assignments: tuple[Assignment, ...] = Field(min_length=1, description="In teaching order.")
    datasets: tuple[Identifier, ...] = Field((), description="Datasets of the catalogue that the course uses.")
    models: tuple[Identifier, ...] = Field((), description="Models of the catalogue that the course uses.")
    hand_in: HandIn = Field(
        HandIn(), description="How work is taken in: late, and how often. The course's owner may choose otherwise."
    )
    grade: GradeRule = Field(
        BY_HAND,
        description="When what was handed in is graded by the tests without a teacher's click: `by_hand`, `on_submit`, "
        "`after_deadline`, or once a day, such as `daily at 03:00`.",
    )
    badge: BothLanguages | None = Field(None, description="What a learner may show afterwards.")

    def graded(self) -> dict[str, GradeRule]:
        """When each assignment is graded that is not graded by hand, by its id."""
        rules = {one.id: self.grade if one.grade is None else one.grade for one in self.assignments}
        return {name: rule for name, rule in rules.items() if rule != BY_HAND}

    @model_validator(mode="after")
    def _outcomes_fit(self) -> CourseDescription:
        known = [outcome.id for outcome in self.outcomes]
        if len(set(known)) < len(known):
            raise ValueError("two outcomes have the same id (allowed: every id once)")
        names = [assignment.id for assignment in self.assignments]
        if len(set(names)) < len(names):
            raise ValueError("two assignments have the same id (allowed: every id once)")
        for assignment in self.assignments:
            if missing := sorted(set(assignment.outcomes) - set(known)):
                raise ValueError(
                    f"assignment {assignment.id} names the unknown outcome {missing[0]} (allowed: {', '.join(known)})"
                )
        measured = {outcome for assignment in self.assignments for outcome in assignment.outcomes}
        if unmeasured := sorted(set(known) - measured):
            raise ValueError(
                f"no assignment measures the outcome {unmeasured[0]} (allowed: every outcome in one or more)"
            )
        return self
