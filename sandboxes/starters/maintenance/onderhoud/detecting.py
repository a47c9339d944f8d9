"""What is usual at this hour, how far a measurement lies from it, and when that is an alarm.

Everything looks back only: a score at a time uses nothing measured later, so it can be used on a live installation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.ensemble import IsolationForest

SEED = 20260401
LEVEL_DAYS, LEVEL_DAYS_IF_DAILY = 7, 28
FEWEST_FOR_LEVEL = 12
IN_A_ROW = 2
JOIN_HOURS = 6
MOST_HOURS = 20_000
# Of a normal distribution, 1.4826 times the median distance to the median is the standard deviation.
_MAD_TO_DEVIATION = 1.4826


def hourly(series: pd.Series) -> pd.Series:
    """At most one value an hour: means where there were more, and at most the last `MOST_HOURS`."""
    if series.index.to_series().diff().median() < pd.Timedelta(hours=1):
        series = series.resample("1h").mean().dropna()
    return series.iloc[-MOST_HOURS:]


@dataclass(frozen=True)
class Pattern:
    """What is usual.

    Args:
        slots: how far the measurement usually lies from its level, for each hour of the day (or day of the week).
        spread: how much it usually varies around that: a robust standard deviation, in the measurement's unit, > 0.
        weekly: whether the slots are days of the week, as for one measurement a day.
    """

    slots: pd.Series
    spread: float
    weekly: bool

    @classmethod
    def learn(cls, series: pd.Series) -> Pattern:
        """Learn from a stretch of measurements; faults in it hardly matter, since medians are used."""
        weekly = bool(series.index.to_series().diff().median() >= pd.Timedelta(hours=20))
        away = series - level(series, weekly)
        slots = away.groupby(_slot(series.index, weekly)).median()
        rest = (away - _usual(slots, series.index, weekly)).dropna()
        spread = _MAD_TO_DEVIATION * float((rest - rest.median()).abs().median())
        if not spread > 0:
            # More than half of all values are the same: any change would be endless times the usual.
            spread = float(rest.std()) or 0.0
        floor = 1e-6 * max(1.0, float(series.abs().median()))
        return cls(slots, max(spread, floor), weekly)

    @property
    def past(self) -> pd.Timedelta:
        """How far back a score looks."""
        return pd.Timedelta(days=LEVEL_DAYS_IF_DAILY if self.weekly else LEVEL_DAYS)

    def rest(self, series: pd.Series) -> pd.Series:
        """What is left of each measurement without its level and its usual pattern, in times the usual spread."""
        return (series - level(series, self.weekly) - _usual(self.slots, series.index, self.weekly)) / self.spread

    def scores(self, series: pd.Series) -> pd.Series:
        """How unusual each measurement is: the robust z-score without its sign; 0 where there is too little past."""
        return self.rest(series).abs().fillna(0.0)


def level(series: pd.Series, daily: bool) -> pd.Series:
    """The median of the 7 days (28 for one measurement a day) before each measurement, itself not included."""
    days = LEVEL_DAYS_IF_DAILY if daily else LEVEL_DAYS
    return series.rolling(f"{days}D", closed="left", min_periods=FEWEST_FOR_LEVEL).median()


def _slot(index: pd.Index, weekly: bool) -> np.ndarray:
    moments = pd.DatetimeIndex(index)
    return np.asarray(moments.dayofweek if weekly else moments.hour)


def _usual(slots: pd.Series, index: pd.Index, weekly: bool) -> np.ndarray:
    return slots.reindex(_slot(index, weekly)).fillna(0.0).to_numpy()


class Forest:
    """An isolation forest on the same measurements, for comparison (Liu, Ting and Zhou, ICDM 2008).

    Args:
        pattern: what is usual.
        series: the stretch to learn from.
    """

    def __init__(self, pattern: Pattern, series: pd.Series) -> None:
        self._pattern = pattern
        self._forest = IsolationForest(n_estimators=100, random_state=SEED, n_jobs=1)
        self._forest.fit(self._features(series))

    def scores(self, series: pd.Series) -> pd.Series:
        """How unusual each measurement is, from 0 to 1."""
        return pd.Series(-self._forest.score_samples(self._features(series)), index=series.index)

    @property
    def past(self) -> pd.Timedelta:
        """How far back a score looks."""
        return self._pattern.past + pd.Timedelta(days=7)

    def _features(self, series: pd.Series) -> np.ndarray:
        rest = self._pattern.rest(series).fillna(0.0)
        return np.column_stack([rest, rest.diff().fillna(0.0), rest.rolling(6, min_periods=1).mean()])


@dataclass(frozen=True)
class Alarm:
    """A stretch of unusual measurements.

    Args:
        start: first unusual measurement.
        warned: when the alarm went off.
        end: last unusual measurement.
        top: highest score.
    """

    start: pd.Timestamp
    warned: pd.Timestamp
    end: pd.Timestamp
    top: float


def alarms(scores: pd.Series, threshold: float) -> list[Alarm]:
    """The alarms at a threshold: `IN_A_ROW` scores above it; what follows within `JOIN_HOURS` is the same alarm."""
    above = (scores > threshold).to_numpy()
    runs = np.flatnonzero(np.diff(np.concatenate([[False], above, [False]]).astype(int))).reshape(-1, 2)
    found: list[Alarm] = []
    for begin, stop in runs:
        if stop - begin < IN_A_ROW:
            continue
        stretch = scores.iloc[begin:stop]
        alarm = Alarm(stretch.index[0], stretch.index[IN_A_ROW - 1], stretch.index[-1], float(stretch.max()))
        if found and alarm.start - found[-1].end <= pd.Timedelta(hours=JOIN_HOURS):
            alarm = Alarm(found[-1].start, found[-1].warned, alarm.end, max(found[-1].top, alarm.top))
            found.pop()
        found.append(alarm)
    return found
