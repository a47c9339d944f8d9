"""How much memory a kernel and all that it has started have of their own; ends one that has too much.

RLIMIT_DATA holds each process; this holds all of one run together, so that it is that run which ends and not the job
that it shares with others. Numbers are from proc(5): `RssAnon` counts what is shared with the zygote, too, so what
looks too much is measured again as PSS, which divides what is shared.
"""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from leerlab_lab.forked.zygotes import Kernel

LOOK_SECONDS = 0.5
_FIELD = re.compile(r"^(?:PPid|RssAnon|RssShmem):\s+(\d+)", re.MULTILINE)
_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


async def watch(kernel: Kernel, most: int) -> None:
    """End a kernel that has more than so many bytes; returns when it has, or when it has ended.

    Args:
        kernel: what is watched; `overdrawn` says afterwards that it was ended here.
        most: bytes that it and all that it has started may have together.
    """
    base: int | None = None
    while not kernel.ended.done():
        parents, resident = _processes()
        inside = list(_below(kernel.pid, parents))
        seen = [resident[process] for process in inside]
        if base is None and seen:
            # Of the kernel alone, which has just been forked.
            base = max(seen)
        if base is not None and sum(max(0, each - base) for each in seen) > most and _pss(inside) - base > most:
            kernel.overdrawn = True
            kernel.signal(signal.SIGKILL)
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(kernel.ended), LOOK_SECONDS)


def _processes() -> tuple[dict[int, list[int]], dict[int, int]]:
    """All processes in sight: the children of each, and its resident bytes that are no file's."""
    parents: dict[int, list[int]] = {}
    resident: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):
            numbers = [int(number) for number in _FIELD.findall(status.read_text("ascii", "replace"))]
            process = int(status.parent.name)
            parents.setdefault(numbers[0], []).append(process)
            # A process that has ended and was not waited for has none.
            resident[process] = 1024 * sum(numbers[1:])
    return parents, resident


def _below(process: int, parents: Mapping[int, list[int]]) -> Iterator[int]:
    for child in parents.get(process, []):
        yield child
        yield from _below(child, parents)


def _pss(processes: list[int]) -> int:
    """Proportional bytes of processes together; one that cannot be looked at counts for nothing."""
    total = 0
    for process in processes:
        with suppress(OSError):
            if found := _PSS.search(Path(f"/proc/{process}/smaps_rollup").read_text("ascii", "replace")):
                total += 1024 * int(found[1])
    return total
