"""What somebody is in a course, by the names of the hub's groups: a student, or one of three kinds of teacher.

`nbgrader-<course>` and `formgrade-<course>` are nbgrader's own names; who is in `formgrade-<course>` owns the course.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

STUDENTS = "nbgrader-"
COURSE_ACCOUNT = "course-"
"""Begins the name of a course's own account, whose server its grading pages are."""


class CourseRole(StrEnum):
    """What a teacher may do in a course; each role may do what those after it may.

    `leerlab_lab.formgrader.access` decides by the same words in a course's own server, where this module is not.
    """

    OWNER = "owner"
    GRADER = "grader"
    READER = "reader"


STAFF = {"formgrade-": CourseRole.OWNER, "grader-": CourseRole.GRADER, "reader-": CourseRole.READER}
"""Prefixes of the groups of teachers, the role that may do most first."""
OWNERS = "formgrade-"
PREFIXES = (STUDENTS, *STAFF)


def staff_role(groups: Collection[str], course: str) -> CourseRole | None:
    """The most that these groups let somebody do in a course; None for who is no teacher of it."""
    return next((role for prefix, role in STAFF.items() if prefix + course in groups), None)


def staff_groups(course: str) -> tuple[str, ...]:
    """The groups of a course's teachers."""
    return tuple(prefix + course for prefix in STAFF)
