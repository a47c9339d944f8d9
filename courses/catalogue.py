"""Reads one course of the catalogue: its description, and where its assignments are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError

from base.errors import InputError
from base.settings import BothLanguages
from courses.model import Assignment, CourseDescription

DESCRIPTION = "course.yaml"
_LARGEST = 256 * 1024


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
            InputError: course.yaml is missing, wrong or too large, or an assignment's folder is missing.
        """
        file = folder / DESCRIPTION
        try:
            if file.stat().st_size > _LARGEST:
                raise InputError(
                    f"{file} is larger than {_LARGEST // 1024} KiB.", do="A course's description is short text."
                )
            description = CourseDescription.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise InputError(
                f"{file} cannot be read: {error}.", "The course cannot be given.", "Mend the file."
            ) from error
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, one['loc'])) or 'course'}: {one['msg']}" for one in error.errors()
            )
            raise InputError(
                f"{file} is wrong: {problems}.", "The course cannot be given.", "Mend the file."
            ) from error
        course = cls(folder, description)
        for assignment in description.assignments:
            if not course.source(assignment.id).is_dir():
                raise InputError(
                    f"{file} names the assignment {assignment.id}, but {course.source(assignment.id)} is missing.",
                    do="Add the folder, or take the assignment out of course.yaml.",
                )
        return course

    def source(self, assignment: str) -> Path:
        """Folder of an assignment's source, in nbgrader's format."""
        return self.folder / "source" / assignment

    def assignments(self) -> tuple[Assignment, ...]:
        """The assignments in teaching order."""
        return self.description.assignments

    def title(self, language: str) -> str:
        """The course's title in `nl` or `en`."""
        return in_language(self.description.title, language)

    def summary(self, language: str) -> str:
        """The course's summary in `nl` or `en`."""
        return in_language(self.description.summary, language)
