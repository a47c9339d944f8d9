"""Owner, grader and reader: the groups that the hub knows, and that the course's server decides by the same words."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from base.course_groups import STAFF, CourseRole, staff_groups, staff_role
from hub_config.roles import course_role

ACCESS = Path(__file__).resolve().parents[3] / "images/notebook/leerlab_lab/formgrader/access.py"


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        ({"formgrade-alpha"}, CourseRole.OWNER),
        ({"grader-alpha"}, CourseRole.GRADER),
        ({"reader-alpha"}, CourseRole.READER),
        ({"reader-alpha", "grader-alpha", "nbgrader-alpha"}, CourseRole.GRADER),
        ({"formgrade-beta", "reader-alpha"}, CourseRole.READER),
        ({"nbgrader-alpha", "formgrade-beta", "grader-", "grader-alphabet", "teachers"}, None),
        (set(), None),
    ],
)
def test_the_most_that_somebody_s_groups_give_is_their_role(groups: set[str], role: CourseRole | None) -> None:
    assert staff_role(groups, "alpha") is role


def test_every_kind_of_teacher_reaches_the_course_s_own_server_and_no_other() -> None:
    role = course_role("alpha")
    assert role["groups"] == list(staff_groups("alpha")) == ["formgrade-alpha", "grader-alpha", "reader-alpha"]
    assert all(scope.endswith("!user=course-alpha") for scope in role["scopes"])


def test_a_course_s_server_has_the_same_words_for_roles_and_groups() -> None:
    """It runs where none of the hub's code is, so it has them once more."""
    body = ast.parse(ACCESS.read_text()).body
    kinds = next(one for one in body if isinstance(one, ast.ClassDef) and one.name == "Role")
    words = {one.targets[0].id: one.value.value for one in kinds.body  # type: ignore[attr-defined]
             if isinstance(one, ast.Assign)}  # fmt: skip
    assert words == {role.name: role.value for role in CourseRole}
    groups = next(one.value for one in body if isinstance(one, ast.Assign) and one.targets[0].id == "GROUPS")  # type: ignore[attr-defined]
    assert isinstance(groups, ast.Dict)
    found = {key.value: value.attr for key, value in zip(groups.keys, groups.values, strict=True)}  # type: ignore[union-attr, attr-defined]
    assert found == {prefix: role.name for prefix, role in STAFF.items()}
