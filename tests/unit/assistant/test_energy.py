"""Processor time is shared by those who asked, and never lost or counted twice."""

from __future__ import annotations

import pytest

from assistant.backends import Usage
from assistant.energy import Energy, Shares


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_one_answer_has_all_of_it() -> None:
    clock = Clock()
    shares = Shares(clock)
    clock.now = 5.0  # before it began
    shares.begin("a")
    clock.now = 7.5
    assert shares.end("a") == 2.5


def test_answers_at_one_time_share_evenly_and_all_is_divided() -> None:
    clock = Clock()
    shares = Shares(clock)
    shares.begin("a")
    clock.now = 2.0
    shares.begin("b")
    clock.now = 6.0
    a = shares.end("a")
    clock.now = 7.0
    b = shares.end("b")
    assert (a, b) == (4.0, 3.0) and a + b == clock.now


def test_what_is_reckoned_says_its_bounds_and_what_is_unknown_says_nothing() -> None:
    assert Energy(12.0, source="cpu-seconds").told() == {
        "joules": 12.0, "measured": False, "source": "cpu-seconds", "least": 6.0, "most": 24.0,
    }  # fmt: skip
    assert Energy().told() == {"joules": None, "measured": False}


@pytest.mark.parametrize(
    "told",
    [None, 5, {}, {"prompt_tokens": -1}, {"prompt_tokens": True}, {"prompt_tokens": "5"},
     {"prompt_tokens": 1, "completion_tokens": -5}],
)  # fmt: skip
def test_counts_that_cannot_be_are_not_believed(told: object) -> None:
    assert Usage.read(told) is None


def test_time_that_cannot_be_is_unknown() -> None:
    for wrong in (-1.0, float("nan"), float("inf"), "5", True):
        found = Usage.read({"prompt_tokens": 3, "completion_tokens": 2, "cpu_seconds": wrong})
        assert found is not None and found.tokens == 5 and found.cpu_seconds is None
