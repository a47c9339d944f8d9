"""The courses that the site gives at this moment: those of site.yaml, and those that were published while it runs."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from base.described import read_described
from base.errors import LeerlabError
from base.in_force import InForce, Publication
from base.paths import Installation, State
from courses.catalogue import DESCRIPTION
from courses.model import CourseDescription
from courses.settings import CourseSettings
from grading.release import BY, Result, release
from grading.terms_shelf import TermsShelf
from grading.tree import TreeLimits
from grading.when import GradeRule
from hub_config.site import Site

log = logging.getLogger("leerlab.courses")


def course_folder(course: CourseSettings, code: Path) -> Path:
    """Where a course's catalogue folder is: absolute in site.yaml, or below the installed catalogue."""
    return code / "courses" / course.folder


def graded_of(folder: Path) -> dict[str, GradeRule]:
    """When a course's assignments are graded that are not graded by hand, as its course.yaml says.

    Raises:
        InputError: course.yaml is wrong.
    """
    file = folder / DESCRIPTION
    return read_described(file, CourseDescription).graded() if file.is_file() else {}


@dataclass(frozen=True)
class Offered:
    """One course of the site.

    Args:
        id: the course's id.
        folder: where its files are.
        profile: id of the profile with which a student's server starts from this course.
        released: assignments that are handed out.
        version: of the published course that is in force; 0 where it is as site.yaml says.
    """

    id: str
    folder: Path
    profile: str
    released: tuple[str, ...]
    version: int = 0


class Courses:
    """Every course that the site gives, as it is when asked.

    Args:
        site: the checked settings.
        state: the site's state folder.
        code: the installed code, with the catalogue.
    """

    def __init__(self, site: Site, state: State, code: Path) -> None:
        self._of_site = {
            one.id: Offered(one.id, course_folder(one, code), one.profile, one.released) for one in site.courses
        }
        self.in_force = InForce(state.published)

    def __deepcopy__(self, memo: dict[int, object]) -> Courses:
        """traitlets copies every configured value; there is one."""
        return self

    def now(self) -> dict[str, Offered]:
        """All of them by id, those of site.yaml first; a published version stands in the place of the site's own.

        Raises:
            LeerlabError: what was published cannot be read, and never could.
        """
        published = {name: self._published(name, one) for name, one in self.in_force.now().items()}
        return {**self._of_site, **published}

    def of_site(self, course: str) -> Offered | None:
        """The course as site.yaml has it; None where it has none of that id."""
        return self._of_site.get(course)

    def groups_of(self, person: str) -> tuple[str, ...]:
        """The groups of courses that somebody was given when a course was published."""
        courses = self.in_force.now().items()
        return (
            *(f"formgrade-{name}" for name, one in courses if person in one.teachers),
            *(f"nbgrader-{name}" for name, one in courses if person in one.students),
        )

    def _published(self, name: str, one: Publication) -> Offered:
        return Offered(name, self.in_force.folder(name, one.version), one.profile, one.released, one.version)


def bring_in(offered: Offered, site: Site, state: State, installation: Installation) -> list[Result]:
    """Bring one course's assignments in, and hand out those that are to be; what a teacher changed stays as it is.

    So do the rules for hand-ins that the course's owner chose; those of course.yaml are told to the exchange.

    Raises:
        LeerlabError: an assignment is missing or nbgrader does not accept it.
    """
    described = read_described(offered.folder / DESCRIPTION, CourseDescription)
    TermsShelf(state.exchange).describe(offered.id, described.hand_in, by=BY)
    return release(
        offered.id, offered.folder, offered.released, state=state, installation=installation,
        confinement=site.confinement, limits=TreeLimits(total=int(site.grading.upload), files=site.grading.files),
    )  # fmt: skip


def release_courses(site: Site, state: State, installation: Installation) -> list[str]:
    """Hand out every assignment of every course that is to be handed out; completes what a broken-off publishing began.

    Returns:
        What is wrong with published courses, one sentence each: the site starts without their newest text.

    Raises:
        LeerlabError: an assignment of site.yaml's own is missing or nbgrader does not accept it.
    """
    left = []
    for offered in Courses(site, state, installation.code).now().values():
        try:
            bring_in(offered, site, state, installation)
        except (LeerlabError, OSError) as error:
            if not offered.version:
                raise
            log.error("Version %d of %s could not be brought in: %s", offered.version, offered.id, error)
            left.append(f"Version {offered.version} of the course {offered.id} could not be brought in: {error}")
    return left
