"""What a person may ask for when starting a server."""

from __future__ import annotations

from typing import Any

import pytest

from spawners.failures import StartRefused
from spawners.options import choose_profile, course_of, form_options, profiles_of
from spawners.settings import Profile

ALL = [
    Profile.model_validate(
        {
            "id": name,
            "title": {"nl": name, "en": name},
            "partition": "cpu",
            "cpus": 1,
            "memory": "1G",
            "time": "1h",
            "groups": groups,
        }
    )
    for name, groups in (("small", ()), ("gpu", ("teachers", "nbgrader-ai")), ("large", ("teachers",)))
]


def test_people_see_only_the_profiles_of_their_groups_in_the_sites_order() -> None:
    assert [each.id for each in profiles_of(ALL, {"nbgrader-ai"})] == ["small", "gpu"]
    assert [each.id for each in profiles_of(ALL, ())] == ["small"]


def test_the_first_profile_is_chosen_where_none_is_named() -> None:
    assert choose_profile(ALL, {"teachers"}, {}).id == "small"
    assert choose_profile(ALL, {"teachers"}, {"profile": "large"}).id == "large"


def test_somebody_without_any_profile_is_refused() -> None:
    with pytest.raises(StartRefused) as refused:
        choose_profile(ALL[1:], {"others"}, {})
    assert refused.value.message.code == "start.refused.none"


@pytest.mark.attack
@pytest.mark.parametrize(
    "options",
    [
        {"profile": "large"}, {"profile": "none"}, {"profile": ["large"]}, {"profile": {"id": "large"}},
        {"profile": True},
        {"profile": "small", "partition": "gpu"}, {"cmd": "sh"}, {"req_prologue": "id"}, {"profile": "small\n"},
        {"profile": "small", "": ""}, {"profile": ""},
    ],
)  # fmt: skip
def test_anything_else_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(StartRefused):
        choose_profile(ALL, (), options)


def test_a_form_field_besides_the_profile_is_kept_so_that_it_is_refused_by_name() -> None:
    assert form_options({"profile": ["gpu"], "_xsrf": ["x"]}) == {"profile": "gpu"}
    with pytest.raises(StartRefused, match="cmd"):
        choose_profile(ALL, (), form_options({"profile": ["small"], "cmd": ["sh"]}))


STUDENT = ["nbgrader-klein", "nbgrader-groot", "companies"]


def test_a_server_is_for_the_course_that_it_was_started_from() -> None:
    assert course_of(STUDENT, {"course": "groot"}) == "groot"
    assert course_of(["formgrade-klein"], {}) == "klein"
    assert course_of(STUDENT, {}) is None
    assert course_of(["companies"], {"course": "klein"}) is None


@pytest.mark.attack
def test_nobody_charges_a_server_to_a_course_that_is_not_theirs() -> None:
    for wanted in ("ander", "", "nbgrader-klein", ["klein"], None, 3):
        assert course_of(STUDENT, {"course": wanted}) is None
    # The control: a member of that course may.
    assert course_of([*STUDENT, "nbgrader-ander"], {"course": "ander"}) == "ander"
