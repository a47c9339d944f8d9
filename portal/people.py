"""Who asks: a person as the hub knows them at this moment, and what their groups make them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from base.course_groups import OWNERS, STUDENTS, CourseRole, staff_role

COMPANIES = "companies"
OPERATORS = "operators"


@dataclass(frozen=True)
class Visitor:
    """A person who is logged in.

    Args:
        name: the hub's name.
        title: what the pages call this person.
        groups: the hub's groups, of at most five seconds ago.
        scopes: what their token may do at the hub.
        token: the person's own token; empty in a page that needs none.
        csrf: what their forms prove themselves with.
        session: id of the session.
    """

    name: str
    title: str
    groups: frozenset[str]
    scopes: frozenset[str] = frozenset()
    token: str = field(default="", repr=False)
    csrf: str = field(default="", repr=False)
    session: str = field(default="", repr=False)

    def studies(self, course: str) -> bool:
        """Whether they are a student of the course."""
        return STUDENTS + course in self.groups

    def teaches(self, course: str) -> bool:
        """Whether the course is theirs to run: they own it."""
        return OWNERS + course in self.groups

    def role_in(self, course: str) -> CourseRole | None:
        """What they may do on the course's grading pages; None for who may not come there."""
        return staff_role(self.groups, course)

    def sees(self, course: str) -> bool:
        """Whether the course exists for them."""
        return self.studies(course) or self.role_in(course) is not None

    @property
    def company(self) -> bool:
        """Whether they are a member of a company."""
        return COMPANIES in self.groups

    @property
    def operator(self) -> bool:
        """Whether they operate the site."""
        return OPERATORS in self.groups

    def has_course(self, courses: Collection[str]) -> bool:
        """Whether any of these courses is theirs."""
        return any(self.sees(course) for course in courses)

    def may_stop(self, owner: str) -> bool:
        """Whether their token may stop that user's servers, as far as its scopes name them."""
        return not self.scopes.isdisjoint({"delete:servers", f"delete:servers!user={owner}"})
