"""Which courses were published on the running site: the one file that says so, read by every process as it is now."""

from __future__ import annotations

import logging
import os
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from base.errors import LeerlabError

FILE = "in-force.json"
COURSE_FOLDER = "course"
Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,30}$")]

log = logging.getLogger("leerlab.courses")


class Publication(BaseModel):
    """How one published course is given.

    Args:
        version: which version is in force.
        profile: id of the profile with which a student's server starts from this course.
        released: assignments that are handed out.
        teachers: demo people who teach it, besides what site.yaml says.
        students: demo people who take it, besides what site.yaml says.
        grade: when assignments are graded that are not graded by hand, by assignment (`grading.when.GradeRule`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = Field(ge=1)
    profile: str
    released: tuple[Identifier, ...] = ()
    teachers: tuple[Identifier, ...] = ()
    students: tuple[Identifier, ...] = ()
    grade: dict[Identifier, str] = {}


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    courses: dict[Identifier, Publication] = {}


class InForce:
    """The file, read again whenever it was replaced. One `stat` when it was not.

    Args:
        published: `State.published`.
    """

    def __init__(self, published: Path) -> None:
        self._published = published
        self._seen: tuple[int, int, int] | None = None
        self._courses: dict[str, Publication] = {}

    def __deepcopy__(self, memo: dict[int, object]) -> InForce:
        """traitlets copies every configured value; all may read one."""
        return self

    def now(self) -> Mapping[str, Publication]:
        """Every published course by its id; what was read last while the file cannot be read.

        Raises:
            LeerlabError: it cannot be read, and never could.
        """
        file = self._published / FILE
        try:
            found = file.stat()
            seen = (found.st_ino, found.st_mtime_ns, found.st_size)
            if seen != self._seen:
                self._courses = dict(_File.model_validate_json(file.read_bytes()).courses)
                self._seen = seen
        except FileNotFoundError:
            self._courses, self._seen = {}, None
        except (OSError, ValidationError) as error:
            if self._seen is None:
                raise LeerlabError(
                    f"{file} cannot be read.",
                    "It says which courses were published on this site.",
                    "Put it back from a backup, or remove it and publish the courses again.",
                ) from error
            log.error("%s cannot be read; what was in force before stays: %s", file, error)
        return self._courses

    def folder(self, course: str, version: int) -> Path:
        """Where one version of a course lies."""
        return self._published / course / str(version) / COURSE_FOLDER

    def replace(self, courses: Mapping[str, Publication]) -> None:
        """Put these in force and no others: all at once, and on disk when this returns. The caller holds the lock.

        Raises:
            OSError: it cannot be written; what was in force stays.
        """
        fresh = self._published / f".{FILE}"
        with fresh.open("wb") as file:
            file.write(_File(courses=dict(sorted(courses.items()))).model_dump_json(indent=1).encode())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._published / FILE)
        descriptor = os.open(self._published, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class KnownCourses(Container[str]):
    """The ids of all courses that the site gives at this moment.

    Args:
        fixed: those of site.yaml.
        in_force: those that were published.
    """

    def __init__(self, fixed: Container[str], in_force: InForce) -> None:
        self._fixed = fixed
        self._in_force = in_force

    def __contains__(self, course: object) -> bool:
        """Whether there is such a course."""
        return course in self._fixed or course in self._in_force.now()
