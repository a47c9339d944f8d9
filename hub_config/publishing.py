"""Publishing a course on a site, running or not: read, proven, kept by version, put in force, brought to its students.

Each step is complete or not done. What was broken off after a version was put in force is completed by the next
publishing or the next `up`; before that, nothing has changed but the disk, and the next publishing clears it.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import httpx

from base.errors import InputError, LeerlabError
from base.in_force import InForce, Publication
from base.paths import Installation, State
from courses.catalogue import Course
from courses.packages import PackageRefused, Packages, read_course
from courses.toolkit.check import CourseReport
from grading.plans import seccomp_of
from grading.release import Result
from hub_config.courses import Courses, Offered, bring_in, graded_of
from hub_config.run.keys import secret
from hub_config.run.ports import listening_sockets
from hub_config.settings import DemoLoginSettings
from hub_config.site import Site

HUB_SECONDS = 150.0
Prove = Callable[[Path], CourseReport]
Step = Callable[[str], None]


@dataclass(frozen=True)
class Wishes:
    """What somebody who publishes wants beside the course itself; None leaves it as it was.

    Args:
        profile: id of the profile with which a student's server starts from this course.
        released: assignments that are handed out; without this, all of a new course.
        teachers: demo people to add as teachers.
        students: demo people to add as students.
    """

    profile: str | None = None
    released: tuple[str, ...] | None = None
    teachers: tuple[str, ...] = ()
    students: tuple[str, ...] = ()


@dataclass(frozen=True)
class Published:
    """What publishing did.

    Args:
        course: the course's id.
        version: which version is in force now; 0 for what site.yaml says.
        results: what became of each assignment.
        left_out: what lies in the folder and is no part of a course.
        live: whether a running hub has taken it up.
    """

    course: str
    version: int
    results: tuple[Result, ...] = ()
    left_out: tuple[str, ...] = ()
    live: bool = False


class NotProven(LeerlabError):
    """The course does not keep what courses promise; `report` says what is wrong."""

    def __init__(self, report: CourseReport) -> None:
        self.report = report
        super().__init__(
            "The course does not pass its check, so it was not published.",
            "What is wrong stands above.",
            "Mend it, run leerlab course check until nothing is found, and publish it again.",
        )


@dataclass(frozen=True)
class Press:
    """Publishes courses on one site.

    Args:
        site: the checked settings.
        state: its state folder, which exists.
        installation: the environments to use.
    """

    site: Site
    state: State
    installation: Installation

    def publish(self, source: Path, wishes: Wishes, prove: Prove | None, step: Step) -> Published:
        """Publish a course.

        Args:
            source: its folder, or an archive.
            wishes: beside the course itself.
            prove: checks the course as it was read; None publishes it unproven.
            step: called with one English phrase at each step.

        Raises:
            PackageRefused: it is no course, or holds what no course holds.
            InputError: course.yaml is wrong, or a wish names what does not exist.
            NotProven: it does not pass its check.
            LeerlabError: the disk is full, nbgrader does not accept an assignment, or the hub cannot follow.
        """
        packages = Packages(self.state.published)
        with self._one_at_a_time():
            packages.clear_abandoned()
            with packages.staging() as staged:
                step("reading the course")
                left_out = read_course(
                    source, staged, confinement=self.site.confinement, seccomp=seccomp_of(self.state)
                )
                course = self._course(staged.course, source)
                name = course.description.id
                publication = self._publication(name, course, wishes)
                if prove is not None:
                    step("proving it")
                    report = prove(staged.course)
                    if not report.ok:
                        raise NotProven(report)
                version = packages.keep(staged, name, checked=prove is not None).version
            return self._put(name, publication.model_copy(update={"version": version}), tuple(left_out), step)

    def withdraw(self, course: str, version: int | None, step: Step) -> Published:
        """Take a course's published versions out of force, or put an earlier one back.

        What learners and teachers have stays. Without `version`, a course of site.yaml is given as that says, and any
        other is given no more.

        Raises:
            InputError: it is not published, or has no such version.
            LeerlabError: a file of that version was changed, or the hub cannot follow.
        """
        with self._one_at_a_time():
            in_force = InForce(self.state.published)
            now = dict(in_force.now())
            if course not in now:
                known = ", ".join(sorted(now)) or "none"
                raise InputError(f"The course {course} is not published.", f"Published are: {known}.")
            if version is not None:
                Packages(self.state.published).verify(course, version)
                return self._put(course, now[course].model_copy(update={"version": version}), (), step)
            del now[course]
            in_force.replace(now)
            offered = Courses(self.site, self.state, self.installation.code).now().get(course)
            results = bring_in(offered, self.site, self.state, self.installation) if offered else []
            return Published(course, 0, tuple(results), live=self._tell_the_hub(step))

    def _put(self, name: str, publication: Publication, left_out: tuple[str, ...], step: Step) -> Published:
        in_force = InForce(self.state.published)
        rules = graded_of(in_force.folder(name, publication.version))
        grade = {assignment: str(rule) for assignment, rule in rules.items()}
        publication = publication.model_copy(update={"grade": grade})
        in_force.replace({**in_force.now(), name: publication})
        step("bringing its assignments")
        offered = Offered(
            name, in_force.folder(name, publication.version), publication.profile, publication.released,
            publication.version,
        )  # fmt: skip
        results = bring_in(offered, self.site, self.state, self.installation)
        return Published(name, publication.version, tuple(results), left_out, self._tell_the_hub(step))

    def _course(self, folder: Path, source: Path) -> Course:
        try:
            return Course.load(folder)
        except InputError as error:
            reason = str(error).replace(f"{folder}/", "")
            raise PackageRefused(f"{source} is no course: {reason}") from error

    def _publication(self, name: str, course: Course, wishes: Wishes) -> Publication:
        """How the course is to be given: as it was, with the wishes over it."""
        before = InForce(self.state.published).now().get(name)
        known = Courses(self.site, self.state, self.installation.code).now().get(name)
        assignments = [one.id for one in course.assignments()]
        profile = wishes.profile or (known.profile if known else self.site.profiles[0].id)
        if profile not in {one.id for one in self.site.profiles}:
            known_profiles = ", ".join(one.id for one in self.site.profiles)
            raise InputError(f"The site has no profile {profile}.", f"It has {known_profiles}.", "Name one of these.")
        if wishes.released is not None:
            released = wishes.released
        else:
            released = tuple(one for one in known.released if one in assignments) if known else tuple(assignments)
        if missing := [one for one in released if one not in assignments]:
            raise InputError(f"{name} has no assignment {missing[0]}.", f"It has {', '.join(assignments)}.")
        self._check_people((*wishes.teachers, *wishes.students))
        return Publication(
            version=1,
            profile=profile,
            released=released,
            teachers=_both(before.teachers if before else (), wishes.teachers),
            students=_both(before.students if before else (), wishes.students),
        )

    def _check_people(self, names: tuple[str, ...]) -> None:
        if not names:
            return
        login = self.site.login
        if not isinstance(login, DemoLoginSettings):
            raise InputError(
                "Who teaches and takes a course is told by this site's identity provider.",
                "People cannot be named here.",
                "Leave --teacher and --student out; give the groups formgrade-<course> and nbgrader-<course> there.",
            )
        known = [person.name for person in login.people]
        if missing := [name for name in names if name not in known]:
            raise InputError(f"There is nobody called {missing[0]}.", f"There are {', '.join(known)}.")

    def _tell_the_hub(self, step: Step) -> bool:
        """Have a running hub take it up now; it looks by itself once a minute.

        Raises:
            LeerlabError: it answers, but could not.
        """
        socket = self.state.run / "hub.sock"
        if not listening_sockets([socket]):
            return False
        step("telling the hub")
        headers = {"Authorization": f"token {secret(self.state, 'portal-token')}"}
        try:
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), timeout=HUB_SECONDS) as hub:
                answer = hub.post("http://hub/hub/api/leerlab/courses", headers=headers)
        except httpx.TransportError:
            return False
        if answer.status_code != HTTPStatus.NO_CONTENT:
            raise LeerlabError(
                f"The hub could not take the course up (status {answer.status_code}).",
                "It is in force, and the hub tries again once a minute.",
                f"If it does not appear, look in {self.state.logs / 'hub.log'}.",
            )
        return True

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """Hold the site's lock of publishing; the kernel gives it back however this process ends."""
        with (self.state.published / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LeerlabError(
                    "Somebody else is publishing a course on this site now.",
                    "Two at once could undo each other.",
                    "Wait until that is done, then try again.",
                ) from None
            yield


def _both(before: tuple[str, ...], added: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*before, *added)))
