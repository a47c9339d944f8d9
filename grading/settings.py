"""The section `grading:` of site.yaml: limits of hand-ins and of graded runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Self

from annotated_types import Ge, Le
from pydantic import Field, model_validator

from base.quantities import Duration, Size
from base.settings import Section

Time = Annotated[Duration, Le(timedelta(hours=8))]


class GradingSettings(Section):
    """How work is taken in and run."""

    profile: str = Field(description="Profile of formgrader servers and graded runs.")
    cell_time: Time = Field(Duration.parse("30s"), description="Longest that one cell may run when it is graded.")
    notebook_time: Time = Field(
        Duration.parse("5m"), description="Longest that one notebook may run when it is graded."
    )
    upload: Annotated[Size, Ge(2**10), Le(2**40)] = Field(
        Size.parse("100M"), description="Largest hand-in, all files together."
    )
    files: int = Field(1000, ge=1, le=100_000, description="Most files in one hand-in.")

    @model_validator(mode="after")
    def _cells_fit_in_the_notebook(self) -> Self:
        if self.cell_time > self.notebook_time:
            raise ValueError(
                f"cell_time ({self.cell_time}) is longer than notebook_time (allowed: at most {self.notebook_time})"
            )
        return self
