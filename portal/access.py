"""Who may do what on the portal: one table, by which the application decides and which a test walks role by role."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from enum import Enum

from portal.errors import Refused, absent, not_yours
from portal.people import Visitor


class Who(Enum):
    """For whom a route is."""

    ANYBODY = "anybody, also who is not logged in"
    PERSON = "anybody who is logged in"
    COURSE = "students and teachers of this course"
    TEACHER = "teachers of this course"
    COMPANY = "members of a company"
    MEMBER = "members of this sandbox"
    OPERATOR = "operators"


@dataclass(frozen=True)
class Entry:
    """One route.

    Args:
        method: `GET` or `POST`.
        path: as Starlette writes it.
        who: for whom.
    """

    method: str
    path: str
    who: Who


TABLE: dict[str, Entry] = {
    "status": Entry("GET", "/status", Who.ANYBODY),
    "assets": Entry("GET", "/portal/{name}", Who.ANYBODY),
    "language": Entry("GET", "/language", Who.ANYBODY),
    "login": Entry("GET", "/login", Who.ANYBODY),
    "callback": Entry("GET", "/oauth_callback", Who.ANYBODY),
    "logout": Entry("POST", "/logout", Who.PERSON),
    "home": Entry("GET", "/", Who.PERSON),
    "events": Entry("GET", "/events", Who.PERSON),
    "stop": Entry("POST", "/servers/{owner}/stop", Who.PERSON),
    "another": Entry("POST", "/servers/new", Who.PERSON),
    "forget": Entry("POST", "/servers/{owner}/forget", Who.PERSON),
    "course": Entry("GET", "/courses/{course}", Who.COURSE),
    "lesson": Entry("POST", "/courses/{course}/start", Who.TEACHER),
    "request": Entry("GET", "/sandboxes/new", Who.COMPANY),
    "ask": Entry("POST", "/sandboxes", Who.COMPANY),
    "join": Entry("POST", "/sandboxes/join", Who.COMPANY),
    "sandbox": Entry("GET", "/sandboxes/{sandbox}", Who.MEMBER),
    "extend": Entry("POST", "/sandboxes/{sandbox}/extend", Who.MEMBER),
    "end": Entry("POST", "/sandboxes/{sandbox}/end", Who.MEMBER),
    "invite": Entry("POST", "/sandboxes/{sandbox}/invite", Who.MEMBER),
    "remove": Entry("POST", "/sandboxes/{sandbox}/remove", Who.MEMBER),
    "upload": Entry("POST", "/sandboxes/{sandbox}/upload", Who.MEMBER),
    "takeout": Entry("POST", "/sandboxes/{sandbox}/takeout", Who.MEMBER),
    "decide": Entry("POST", "/sandboxes/{sandbox}/transfers/{transfer}/decide", Who.MEMBER),
    "fetch": Entry("POST", "/sandboxes/{sandbox}/transfers/{transfer}/fetch", Who.MEMBER),
    "reach": Entry("POST", "/sandboxes/{sandbox}/openings", Who.MEMBER),
    "release": Entry("POST", "/sandboxes/{sandbox}/release", Who.MEMBER),
    "export": Entry("POST", "/sandboxes/{sandbox}/export", Who.MEMBER),
    "operator": Entry("GET", "/operator", Who.OPERATOR),
    "oversee": Entry("POST", "/operator/sandboxes/{sandbox}/{act}", Who.OPERATOR),
}


def require(entry: Entry, visitor: Visitor, parameters: dict[str, str], courses: Container[str]) -> None:
    """Raise unless this person may use the route.

    Who is a member of a sandbox, the ledger knows: the application asks `portal.boxes.Boxes.get` for `MEMBER`.

    Args:
        entry: the route.
        visitor: who asks.
        parameters: of the path.
        courses: ids of the site's courses.

    Raises:
        Refused: 404 where even the existence is nobody else's business, 403 where the page is known to exist.
    """
    match entry.who:
        case Who.ANYBODY | Who.PERSON:
            return
        case Who.MEMBER:
            if not visitor.company:
                raise absent()
        case Who.COURSE | Who.TEACHER:
            course = parameters["course"]
            if course not in courses or not visitor.sees(course):
                raise absent()
            if entry.who is Who.TEACHER and not visitor.teaches(course):
                raise not_yours("This is for the teachers of the course.")
        case Who.COMPANY:
            if not visitor.company:
                raise not_yours("This is for members of a company.")
        case Who.OPERATOR:
            if not visitor.operator:
                raise not_yours("This is for operators.")


def refused(entry: Entry, visitor: Visitor, parameters: dict[str, str], courses: Container[str]) -> int:
    """The status code with which the route refuses this person; 0 when it does not."""
    try:
        require(entry, visitor, parameters, courses)
    except Refused as error:
        return error.status
    return 0
