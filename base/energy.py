"""An amount of energy with its bounds, and the model that reckons that of processors. Standard library only.

A server's processors have no meter that an ordinary account may read (the kernel keeps RAPL's from it since 2020). So
processor seconds are counted, and one busy core is taken to need `watts_per_core`. Server processors are made for 3.8 W
(AMD EPYC 9654, 360 W, 96 cores) to 7.8 W (Intel Xeon Platinum 8358, 250 W, 32 cores) a core, as their makers say;
memory, fans and the power supply come on top. The true value lies between half and double.
"""

from __future__ import annotations

from dataclasses import dataclass

UNCERTAINTY = 2.0
"""The true energy of processors lies between what is reckoned divided by this, and times this."""
WATTS_PER_CORE = 6.0
"""Power of one busy core with its share of the machine, where a site says nothing else."""


@dataclass(frozen=True)
class Energy:
    """An amount of energy.

    Args:
        joules: the best estimate.
        least, most: between these the true amount lies.
    """

    joules: float = 0.0
    least: float = 0.0
    most: float = 0.0

    def __add__(self, other: Energy) -> Energy:
        return Energy(self.joules + other.joules, self.least + other.least, self.most + other.most)
