"""Types of GPUs as Slurm's gres.conf names them, and which part of a GPU a MIG slice is.

Sources: gres.conf(5) of Slurm 22.05 (Type, AutoDetect); NVIDIA Multi-Instance GPU User Guide, chapter "Supported MIG
Profiles".
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

GpuType = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,40}$", examples=["h200", "1g.10gb", "a100_1g.5gb"])
]
"""A gres type of Slurm's `gpu`: a make, or a MIG slice such as `1g.10gb`; Slurm may put the make before it."""

GPU = 1000
"""Thousandths of a GPU: the unit of Slurm's `billing`, see `cluster.accounting_daemons`."""
_MIG = re.compile(r"(?:^|_)(?P<slices>[1-7])g\.(?P<memory>\d+)gb")
_SLICES = 7
# The A30 alone is divided into four; no other GPU has slices of these sizes.
_OF_FOUR = {("1", "6"), ("2", "12"), ("4", "24")}


def part_of_gpu(gpu_type: str | None) -> tuple[int, int]:
    """Which part of a whole GPU one GPU of a type is, as numerator and denominator; 1 of 1 for what is no MIG slice."""
    found = _MIG.search(gpu_type or "")
    if found is None:
        return 1, 1
    whole = 4 if (found["slices"], found["memory"]) in _OF_FOUR else _SLICES
    return int(found["slices"]), whole


def is_slice(gpu_type: str | None) -> bool:
    """Whether a type is a MIG slice: a part of a GPU with memory and faults of its own."""
    return _MIG.search(gpu_type or "") is not None


def thousandths_of(gpu_type: str | None) -> int:
    """What one GPU of a type is charged: thousandths of a whole one, rounded up."""
    part, whole = part_of_gpu(gpu_type)
    return -(-GPU * part // whole)
