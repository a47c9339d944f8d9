"""Warnings look back only, hold for any measurement, and are judged on what they have not learned from."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from onderhoud.detecting import Pattern, alarms, hourly
from onderhoud.judging import SIZES, THRESHOLDS, Event, Rate, Share, Trial
from onderhoud.said import CannotRead


def made(days: int = 60, step: str = "1h", seed: int = 1) -> pd.Series:
    index = pd.date_range("2026-01-01", periods=int(pd.Timedelta(days=days) / pd.Timedelta(step)), freq=step)
    chance = np.random.default_rng(seed)
    return pd.Series(100 + 3 * np.sin(index.hour / 24 * 2 * np.pi) + chance.normal(0, 0.5, len(index)), index=index)


@pytest.fixture(scope="module")
def trial() -> Trial:
    return Trial(made())


def test_a_score_uses_nothing_that_was_measured_later() -> None:
    series = made()
    pattern = Pattern.learn(series.iloc[:700])
    whole = pattern.scores(series)
    changed = series.copy()
    changed.iloc[1000:] += 500
    assert (pattern.scores(changed).iloc[:1000] == whole.iloc[:1000]).all()
    assert (pattern.scores(series.iloc[:1000]) == whole.iloc[:1000]).all()


def test_two_in_a_row_are_an_alarm_one_is_not_and_what_follows_soon_is_the_same() -> None:
    scores = pd.Series(0.0, index=pd.date_range("2026-01-01", periods=60, freq="1h"))
    scores.iloc[[5, 10, 11, 14, 15, 40, 41, 59]] = [9, 8, 7, 9.5, 6, 6, 7, 20]
    found = alarms(scores, 5)
    assert [(alarm.start.hour, alarm.warned.hour, alarm.end.hour, alarm.top) for alarm in found] == [
        (10, 11, 15, 9.5), (16, 17, 17, 7),
    ]  # fmt: skip
    assert alarms(scores, 20) == []


def test_the_three_parts_follow_each_other_in_time_and_leaks_lie_in_their_own_part(trial: Trial) -> None:
    learn, choose, test = (trial.part(name) for name in ("learn", "choose", "test"))
    assert learn.index[-1] < choose.index[0] and choose.index[-1] < test.index[0]
    assert len(learn) + len(choose) + len(test) == len(trial.series)
    for verdict, part in ((trial.choosing(4), choose), (trial.test(4)[0], test)):
        assert len(verdict.leaks) == 80
        for leak, _ in verdict.leaks:
            assert part.index[0] <= leak.start
            assert leak.start + pd.Timedelta(hours=leak.steps - 1) <= part.index[-1]


def test_learning_is_not_touched_by_what_comes_after() -> None:
    series = made()
    changed = series.copy()
    changed.iloc[len(series) // 2 :] *= 3
    assert Trial(series).pattern.spread == Trial(changed).pattern.spread


def test_a_higher_threshold_never_finds_more_and_larger_leaks_are_found_more_often(trial: Trial) -> None:
    found = [trial.choosing(threshold).share().found for threshold in (2, 4, 6, 8, 12)]
    assert found == sorted(found, reverse=True) and found[0] > found[-1]
    assert trial.choosing(0.5).false.count > trial.choosing(2).false.count
    by_size = [trial.test(4)[0].share(size).found for size in SIZES]
    assert by_size == sorted(by_size)


def test_the_suggestion_is_the_lowest_calm_threshold_and_never_below_two(trial: Trial) -> None:
    suggested = trial.suggestion()
    calm = [z for z in THRESHOLDS if z >= 2 and trial.choosing(z).false.a_week <= 1]
    assert suggested == min(calm) >= 2
    assert Trial(pd.Series(7.0, index=made().index)).suggestion() == 2


def test_the_same_measurements_give_the_same_outcome_twice() -> None:
    assert Trial(made()).test(4) == Trial(made()).test(4)


def test_a_known_fault_is_no_false_alarm_and_without_that_knowledge_it_is_one() -> None:
    series = made()
    series.iloc[-200:-180] -= 30
    event = Event(series.index[-200], series.index[-181])
    informed, not_informed = Trial(series, [event]).test(6)[0], Trial(series).test(6)[0]
    assert informed.false.count == 0 and not_informed.false.count >= 1
    assert [hours for _, hours in informed.known] == [1.0]


@pytest.mark.parametrize(
    "series",
    [
        pd.Series(7.0, index=pd.date_range("2026-01-01", periods=500, freq="1h")),
        made() * 0,
        -made(),
        made() * 1e9,
        made() * 1e-9,
        made(step="10min"),
        made(days=400, step="1D"),
        made().sample(frac=0.6, random_state=1).sort_index(),
    ],
    ids=["flat", "zero", "negative", "huge", "tiny", "each ten minutes", "daily", "with holes"],
)
def test_any_measurement_gives_finite_figures(series: pd.Series) -> None:
    trial = Trial(series)
    assert trial.pattern.spread > 0
    for verdict in trial.test(trial.suggestion()):
        assert 0 <= verdict.share().found <= 80 and np.isfinite(verdict.false.a_week)
    assert hourly(series).index.to_series().diff().min() >= pd.Timedelta(hours=1)


def test_too_few_measurements_are_refused_with_the_number_that_is_needed() -> None:
    with pytest.raises(CannotRead) as caught:
        Trial(made(days=10))
    assert caught.value.said.values == {"rows": 240, "least": 336}


def test_intervals_are_those_of_wilson_and_of_garwood() -> None:
    # Wilson: Newcombe, Statistics in Medicine 17 (1998), table I. Garwood: his table for 0 and 10.
    assert [round(bound, 4) for bound in Share(81, 263).interval()] == [0.2553, 0.3662]
    assert [round(bound, 4) for bound in Share(0, 20).interval()] == [0.0, 0.1611]
    assert [round(bound, 3) for bound in Rate(0, 1).interval()] == [0.0, 3.689]
    assert [round(bound, 3) for bound in Rate(10, 2).interval()] == [2.398, 9.195]
