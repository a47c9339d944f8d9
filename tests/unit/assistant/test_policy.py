"""What a person may ask, from what their running servers are for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.policy import Allowed, Place, Purpose, allowed, charged, of_groups, of_sandbox
from assistant.settings import AssistantSettings

SETTINGS = AssistantSettings.model_validate(
    {
        "models": [
            {"kind": "local", "id": name, "title": {"nl": name, "en": name}} for name in ("small", "large", "search")
        ],
        "courses": {
            "open": {"models": ["small", "large", "search"], "tokens_per_hour": 5000},
            "tight": {"models": ["small"], "tokens_per_hour": 1000},
            "other": {"models": ["large"], "tokens_per_hour": 9000},
        },
        "sandboxes": {"models": ["search", "small"], "tokens_per_hour": 3000},
    }
)
COURSES = ("open", "tight", "other", "exam", "unknown-course")


def course(name: str) -> Purpose:
    return Purpose(Place.COURSE, name)


def test_who_runs_nothing_may_ask_nothing() -> None:
    assert allowed([], SETTINGS) == Allowed()


def test_a_course_that_is_not_named_is_off_and_says_so() -> None:
    found = allowed([course("open"), course("exam")], SETTINGS)
    assert not found.on and found.because == (course("exam"),)


def test_of_two_courses_both_models_lists_hold_and_the_fewest_tokens() -> None:
    assert allowed([course("open"), course("tight")], SETTINGS) == Allowed(("small",), 1000)


def test_courses_that_share_no_model_leave_none() -> None:
    found = allowed([course("tight"), course("other")], SETTINGS)
    assert not found.on and set(found.because) == {course("tight"), course("other")}


def test_models_come_in_the_order_of_the_site() -> None:
    assert allowed(of_sandbox("aaaaaaaa"), SETTINGS).models == ("small", "search")


def test_a_sandbox_without_a_policy_switches_a_course_off_too() -> None:
    without = SETTINGS.model_copy(update={"sandboxes": None})
    assert allowed([course("open"), *of_sandbox("aaaaaaaa")], without).because == of_sandbox("aaaaaaaa")


@given(st.lists(st.sampled_from(COURSES), min_size=1), st.sampled_from(COURSES))
def test_one_more_running_server_never_allows_more(names: list[str], more: str) -> None:
    before = allowed([course(name) for name in names], SETTINGS)
    after = allowed([course(name) for name in [*names, more]], SETTINGS)
    assert set(after.models) <= set(before.models)
    assert after.tokens_per_hour <= before.tokens_per_hour


def test_a_student_s_server_is_for_every_course_taken_also_one_that_the_site_does_not_know() -> None:
    taken = of_groups(["nbgrader-open", "nbgrader-new-one", "formgrade-tight", "companies"], SETTINGS)
    assert taken == (course("new-one"), course("open"))
    assert not allowed(taken, SETTINGS).on


def test_a_teacher_who_takes_no_course_has_what_their_courses_with_an_assistant_have() -> None:
    taught = of_groups(["formgrade-exam", "formgrade-open", "formgrade-tight"], SETTINGS)
    assert allowed(taught, SETTINGS) == Allowed(("small",), 1000)
    assert not allowed(of_groups(["formgrade-exam"], SETTINGS), SETTINGS).on
    assert not allowed(of_groups(["operators"], SETTINGS), SETTINGS).on


def test_a_question_is_charged_to_the_course_with_the_fewest_tokens() -> None:
    assert charged([course("open"), course("tight")], SETTINGS) == course("tight")


@pytest.mark.parametrize(
    "wrong",
    [
        {"courses": {"open": {"models": ["missing"], "tokens_per_hour": 1000}}},
        {"courses": {"open": {"models": [], "tokens_per_hour": 1000}}},
        {"courses": {"open": {"models": ["small"], "tokens_per_hour": 0}}},
        {"sandboxes": {"models": ["missing"], "tokens_per_hour": 1000}},
        {"models": [{"kind": "local", "id": "small", "title": {"nl": "x", "en": "x"}}] * 2},
        {"models": [{"kind": "elsewhere", "id": "small", "title": {"nl": "x", "en": "x"}}]},
        {"models": []},
        {"keys": 1},
    ],
)
def test_settings_that_contradict_themselves_are_refused(wrong: dict[str, object]) -> None:
    right = {"models": [{"kind": "local", "id": "small", "title": {"nl": "x", "en": "x"}}]}
    AssistantSettings.model_validate(right)
    with pytest.raises(ValueError):
        AssistantSettings.model_validate({**right, **wrong})
