"""The table of who may do what: every role over every route, and every route carried out."""

from __future__ import annotations

import pytest

from portal.access import TABLE, Who, refused
from portal.people import Visitor

COURSES = frozenset({"alpha", "beta"})
ROLES = {
    "nobody's": frozenset[str](),
    "student": frozenset({"nbgrader-alpha"}),
    "teacher": frozenset({"formgrade-alpha"}),
    "grader": frozenset({"grader-alpha"}),
    "reader": frozenset({"reader-alpha"}),
    "company": frozenset({"companies"}),
    "operator": frozenset({"operators"}),
}
MAY = {
    Who.PERSON: set(ROLES),
    Who.COURSE: {"student", "teacher", "grader", "reader"},
    Who.TEACHER: {"teacher"},
    Who.COMPANY: {"company"},
    Who.OPERATOR: {"operator"},
    # The ledger decides further.
    Who.MEMBER: {"company"},
}


def person(role: str) -> Visitor:
    return Visitor(role, role, ROLES[role])


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", [name for name, entry in TABLE.items() if entry.who is not Who.ANYBODY])
def test_a_route_is_for_whom_the_table_says_and_for_nobody_else(name: str, role: str) -> None:
    entry = TABLE[name]
    status = refused(entry, person(role), {"course": "alpha"}, COURSES)
    assert (status == 0) == (role in MAY[entry.who]), (name, role, status)


@pytest.mark.parametrize("course", ["beta", "gamma", "", "alpha/../beta"])
def test_another_course_and_one_that_does_not_exist_look_the_same(course: str) -> None:
    assert refused(TABLE["course"], person("teacher"), {"course": course}, COURSES) == 404


def test_a_group_of_a_course_that_the_site_does_not_give_opens_nothing() -> None:
    stranger = Visitor("a", "a", frozenset({"nbgrader-gamma", "grader-gamma", "formgrade-", "reader-"}))
    assert refused(TABLE["course"], stranger, {"course": "gamma"}, COURSES) == 404
    assert refused(TABLE["course"], stranger, {"course": ""}, COURSES) == 404


def test_only_what_shows_nothing_of_anybody_is_open_to_everybody() -> None:
    assert {name for name, entry in TABLE.items() if entry.who is Who.ANYBODY} == {
        "status", "assets", "language", "login", "callback",
    }  # fmt: skip


def test_nothing_changes_by_a_get() -> None:
    assert {entry.method for entry in TABLE.values()} == {"GET", "POST"}
    assert not [name for name, entry in TABLE.items() if entry.method == "POST" and entry.who is Who.ANYBODY]
