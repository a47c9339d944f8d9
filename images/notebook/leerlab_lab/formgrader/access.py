"""Who may do what in a course's server: one place decides for every request, by its route and method.

Who asks, and in which groups that person is, the hub says (`/hub/api/user`, kept for `ROLE_SECONDS`); nothing that a
browser sends counts. A request that changes something and is not named in `CHANGES` is for owners alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from inspect import isawaitable
from typing import Any, cast

from jupyter_server.base.handlers import RedirectWithParams, TrailingSlashHandler
from tornado import web

from leerlab_lab.formgrader.look import Surroundings, catalogue, language_of, text_of_page

ROLE_SECONDS = 5
"""A role that is taken away counts after at most so long."""
READS = frozenset({"GET", "HEAD", "OPTIONS"})


class Role(StrEnum):
    """What a teacher may do; each may do what those after it may. As `base.course_groups.CourseRole`."""

    OWNER = "owner"
    GRADER = "grader"
    READER = "reader"

    def reaches(self, least: Role) -> bool:
        """Whether this role may do what needs at least that one."""
        order = list(Role)
        return order.index(self) <= order.index(least)


GROUPS = {"formgrade-": Role.OWNER, "grader-": Role.GRADER, "reader-": Role.READER}


@dataclass(frozen=True)
class Change:
    """One route that changes something.

    Args:
        method: of HTTP.
        path: a pattern of the whole path below the server's own address.
        least: the role that it needs.
    """

    method: str
    path: str
    least: Role


_ASSIGNMENT = r"/formgrader/api/assignment/[^/]+/"
_STUDENT = r"/formgrader/api/assignment/[^/]+/[^/]+/"
CHANGES = (
    # Marking.
    Change("PUT", r"/formgrader/api/grade/[^/]+", Role.GRADER),
    Change("PUT", r"/formgrader/api/comment/[^/]+", Role.GRADER),
    Change("POST", r"/formgrader/api/submitted_notebook/[^/]+/flag", Role.GRADER),
    Change("POST", r"/formgrader/api/comment_library", Role.GRADER),
    Change("PUT", r"/formgrader/api/comment_library/[^/]+", Role.GRADER),
    Change("DELETE", r"/formgrader/api/comment_library/[^/]+", Role.GRADER),
    Change("POST", r"/formgrader/api/comment_library/[^/]+/used", Role.GRADER),
    # Collecting, grading, giving back.
    Change("POST", _ASSIGNMENT + "collect", Role.GRADER),
    Change("POST", _ASSIGNMENT + "class_run", Role.GRADER),
    Change("DELETE", _ASSIGNMENT + "class_run", Role.GRADER),
    Change("POST", _ASSIGNMENT + "again", Role.GRADER),
    Change("POST", r"/formgrader/api/submission/[^/]+/[^/]+/autograde", Role.GRADER),
    Change("POST", _ASSIGNMENT + "generate_feedback", Role.GRADER),
    Change("POST", _ASSIGNMENT + "release_feedback", Role.GRADER),
    Change("POST", _STUDENT + "generate_feedback", Role.GRADER),
    Change("POST", _STUDENT + "release_feedback", Role.GRADER),
    # Everybody's marks at once.
    Change("POST", _ASSIGNMENT + "again/[^/]+", Role.OWNER),
    Change("DELETE", _ASSIGNMENT + "again/[^/]+", Role.OWNER),
    # What students get, until when, and by which rules.
    Change("POST", _ASSIGNMENT + "assign", Role.OWNER),
    Change("POST", _ASSIGNMENT + "release", Role.OWNER),
    Change("POST", _ASSIGNMENT + "unrelease", Role.OWNER),
    Change("POST", _ASSIGNMENT + "deadline", Role.OWNER),
    Change("POST", _STUDENT + "extension", Role.OWNER),
    Change("DELETE", _STUDENT + "extension", Role.OWNER),
    Change("POST", r"/formgrader/api/hand_in", Role.OWNER),
    Change("PUT", r"/formgrader/api/assignment/[^/]+", Role.OWNER),
    Change("PUT", r"/formgrader/api/student/[^/]+", Role.OWNER),
    # Of Jupyter's own server; nothing here uses them.
    Change("PATCH", r"/api/me", Role.OWNER),
    Change("POST", r"/api/security/csp-report", Role.OWNER),
)
"""Every route that changes something; one that is missing here is for owners (a test walks the whole application)."""
_CHANGES = tuple((one.method, re.compile(one.path + r"/?\Z"), one.least) for one in CHANGES)
# What a browser needs before it is known who asks, and what a server says of itself to anybody.
_OPEN = re.compile(
    r"/(?:api/?|login|logout|oauth_callback|favicon\.ico|robots\.txt|static/.*|formgrader/(?:portal|own)/[^/]+)\Z"
)
REFUSED = "/formgrader/refused"


def role_of(person: Mapping[str, Any], course: str) -> Role | None:
    """What somebody is in a course, by the hub's own words.

    Args:
        person: the hub's answer to `/hub/api/user`.
        course: the course's id.

    Returns:
        The most that their groups give; the course's own account, which nobody logs in as, owns it; None for others.
    """
    if person.get("kind") != "user":
        return None
    if person.get("name") == f"course-{course}":
        return Role.OWNER
    groups = person.get("groups")
    if not isinstance(groups, Collection) or isinstance(groups, str):
        return None
    return next((role for prefix, role in GROUPS.items() if prefix + course in groups), None)


def least_role(method: str, path: str) -> Role | None:
    """The role that a request needs.

    Args:
        method: of HTTP, in capitals.
        path: below the server's own address, with a slash in front.

    Returns:
        None where anybody may ask.
    """
    if method in READS:
        return None if _OPEN.match(path) else Role.READER
    return next((least for of, pattern, least in _CHANGES if of == method and pattern.match(path)), Role.OWNER)


class Guard:
    """Stands before every handler of the course's server.

    Args:
        surroundings: the course and its language.
        base: the server's own address, `/user/course-<id>/`.
    """

    def __init__(self, surroundings: Surroundings, base: str) -> None:
        self._course = surroundings.id
        self._language = surroundings.language
        self._base = base.rstrip("/")
        self.guarded = cache(self._guarded)

    def stand_before(self, application: web.Application) -> None:
        """Have every request of the application pass here, whatever handler is or will be added to it."""
        plain = application.get_handler_delegate

        def delegate(request: Any, target_class: type[web.RequestHandler], *rest: Any, **more: Any) -> Any:
            return plain(request, self.guarded(target_class), *rest, **more)

        cast("Any", application).get_handler_delegate = delegate

    def _guarded(self, handler: type[web.RequestHandler]) -> type[web.RequestHandler]:
        """The handler, with this guard at its beginning."""
        if issubclass(handler, TrailingSlashHandler | RedirectWithParams):
            return handler  # Leads to the address that is decided about.
        guard = self

        async def prepare(self: Any) -> None:
            begun = handler.prepare(self)
            if isawaitable(begun):
                await begun
            if not self._finished:
                guard.decide(self)

        return type(handler.__name__, (handler,), {"prepare": prepare, "__module__": handler.__module__})

    def decide(self, handler: web.RequestHandler) -> None:
        """Let the request go on, or answer it here.

        Raises:
            HTTPError: 403, nobody who is known sent a request that changes something.
        """
        asked = cast("Any", handler)
        method, path = str(handler.request.method), handler.request.path
        below = path.removeprefix(self._base) if path.startswith(self._base + "/") else path
        least = least_role(method, below)
        if least is None:
            return
        person = getattr(handler.current_user, "hub_user", None)
        if person is None:
            # As tornado does it: reading leads to the login, all else is refused.
            web.authenticated(lambda _: None)(handler)
            return
        role = asked.course_role = role_of(person, self._course)
        if role is not None and role.reaches(least):
            return
        asked.log.warning("%s (%s) may not %s %s: that is for %s", person.get("name"), role, method, path, least)
        if method in READS:
            if below != REFUSED:
                handler.redirect(self._base + REFUSED)
            return
        self._refuse(handler, role, least)

    def _refuse(self, handler: web.RequestHandler, role: Role | None, least: Role) -> None:
        texts = catalogue(language_of(handler, self._language))
        handler.set_status(403)
        handler.set_header("Content-Type", "application/json")
        handler.finish(
            {
                "success": False,
                "code": "grading.role",
                "role": role,
                "needs": least,
                "said": texts.gettext(SENTENCES[least]),
            }
        )


SENTENCES = {
    Role.OWNER: text_of_page(
        "Only who owns this course may do this. Nothing was changed. Ask the owner of the course."
    ),
    Role.GRADER: text_of_page(
        "You may look here, but not change anything. Nothing was changed. Ask the owner of the course to make you a "
        "grader."
    ),
    Role.READER: text_of_page("You have no part in the grading of this course. Nothing was changed."),
}


def role_here(handler: web.RequestHandler) -> Role:
    """The role of whoever asks; of least right where none was decided."""
    role = getattr(handler, "course_role", None)
    return role if isinstance(role, Role) else Role.READER
