"""The energy that answers take: reckoned from the power of the processor cores that a model keeps busy.

While a model answers, all cores of its job compute; their power is shared by those who are answered at that moment.
12 W for a core is what Green Algorithms takes where the processor is not known (L. Lannelongue, J. Grealey and
M. Inouye, Advanced Science 8, 2100707, 2021, doi:10.1002/advs.202100707). Memory, cooling and the idle machine are not
in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class Meter:
    """Shares one model's energy among those it answers.

    Args:
        watts: power while it answers anybody.
        clock: seconds that only go up.
    """

    def __init__(self, watts: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._watts = watts
        self._clock = clock
        self._busy = 0
        # What each of those answered has taken who was there all the time: a share's start and end are read from it.
        self._share = 0.0
        self._seen = clock()

    def begin(self) -> float:
        """Somebody is answered from now on; gives what `end` needs."""
        self._run()
        self._busy += 1
        return self._share

    def end(self, begun: float) -> float:
        """Joules that this answer took."""
        self._run()
        self._busy -= 1
        return self._share - begun

    def _run(self) -> None:
        now = self._clock()
        if self._busy:
            self._share += self._watts * (now - self._seen) / self._busy
        self._seen = now
