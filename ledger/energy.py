"""Joules of a job: its processors by a model, its GPUs by their meter, both with bounds.

A server's processors have no meter that an ordinary account may read (the kernel keeps RAPL's from it since 2020). So
the job's processor seconds are counted, and one busy core is taken to need `watts_per_core`. Server processors are made
for 3.8 W (AMD EPYC 9654, 360 W, 96 cores) to 7.8 W (Intel Xeon Platinum 8358, 250 W, 32 cores) a core, as their makers
say; memory, fans and the power supply come on top. The true value lies between half and double.
"""

from __future__ import annotations

from dataclasses import dataclass

UNCERTAINTY = 2.0
"""The true energy of processors lies between what is reckoned divided by this, and times this."""
WATTS_PER_CORE = 6.0


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


def of_processors(cpu_seconds: float, watts_per_core: float, uncounted: float = 0.0) -> Energy:
    """What processors took.

    Args:
        cpu_seconds: that were counted.
        watts_per_core: power of one busy core with its share of the machine.
        uncounted: further core seconds that the job had and of which nobody knows whether it used them.
    """
    joules = cpu_seconds * watts_per_core
    return Energy(joules, joules / UNCERTAINTY, (cpu_seconds + uncounted) * watts_per_core * UNCERTAINTY)


def of_gpus(read: Energy, part: float | None) -> Energy:
    """What a job's GPUs took.

    Args:
        read: what the meters of their boards said.
        part: which part of one GPU the job had, for a job that shares it; None for one that has whole GPUs. What a
            neighbour on the same board drew is not known apart, so a part is anything up to the whole.
    """
    return read if part is None else Energy(read.joules * part, 0.0, read.most)
