"""How the figures of a class and of a level come about."""

from __future__ import annotations

import pytest

from bench import class_start, scheduler_load
from bench.class_start import MOST_SECONDS, part_of
from bench.errors import BenchmarkFailed
from bench.scheduler_load import Cost, Course, Level, levels


def test_a_class_is_ready_when_95_of_100_are() -> None:
    assert part_of([float(second) for second in range(1, 101)], 100).seconds == 95.0
    assert part_of([3.0, 1.0, 2.0], 3).seconds == 3.0


def test_who_never_was_ready_is_counted_and_too_many_of_them_make_the_class_never_ready() -> None:
    few = part_of([1.0] * 96, 100)
    assert (few.seconds, few.failed) == (1.0, 4)
    many = part_of([1.0] * 94, 100)
    assert (many.seconds, many.failed) == (MOST_SECONDS, 6)


def test_without_a_whole_limit_there_is_no_result() -> None:
    found = {"limit": [part_of([1.0], 2)], "product": [part_of([1.0, 1.0], 2)]}
    with pytest.raises(BenchmarkFailed):
        class_start._result(found, 2, 1.0, [0.1])


def test_the_levels_are_those_of_the_goal() -> None:
    assert [str(level) for level in levels()] == [
        "0 running", "10 running", "50 running", "200 running", "20 pending", "50 pending",
    ]  # fmt: skip


def test_the_figure_of_a_side_is_its_worst_level_in_each_window() -> None:
    few, many = Level(0, 0), Level(10, 0)
    costs = {
        "product": {few: [Cost(24, 1), Cost(26, 1)], many: [Cost(25, 2), Cost(25, 2)]},
        "stock": {few: [Cost(0, 1), Cost(0, 1)], many: [Cost(40, 9), Cost(60, 9)]},
    }
    result = scheduler_load._result(costs, Course(2, [few, many]), question=2)
    assert list(result.product) == [25, 26]
    assert list(result.peers["stock"]) == [40, 60]
    # One look of two calls every 5 s.
    assert list(result.limit) == [24, 24]
    assert any(
        note.startswith("10 running: product 25.0 calls, 2.00 s; stock 50.0 calls, 9.00 s") for note in result.notes
    )
