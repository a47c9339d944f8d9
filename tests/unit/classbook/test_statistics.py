"""What is said of a class's marks agrees with numpy, scipy and what one can reckon by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

# What runs in a course's server is a distribution of its own.
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "images/notebook"))

from leerlab_lab.classbook.statistics import ENOUGH, Telling, correlation, difficulties, quantile, spread

SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=80)


def test_a_spread_that_can_be_reckoned_by_hand() -> None:
    told = spread([0.0, 0.05, 0.1, 0.55, 0.95, 1.0, 1.2])
    assert told is not None
    # 0.1 belongs to the second tenth; all points, and more than all, to the last.
    assert told.counts == (2, 1, 0, 0, 0, 1, 0, 0, 0, 3)
    assert told.n == 7 and told.mean == pytest.approx(3.85 / 7)
    assert told.quartiles == pytest.approx((0.075, 0.55, 0.975))
    assert spread([]) is None


def test_a_share_on_a_border_stays_there_whatever_its_binary_fraction_is() -> None:
    # 0.3 * 10 is 3.0000000000000004 or 2.9999999999999996, depending on how 0.3 came about.
    for share in (0.3, 0.1 + 0.2, 1 - 0.7, 3 / 10):
        told = spread([share])
        assert told is not None and told.counts[3] == 1, share


@given(SHARES)
def test_a_spread_agrees_with_numpy(shares: list[float]) -> None:
    told = spread(shares)
    assert told is not None and sum(told.counts) == len(shares)
    assert told.mean == pytest.approx(np.mean(shares), abs=1e-12)
    assert told.quartiles == pytest.approx(tuple(np.quantile(shares, [0.25, 0.5, 0.75])), abs=1e-12)
    off_borders = [share for share in shares if abs(share * 10 - round(share * 10)) > 1e-6]
    if off_borders:
        again = spread(off_borders)
        assert again is not None
        assert list(again.counts) == list(np.histogram(off_borders, bins=10, range=(0, 1))[0])


def test_there_is_no_quantile_of_nothing_and_no_correlation_of_what_is_not_paired() -> None:
    with pytest.raises(ValueError, match="nothing"):
        quantile([], 0.5)
    with pytest.raises(ValueError, match="pairs"):
        correlation([1.0], [])


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=3, max_size=60))
def test_a_correlation_agrees_with_numpy_or_is_not_given(pairs: list[tuple[int, int]]) -> None:
    left, right = [float(x) for x, _ in pairs], [float(y) for _, y in pairs]
    told = correlation(left, right)
    if len(set(left)) == 1 or len(set(right)) == 1:
        assert told is None
    else:
        assert told == pytest.approx(np.corrcoef(left, right)[0, 1], abs=1e-9)


def test_how_hard_tasks_were_in_a_class_of_four() -> None:
    marks = [{"a": 2.0, "b": 0.0}, {"a": 2.0, "b": 4.0}, {"a": 1.0, "b": 0.0}, {"a": 0.0}]
    told = difficulties({"a": 2.0, "b": 4.0}, marks)
    assert told["a"].n == 4 and told["a"].share == pytest.approx(5 / 8)
    assert (told["a"].full, told["a"].none) == (0.5, 0.25)
    # Who has no mark for b yet does not count as somebody with no points for it.
    assert told["b"].n == 3 and told["b"].share == pytest.approx(4 / 12)
    assert told["b"].full == pytest.approx(1 / 3) and told["b"].none == pytest.approx(2 / 3)
    # With so few, nothing is said of how tasks hang together.
    assert {one.telling for one in told.values()} == {Telling.UNKNOWN} and told["a"].pairs == 3


def class_of(n: int, noise: float) -> list[dict[str, float]]:
    """Marks of a class whose three tasks follow one ability, and a fourth that is drawn by lot."""
    draw = np.random.default_rng(7)
    ability = draw.normal(size=n)
    graded = {task: np.clip(np.round(5 + 2 * ability + draw.normal(scale=noise, size=n)), 0, 10) for task in "abc"}
    graded["lot"] = (draw.random(n) < 0.5).astype(float)
    graded["right"] = (ability + draw.normal(scale=noise, size=n) > 0).astype(float)
    return [{task: float(points[one]) for task, points in graded.items()} for one in range(n)]


def test_the_correlation_with_the_rest_is_scipys_corrected_one_and_point_biserial_for_all_or_nothing() -> None:
    marks = class_of(200, 1.0)
    most = {"a": 10.0, "b": 10.0, "c": 10.0, "lot": 1.0, "right": 1.0}
    told = difficulties(most, marks)
    for task in most:
        own = [one[task] for one in marks]
        rest = [sum(one.values()) - one[task] for one in marks]
        assert told[task].rest == pytest.approx(stats.pearsonr(own, rest).statistic, abs=1e-9)
    for task in ("lot", "right"):
        own, rest = [one[task] for one in marks], [sum(one.values()) - one[task] for one in marks]
        assert told[task].rest == pytest.approx(stats.pointbiserialr(own, rest).statistic, abs=1e-9)
    assert told["a"].telling is Telling.CLEAR and told["right"].telling is Telling.CLEAR
    assert told["lot"].telling is Telling.LOOK


def test_a_correlation_is_told_from_enough_students_on_and_only_of_those_with_every_mark() -> None:
    marks = class_of(ENOUGH, 0.5)
    most = dict.fromkeys(marks[0], 10.0)
    assert difficulties(most, marks)["a"].rest is not None
    del marks[0]["b"]
    told = difficulties(most, marks)["a"]
    assert told.n == ENOUGH and told.pairs == ENOUGH - 1 and told.rest is None


def test_a_task_that_everybody_has_right_tells_nothing_and_one_without_points_has_no_share() -> None:
    marks = [{"easy": 1.0, "bonus": 0.0, "other": float(one % 3)} for one in range(30)]
    told = difficulties({"easy": 1.0, "bonus": 0.0, "other": 2.0}, marks)
    assert told["easy"].rest is None and told["easy"].telling is Telling.UNKNOWN
    assert told["bonus"].share is None
