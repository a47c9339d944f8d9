"""The section `grading:` of site.yaml: limits of hand-ins and of graded runs."""

from __future__ import annotations

from pydantic import Field

from base.quantities import Duration, Size
from base.settings import Section


class GradingSettings(Section):
    """How work is taken in and run."""

    profile: str = Field(description="Profile of formgrader servers and graded runs.")
    cell_time: Duration = Field(Duration.parse("30s"), description="Longest that one cell may run when it is graded.")
    notebook_time: Duration = Field(
        Duration.parse("5m"), description="Longest that one notebook may run when it is graded."
    )
    upload: Size = Field(Size.parse("100M"), description="Largest hand-in, all files together.")
    files: int = Field(1000, ge=1, le=100_000, description="Most files in one hand-in.")
