"""Ends a wall that takes more than it may: time, memory of all its processes together, room on the disk."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from confinement.run import Walled

_LOOK_SECONDS = 0.2
_MOST_FILES = 20_000
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Allowance:
    """What one wall may take: `seconds`, and bytes of `memory` and on `disk`."""

    seconds: float
    memory: int
    disk: int


class TookTooMuch(Exception):
    """A wall was ended; the message says what it took too much of: `time`, `memory` or `disk`."""


def wait(walled: Walled, home: Path, allowance: Allowance, look: Callable[[], None]) -> int:
    """Wait for a wall's end.

    Args:
        walled: the wall.
        home: the folder outside that it can write.
        allowance: what it may take.
        look: called at each look.

    Returns:
        Its exit code.

    Raises:
        TookTooMuch: it was ended.
    """
    until = time.monotonic() + allowance.seconds
    while True:
        try:
            return walled.wait(_LOOK_SECONDS)
        except TimeoutError:
            look()
        reason = ""
        if time.monotonic() > until:
            reason = "time"
        elif memory_below(walled.process) > allowance.memory:
            reason = "memory"
        elif size_of(home) > allowance.disk:
            reason = "disk"
        if reason:
            walled.terminate()
            raise TookTooMuch(reason)


def memory_below(process: int) -> int:
    """Resident bytes of a process and all below it. Pages that they share count for each: never too little."""
    parents: dict[int, list[int]] = {}
    resident: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        name = folder.name
        try:
            said = (folder / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        # The command's name stands in brackets and may hold anything (proc_pid_stat(5)).
        fields = said.rpartition(")")[2].split()
        parents.setdefault(int(fields[1]), []).append(int(name))
        resident[int(name)] = int(fields[21]) * _PAGE
    total, waiting = 0, [process]
    while waiting:
        one = waiting.pop()
        total += resident.get(one, 0)
        waiting += parents.get(one, [])
    return total


def size_of(folder: Path) -> int:
    """Bytes on the disk below a folder; more than any allowance where there are too many files to look at."""
    total, seen, waiting = 0, 0, [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    seen += 1
                    if seen > _MOST_FILES:
                        return 2**62
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:
            # It was there when its folder was read; what is gone takes no room.
            continue
    return total
