"""Joules of a job: its processors by a model (`base.energy`), its GPUs by their meter, both with bounds."""

from __future__ import annotations

from base.energy import UNCERTAINTY, Energy


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
