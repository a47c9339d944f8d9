"""The section `courses:` of site.yaml: which courses of the catalogue this site gives."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from base.settings import Section
from grading.when import GradeRule

Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,30}$")]


class CourseSettings(Section):
    """One course of this site."""

    id: Identifier = Field(description="Names the course in groups, folders and addresses.")
    folder: str = Field(
        min_length=1, max_length=200, description="The course's folder, below the catalogue or absolute."
    )
    profile: str = Field(description="Profile with which a student's server starts from this course.")
    released: tuple[Identifier, ...] = Field(
        (), description="Assignments that are handed out at the start of the site."
    )
    grade: GradeRule | None = Field(
        None,
        description="When what was handed in is graded by the tests without a teacher's click, for all assignments: "
        "`by_hand` (never), `on_submit`, `after_deadline`, or once a day, such as `daily at 03:00`; without it, as "
        "course.yaml says.",
    )
