"""What a class's marks say: how they are spread, and how hard each task was. Plain numbers in, plain numbers out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

BINS = 10
ENOUGH = 20
"""Students from whom a correlation is told. With 20, one of 0 comes out between -0.44 and 0.44 in 19 of 20 classes."""
CLEAR, LOW = 0.3, 0.1
"""Borders of an item-rest correlation (Ebel & Frisbie, Essentials of Educational Measurement, 5th ed.: from 0.30
good, below 0.20 in need of work; the lower border leaves room for small classes)."""
_SAME = 1e-9


class Telling(StrEnum):
    """Whether a task tells strong work from weak work."""

    UNKNOWN = "unknown"
    CLEAR = "clear"
    SOME = "some"
    LOOK = "look"


@dataclass(frozen=True)
class Spread:
    """How shares of the points are spread.

    Args:
        counts: how many shares lie in each tenth; a share on a border belongs to the upper one, 1 and more to the last.
        n: how many there are.
        mean: their mean.
        quartiles: 25, 50 and 75 %, interpolated linearly.
    """

    counts: tuple[int, ...]
    n: int
    mean: float
    quartiles: tuple[float, float, float]


@dataclass(frozen=True)
class Difficulty:
    """How one task went.

    Args:
        n: students with a final mark for it.
        share: of the points that could be had, how much was; None for a task without points.
        full: share of the students with all points.
        none: share of the students with no points.
        rest: correlation of the task's points with those of the student's other tasks; None where it means nothing.
        pairs: students behind that correlation.
        telling: the same in words.
    """

    n: int
    share: float | None
    full: float
    none: float
    rest: float | None
    pairs: int
    telling: Telling


def spread(shares: Sequence[float]) -> Spread | None:
    """How shares are spread; None when there are none.

    Args:
        shares: of the points, 0 to 1; extra credit can make one larger.
    """
    if not shares:
        return None
    counts = [0] * BINS
    for share in shares:
        counts[min(BINS - 1, max(0, math.floor(share * BINS + _SAME)))] += 1
    low, middle, high = (quantile(shares, part) for part in (0.25, 0.5, 0.75))
    return Spread(tuple(counts), len(shares), math.fsum(shares) / len(shares), (low, middle, high))


def quantile(values: Sequence[float], part: float) -> float:
    """A quantile, interpolated linearly (type 7 of Hyndman & Fan, 1996; numpy's default).

    Args:
        values: at least one.
        part: 0 to 1.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("There is no quantile of nothing.")
    ordered = sorted(values)
    place = (len(ordered) - 1) * part
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def correlation(left: Sequence[float], right: Sequence[float]) -> float | None:
    """Pearson's correlation; None where one side does not vary.

    Args:
        left: one value a student.
        right: as many.

    Raises:
        ValueError: they are not as many.
    """
    if len(left) != len(right):
        raise ValueError("A correlation needs pairs.")
    if not left:
        return None
    mean_left, mean_right = math.fsum(left) / len(left), math.fsum(right) / len(right)
    across = math.fsum((x - mean_left) * (y - mean_right) for x, y in zip(left, right, strict=True))
    square_left = math.fsum((x - mean_left) ** 2 for x in left)
    square_right = math.fsum((y - mean_right) ** 2 for y in right)
    if square_left <= _SAME or square_right <= _SAME:
        return None
    return max(-1.0, min(1.0, across / math.sqrt(square_left * square_right)))


def difficulties(tasks: Mapping[str, float], marks: Sequence[Mapping[str, float]]) -> dict[str, Difficulty]:
    """How each task went.

    The correlation is that of a task with the rest of the assignment, without the task itself (the corrected item-total
    correlation; for a task that gives all or nothing it is the corrected point-biserial). Only students with a mark for
    every task count for it.

    Args:
        tasks: the most points of each, by task.
        marks: of each student, the final points by task; a task that is not marked yet is left out.
    """
    whole = [one for one in marks if all(task in one for task in tasks)]
    sums = [math.fsum(one[task] for task in tasks) for one in whole]
    return {task: _difficulty(task, most, marks, whole, sums) for task, most in tasks.items()}


def _difficulty(
    task: str, most: float, marks: Sequence[Mapping[str, float]], whole: Sequence[Mapping[str, float]],
    sums: Sequence[float],
) -> Difficulty:  # fmt: skip
    had = [one[task] for one in marks if task in one]
    n = len(had)
    own = [one[task] for one in whole]
    rest = None
    if len(whole) >= ENOUGH:
        rest = correlation(own, [total - points for total, points in zip(sums, own, strict=True)])
    return Difficulty(
        n=n,
        share=math.fsum(had) / (n * most) if n and most > 0 else None,
        full=sum(points >= most - _SAME for points in had) / n if n else 0.0,
        none=sum(points <= _SAME for points in had) / n if n else 0.0,
        rest=rest,
        pairs=len(whole),
        telling=_told(rest),
    )


def _told(rest: float | None) -> Telling:
    if rest is None:
        return Telling.UNKNOWN
    if rest >= CLEAR:
        return Telling.CLEAR
    return Telling.SOME if rest >= LOW else Telling.LOOK
