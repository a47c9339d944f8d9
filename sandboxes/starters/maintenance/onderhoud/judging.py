"""How well the warnings work: leaks put into measurements that the method has not learned from, and false alarms.

The measurements are cut in order of time: 50% to learn from, 15% to choose the threshold on, 35% for the final test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from .detecting import SEED, Alarm, Forest, Pattern, alarms, hourly
from .said import CannotRead

LEARN, CHOOSE = 0.5, 0.65
FEWEST = 14 * 24
FEWEST_DAILY = 60
SIZES = (2.0, 3.0, 5.0, 8.0)
ROUNDS = 20
HOURS = (6, 24)
THRESHOLDS: tuple[float, ...] = tuple(np.arange(0.5, 10.5, 0.5).tolist())
MOST_FALSE_A_WEEK = 1.0
# A calm week or two for choosing says too little to suggest less than this.
LOWEST_SUGGESTED = 2.0
# After a known event the installation needs some time to be as usual.
RECOVERY = pd.Timedelta(hours=12)
_WEEK = pd.Timedelta(days=7)


@dataclass(frozen=True)
class Leak:
    """A fault that was put in: from `start`, for `steps` measurements, `size` times the usual spread up or down."""

    start: pd.Timestamp
    steps: int
    size: float
    up: bool


@dataclass(frozen=True)
class Event:
    """A known fault in the measurements, first and last time."""

    start: pd.Timestamp
    end: pd.Timestamp


@dataclass(frozen=True)
class Share:
    """How many of how many."""

    found: int
    of: int

    def interval(self) -> tuple[float, float]:
        """The 95% interval of the share (Wilson, JASA 22, 1927)."""
        bounds = stats.binomtest(self.found, self.of).proportion_ci(method="wilson")
        return float(bounds.low), float(bounds.high)


@dataclass(frozen=True)
class Rate:
    """How often in how many weeks of measurements."""

    count: int
    weeks: float

    @property
    def a_week(self) -> float:
        return self.count / self.weeks

    def interval(self) -> tuple[float, float]:
        """The exact 95% interval of the number a week, for counts that come alone (Garwood, Biometrika 28, 1936)."""
        low = float(stats.chi2.ppf(0.025, 2 * self.count)) / 2 if self.count else 0.0
        return low / self.weeks, float(stats.chi2.ppf(0.975, 2 * self.count + 2)) / 2 / self.weeks


@dataclass(frozen=True)
class Verdict:
    """How one method does on one part at one threshold.

    Args:
        threshold: in the method's own scale.
        leaks: each leak that was put in, and after how many hours there was an alarm (None: never).
        false: alarms where nothing was put in and nothing is known.
        known: the known events in this part, and after how many hours there was an alarm (None: never).
    """

    threshold: float
    leaks: tuple[tuple[Leak, float | None], ...]
    false: Rate
    known: tuple[tuple[Event, float | None], ...]

    def share(self, size: float | None = None) -> Share:
        """The leaks found: all, or those of one size."""
        hours = [after for leak, after in self.leaks if size is None or leak.size == size]
        return Share(sum(after is not None for after in hours), len(hours))

    def delay(self) -> float | None:
        """The median number of hours until the alarm, of the leaks found."""
        hours = [after for _, after in self.leaks if after is not None]
        return float(np.median(hours)) if hours else None


class Trial:
    """One measurement, cut in three, with both methods learned from the first part.

    Args:
        series: as `reading.read` gives it.
        known: faults that are known, so that an alarm there is not false.

    Raises:
        CannotRead: there are too few measurements to learn from and to test on.
    """

    def __init__(self, series: pd.Series, known: Sequence[Event] = ()) -> None:
        self.series = hourly(series)
        daily = self.series.index.to_series().diff().median() >= pd.Timedelta(hours=20)
        least = FEWEST_DAILY if daily else FEWEST
        if len(self.series) < least:
            raise CannotRead("judge.few", rows=len(self.series), least=least)
        self.known = tuple(known)
        self._cuts = int(LEARN * len(self.series)), int(CHOOSE * len(self.series))
        learned = self.series.iloc[: self._cuts[0]]
        self.pattern = Pattern.learn(learned)
        self.forest = Forest(self.pattern, learned)
        self._chosen_on = self._cases(*self._cuts, SEED)

    def part(self, name: str) -> pd.Series:
        """The measurements of "learn", "choose" or "test"."""
        first, second = self._cuts
        return {
            "learn": self.series.iloc[:first],
            "choose": self.series.iloc[first:second],
            "test": self.series.iloc[second:],
        }[name]

    def choosing(self, threshold: float) -> Verdict:
        """How the z-score does on the part for choosing."""
        return self._chosen_on.verdict(self.pattern, threshold)

    def false_while_choosing(self, threshold: float) -> tuple[pd.Series, list[Alarm]]:
        """The scores of the part for choosing, and the false alarms there."""
        clean = self._chosen_on.clean(self.pattern)
        return clean, self._chosen_on.false(alarms(clean, threshold))

    def suggestion(self) -> float:
        """The lowest threshold from 2 with at most one false alarm a week on the part for choosing, or the highest."""
        possible = (z for z in THRESHOLDS if z >= LOWEST_SUGGESTED)
        good = (z for z in possible if self.choosing(z).false.a_week <= MOST_FALSE_A_WEEK)
        return next(good, THRESHOLDS[-1])

    def test(self, threshold: float) -> tuple[Verdict, Verdict]:
        """The final test of the z-score at a threshold and of the forest, on measurements that chose nothing.

        The forest gets the lowest threshold that gives no more false alarms than the z-score on the part for choosing.
        """
        cases = self._cases(self._cuts[1], len(self.series), SEED + 1)
        return cases.verdict(self.pattern, threshold), cases.verdict(self.forest, self._like(threshold))

    def _like(self, threshold: float) -> float:
        allowed = self.choosing(threshold).false.count
        scores = self._chosen_on.clean(self.forest)
        candidates = np.quantile(scores, np.linspace(0.8, 1.0, 81))
        return float(next(c for c in candidates if len(self._chosen_on.false(alarms(scores, c))) <= allowed))

    def _cases(self, begin: int, stop: int, seed: int) -> _Cases:
        return _Cases(self.series.iloc[:stop], begin, self.pattern.spread, self.known, seed)


class _Cases:
    """One part of the measurements, and the leaks that are put into it, one at a time."""

    def __init__(self, series: pd.Series, begin: int, spread: float, known: tuple[Event, ...], seed: int) -> None:
        self._series, self._begin = series, begin
        self._span = series.index[begin], series.index[-1]
        self._known = tuple(event for event in known if event.end >= self._span[0] and event.start <= self._span[1])
        step = series.index.to_series().diff().median()
        self._weeks = (len(series) - begin) * (step / _WEEK)
        self._leaks = self._draw(np.random.default_rng(seed))
        self._spread = spread
        self._scores: dict[int, list[pd.Series]] = {}

    def _draw(self, chance: np.random.Generator) -> tuple[Leak, ...]:
        part = self._series.index[self._begin :]
        leaks = []
        for size in SIZES:
            for _ in range(ROUNDS):
                steps = int(chance.integers(HOURS[0], HOURS[1] + 1))
                free = [
                    place
                    for place in range(len(part) - steps)
                    if not self._is_known(part[place] - RECOVERY, part[place + steps - 1] + RECOVERY)
                ]
                # Where known events leave no room, a leak may lie anywhere.
                place = int(chance.choice(free or range(max(1, len(part) - steps))))
                leaks.append(Leak(part[place], steps, size, bool(chance.integers(2))))
        return tuple(leaks)

    def _is_known(self, first: pd.Timestamp, last: pd.Timestamp) -> bool:
        return any(event.start - RECOVERY <= last and first <= event.end + RECOVERY for event in self._known)

    def verdict(self, method: Pattern | Forest, threshold: float) -> Verdict:
        """How a method does here."""
        clean = alarms(self.clean(method), threshold)
        leaks = zip(self._leaks, self._of_leaks(method), strict=True)
        return Verdict(
            threshold,
            tuple(
                (leak, _first_alarm(alarms(scores, threshold), leak.start, scores.index[-1])) for leak, scores in leaks
            ),
            Rate(len(self.false(clean)), self._weeks),
            tuple((event, _first_alarm(clean, event.start, event.end)) for event in self._known),
        )

    def clean(self, method: Pattern | Forest) -> pd.Series:
        """Scores of the part with nothing put in."""
        return method.scores(self._series).iloc[self._begin :]

    def false(self, found: list[Alarm]) -> list[Alarm]:
        """The alarms that no known event explains."""
        return [alarm for alarm in found if not self._is_known(alarm.start, alarm.end)]

    def _of_leaks(self, method: Pattern | Forest) -> list[pd.Series]:
        """Scores during each leak, worked out once for a method."""
        if id(method) not in self._scores:
            self._scores[id(method)] = [self._during(method, leak) for leak in self._leaks]
        return self._scores[id(method)]

    def _during(self, method: Pattern | Forest, leak: Leak) -> pd.Series:
        place = self._series.index.get_loc(leak.start)
        past = self._series.index.searchsorted(leak.start - 2 * method.past)
        stretch = self._series.iloc[past : place + leak.steps].copy()
        stretch.iloc[place - past :] += (1 if leak.up else -1) * leak.size * self._spread
        return method.scores(stretch).iloc[place - past :]


def _first_alarm(found: list[Alarm], start: pd.Timestamp, end: pd.Timestamp) -> float | None:
    """Hours from the start to the first alarm that goes off before the end."""
    after = [alarm.warned for alarm in found if start <= alarm.warned <= end + pd.Timedelta(hours=1)]
    return (min(after) - start) / pd.Timedelta(hours=1) if after else None
