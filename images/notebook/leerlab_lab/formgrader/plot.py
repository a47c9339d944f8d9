"""Where the bars of a plot stand: plain geometry, drawn by templates/plots.html as SVG without a script."""

from __future__ import annotations

from dataclasses import dataclass

from leerlab_lab.classbook.statistics import BINS, Spread

WIDTH, HEIGHT = 320, 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 6, 314, 34, 142
_GAP = 3


@dataclass(frozen=True)
class Bar:
    """One tenth of the points, in the plot's units.

    Args:
        x: left edge.
        y: upper edge.
        count: students in it.
        low: where the tenth begins, in percent.
        high: where it ends.
    """

    x: float
    y: float
    width: float
    height: float
    count: int
    low: int
    high: int

    @property
    def middle(self) -> float:
        """Where its number stands."""
        return round(self.x + self.width / 2, 2)


@dataclass(frozen=True)
class Plot:
    """A histogram of shares of the points.

    Args:
        median: where the line of the median stands.
        ticks: percent and place of the numbers below the bars.
    """

    bars: tuple[Bar, ...]
    median: float
    ticks: tuple[tuple[int, float], ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = _RIGHT
    top: int = _TOP
    bottom: int = _BOTTOM


def histogram(spread: Spread) -> Plot:
    """Lay out the bars; the highest reaches the top.

    Args:
        spread: of at least one student.
    """
    step = (_RIGHT - _LEFT) / BINS
    most = max(spread.counts)
    bars = []
    for number, count in enumerate(spread.counts):
        height = round((_BOTTOM - _TOP) * count / most, 2)
        left = round(_LEFT + number * step + _GAP / 2, 2)
        percent = 100 // BINS
        bars.append(
            Bar(left, _BOTTOM - height, round(step - _GAP, 2), height, count, number * percent, (number + 1) * percent)
        )

    def at(share: float) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * min(1.0, max(0.0, share)), 2)

    ticks = tuple((percent, at(percent / 100)) for percent in range(0, 101, 20))
    return Plot(tuple(bars), at(spread.quartiles[1]), ticks)
