"""What learners may hand in: wrong solutions that are known misconceptions, and right ones in another style.

They lie beside an assignment for teachers, in `teacher/<assignment>/wrong` and `.../other`, and are never released.
With them one proves that an assignment's checks take marks, and say why, at the right cell and at no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import Field, model_validator

from base.settings import BothLanguages, Section
from courses.described import read_described


class Seen(StrEnum):
    """When a learner reads why a cell lost its marks."""

    AT_ONCE = "at-once"
    """The check is visible: the learner reads it while working."""
    AFTER_GRADING = "after-grading"
    """The check is hidden: the teacher reads it when grading."""


class Loss(Section):
    """The marks of one graded cell are lost."""

    message: str = Field(min_length=10, max_length=200, description="Part of the message that names the misconception.")
    seen: Seen = Field(Seen.AT_ONCE, description="When the message is read.")


class Attempt(Section):
    """One way to fill in an assignment; every cell that it does not name is as in the reference solution."""

    why: BothLanguages = Field(description="The misconception, or what is different in style.")
    cells: Mapping[str, str] = Field(min_length=1, description="What stands in the answer cells, by grade_id.")
    loses: Mapping[str, Loss] = Field(default_factory=dict, description="Graded cells that get no marks, by grade_id.")

    @model_validator(mode="after")
    def _cells_say_something(self) -> Attempt:
        if empty := sorted(name for name, text in self.cells.items() if not text.strip()):
            raise ValueError(f"the cell {empty[0]} is empty (allowed: what a learner would write)")
        return self


@dataclass(frozen=True)
class Attempts:
    """All attempts of one assignment by name.

    Args:
        wrong: each loses the marks of at least one cell.
        other: right solutions in another style, which lose nothing.
    """

    wrong: Mapping[str, Attempt]
    other: Mapping[str, Attempt]

    @classmethod
    def load(cls, folder: Path) -> Attempts:
        """Read `wrong/*.yaml` and `other/*.yaml`.

        Args:
            folder: an assignment's folder for teachers.

        Raises:
            InputError: a file is wrong.
        """
        return cls(_attempts(folder / "wrong"), _attempts(folder / "other"))


def _attempts(folder: Path) -> dict[str, Attempt]:
    return {file.stem: read_described(file, Attempt) for file in sorted(folder.glob("*.yaml"))}
