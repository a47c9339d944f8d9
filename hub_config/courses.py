"""Brings the courses of site.yaml into the site: their folders, and the assignments that are handed out."""

from __future__ import annotations

from pathlib import Path

from base.paths import Installation, State
from courses.settings import CourseSettings
from hub_config.site import Site


def course_folder(course: CourseSettings, code: Path) -> Path:
    """Where a course's catalogue folder is: absolute in site.yaml, or below the installed catalogue."""
    return code / "courses" / course.folder


def release_courses(site: Site, state: State, installation: Installation) -> None:
    """Hand out every assignment that site.yaml names as released; what is handed out and unchanged stays as it is."""
    raise NotImplementedError
