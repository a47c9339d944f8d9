"""Reads one course of the catalogue: its description, and where its assignments are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from base.described import read_described
from base.errors import InputError
from base.settings import BothLanguages
from courses.model import Assignment, CourseDescription

DESCRIPTION = "course.yaml"


def in_language(text: BothLanguages, language: str) -> str:
    """The text in `nl` or `en`."""
    return text.nl if language == "nl" else text.en


@dataclass(frozen=True)
class Course:
    """One course of the catalogue.

    Args:
        folder: its folder.
        description: what its course.yaml says.
    """

    folder: Path
    description: CourseDescription

    @classmethod
    def load(cls, folder: Path) -> Course:
        """Read a course.

        Args:
            folder: the course's folder, with course.yaml and `source/<assignment>` for each assignment.

        Raises:
            InputError: course.yaml is missing or wrong, or an assignment has no folder or no notebook.
        """
        file = folder / DESCRIPTION
        course = cls(folder, read_described(file, CourseDescription))
        for assignment in course.assignments():
            if not course.source(assignment.id).is_dir():
                raise InputError(
                    f"{file} names the assignment {assignment.id}, but {course.source(assignment.id)} is missing.",
                    do="Add the folder, or take the assignment out of course.yaml.",
                )
            if not any(course.source(assignment.id).glob("*.ipynb")):
                raise InputError(
                    f"{course.source(assignment.id)} holds no notebook.",
                    "nbgrader cannot make a student version of it.",
                    "Add the assignment's notebook.",
                )
        return course

    def source(self, assignment: str) -> Path:
        """Folder of an assignment's source, in nbgrader's format."""
        return self.folder / "source" / assignment

    def teacher(self, assignment: str) -> Path:
        """Folder of what students never get: the guide, the rubric and known attempts."""
        return self.folder / "teacher" / assignment

    def assignments(self) -> tuple[Assignment, ...]:
        """The assignments in teaching order."""
        return self.description.assignments

    def title(self, language: str) -> str:
        """The course's title in `nl` or `en`."""
        return in_language(self.description.title, language)

    def summary(self, language: str) -> str:
        """The course's summary in `nl` or `en`."""
        return in_language(self.description.summary, language)
