"""Readings of one GPU's meter to joules, with bounds. Standard library only.

NVML counts a board's energy since its driver was loaded, in millijoules (Volta and newer), and tells its power at the
moment. The counter is taken where it is there: missing and irregular readings then lose nothing. Where it begins anew
(a driver that was loaded again, a GPU that was reset) and where there is none, power is integrated by trapezoids.
"""

from __future__ import annotations

from dataclasses import dataclass

from base.energy import Energy

METER = 0.05
"""Part by which a reading may be off: what NVML's reference states of power (nvmlDeviceGetPowerUsage)."""
LONGEST_STEP = 5.0
"""Seconds between two readings of power up to which the power in between is taken to be between theirs."""
MOST_WATTS = 20_000.0
"""No board draws more: a counter that jumps by more has begun anew, or is broken."""


@dataclass(frozen=True)
class Reading:
    """What one GPU's meter said.

    Args:
        at: seconds of a clock that nobody sets.
        millijoules: of the counter; None where it gave none.
        milliwatts: power at that moment; None where it gave none.
    """

    at: float
    millijoules: int | None = None
    milliwatts: int | None = None


def read(joules: float) -> Energy:
    """What a meter said, with its bounds."""
    return Energy(joules, joules * (1 - METER), joules * (1 + METER))


class Integrator:
    """Adds up the readings of one GPU, in the order in which they come.

    `ignored` counts readings that were not newer than the last; `unseen` the seconds of which nothing is known.
    """

    def __init__(self) -> None:
        self.ignored = 0
        self.unseen = 0.0
        self._settled = Energy()
        self._tail = Energy()  # By power, since the last reading of the counter.
        self._tail_unseen = 0.0
        self._last: Reading | None = None
        self._counter: Reading | None = None
        self._power: Reading | None = None
        self._lowest = float("inf")
        self._highest = 0.0

    def add(self, reading: Reading) -> None:
        """Take one more reading."""
        last = self._last
        if last is not None and reading.at <= last.at:
            self.ignored += 1
            return
        if reading.milliwatts is None and reading.millijoules is None:
            return
        self._last = reading
        step = 0.0 if last is None else reading.at - last.at
        self._follow_power(reading, step)
        if reading.millijoules is not None:
            self._follow_counter(reading, reading.millijoules)

    @property
    def total(self) -> Energy:
        """All so far."""
        return self._settled + self._tail

    def _follow_power(self, reading: Reading, step: float) -> None:
        if reading.milliwatts is None:
            self._tail_unseen += step
            return
        watts = reading.milliwatts / 1000
        self._lowest, self._highest = min(self._lowest, watts), max(self._highest, watts)
        before, self._power = self._power, reading
        if before is None or before.milliwatts is None:
            self._tail_unseen += step
            return
        seconds = reading.at - before.at
        joules = (watts + before.milliwatts / 1000) / 2 * seconds
        if seconds <= LONGEST_STEP:
            self._tail += read(joules)
        else:
            # What happened in a long pause is not known; between the lowest and the highest power seen so far.
            least, most = self._lowest * seconds * (1 - METER), self._highest * seconds * (1 + METER)
            self._tail += Energy(joules, min(least, joules), max(most, joules))
        self._tail_unseen = 0.0

    def _follow_counter(self, reading: Reading, millijoules: int) -> None:
        before, self._counter = self._counter, reading
        if before is None or before.millijoules is None:
            self._settle(self._tail)  # Readings of power alone came first.
            return
        joules = (millijoules - before.millijoules) / 1000
        if 0 <= joules <= MOST_WATTS * (reading.at - before.at):
            self._tail_unseen = 0.0
            self._settle(read(joules))
            return
        # It began anew: what it counted since then is part of what power says of the whole time.
        since = millijoules / 1000 if joules < 0 else 0.0
        tail = self._tail
        unseen = self._highest * self._tail_unseen * (1 + METER)
        best = max(tail.joules, since)
        self._settle(Energy(best, max(tail.least, since * (1 - METER)), max(tail.most, best * (1 + METER)) + unseen))

    def _settle(self, energy: Energy) -> None:
        self._settled += energy
        self.unseen += self._tail_unseen
        self._tail, self._tail_unseen = Energy(), 0.0
