"""What the home page shows of each course, gathered from site.yaml, the catalogue and the hub's running servers."""

from __future__ import annotations

from typing import Any

from jupyterhub.app import JupyterHub
from jupyterhub.user import User
from jupyterhub.utils import url_path_join
from tornado.httputil import url_concat

from courses.catalogue import Course, in_language
from hub_config.courses import course_folder
from hub_config.plans import role_in
from hub_config.roles import COURSE_ACCOUNT
from hub_config.site import Site
from portal import request as page_request
from portal.cards import AssignmentCard, CourseCard, Role, ServerState


class Cards:
    """Makes the cards of one person; reads the catalogue once.

    Args:
        site: the checked settings.
        code: folder of the installed code, with the catalogue below it.
    """

    def __init__(self, site: Site, code: Any) -> None:
        self._settings = site.courses
        self._courses = {course.id: Course.load(course_folder(course, code)) for course in site.courses}

    def __call__(self, user: User) -> list[CourseCard]:
        """The cards of a person, teacher's courses and student's courses alike."""
        language = page_request.current().language
        groups = {group.name for group in user.groups}
        cards = []
        for settings in self._settings:
            role = role_in(settings.id, groups)
            if role is None:
                continue
            course = self._courses[settings.id]
            titles = {assignment.id: in_language(assignment.title, language) for assignment in course.assignments()}
            account = COURSE_ACCOUNT + settings.id
            teacher = role == "teacher"

            def opened(path: str, profile: str = settings.profile) -> str:
                return start_url(user.name, url_path_join("/user", user.name, path), profile)

            cards.append(
                CourseCard(
                    id=settings.id,
                    title=course.title(language),
                    role=Role.TEACHER if teacher else Role.STUDENT,
                    summary=course.summary(language),
                    assignments=tuple(
                        AssignmentCard(name, titles[name], opened(f"leerlab/open/{settings.id}/{name}"))
                        for name in settings.released
                    ),
                    open_url=opened("lab"),
                    formgrader_url=start_url(account, url_path_join("/user", account, "formgrader")) if teacher else "",
                    server_state=server_state(account if teacher else user.name),
                )
            )
        return cards


def start_url(owner: str, then: str, profile: str = "") -> str:
    """The hub's address that starts a server when needed and then opens a page in it.

    Args:
        owner: whose server.
        then: path to open in it.
        profile: profile to start it with; empty for the owner's first.
    """
    return url_concat(f"/hub/spawn/{owner}", {"next": then, **({"profile": profile} if profile else {})})


def server_state(owner: str) -> ServerState:
    """How far a user's default server is."""
    users = JupyterHub.instance().users
    if owner not in users:
        return ServerState.STOPPED
    spawner = users[owner].spawners[""]
    if spawner.pending == "spawn":
        return ServerState.STARTING
    if spawner.pending == "stop":
        return ServerState.STOPPING
    return ServerState.RUNNING if spawner.ready else ServerState.STOPPED
