"""Brings the courses of site.yaml into the site: their folders, and the assignments that are handed out."""

from __future__ import annotations

from pathlib import Path

from base.paths import Installation, State
from courses.settings import CourseSettings
from grading.release import Result, release
from grading.tree import TreeLimits
from hub_config.site import Site


def course_folder(course: CourseSettings, code: Path) -> Path:
    """Where a course's catalogue folder is: absolute in site.yaml, or below the installed catalogue."""
    return code / "courses" / course.folder


def release_courses(site: Site, state: State, installation: Installation) -> list[Result]:
    """Hand out every assignment that site.yaml names as released; what a teacher changed stays as it is.

    Returns:
        What became of each assignment of each course.

    Raises:
        LeerlabError: an assignment is missing or nbgrader does not accept it.
    """
    limits = TreeLimits(total=int(site.grading.upload), files=site.grading.files)
    results: list[Result] = []
    for course in site.courses:
        results += release(
            course.id,
            course_folder(course, installation.code),
            course.released,
            state=state,
            installation=installation,
            confinement=site.confinement,
            limits=limits,
        )
    return results
