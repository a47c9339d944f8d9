"""Processor seconds of one job's processes, those that have ended included. Standard library only.

Where the job has a control group of its own (Slurm with proctrack/cgroup), the kernel counts there, and nothing inside
can make it count less. Elsewhere the tree of processes below the wrapper is read: of each living process its own time
and that of children it has waited for. Processes of a wall cannot leave that tree, but a program that lets the kernel
take its children away unwaited (SIGCHLD ignored, wait(2)) hides what those took after the last look.

Sources: cgroups(7); proc(5), /proc/pid/stat fields 14 to 17; Linux, Documentation/admin-guide/cgroup-v1/cpuacct.rst and
cgroup-v2.rst (cpu.stat).
"""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Callable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
# utime, stime, cutime, cstime: fields 14 to 17 of stat, counted after the name in parentheses.
_TIMES = slice(11, 15)


def counter(job: str, process: int, proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> Counter:
    """What counts this job's processor time.

    Args:
        job: Slurm's number of it; empty outside Slurm.
        process: of the tree that is read where there is no control group of the job's own: the wrapper.
        proc, groups: where the kernel shows processes and control groups.
    """
    group = _group(job, proc, groups) if job else None
    return Group(group) if group is not None else Tree(process, proc)


class Counter:
    """Counts; what it says never becomes less."""

    source = ""

    def __init__(self) -> None:
        self._most = 0.0

    def seconds(self) -> float:
        """Processor seconds so far."""
        self._most = max(self._most, self._look())
        return self._most

    def _look(self) -> float:
        raise NotImplementedError


class Group(Counter):
    """By the job's control group.

    Args:
        read: the kernel's count.
    """

    source = "cgroup"

    def __init__(self, read: Callable[[], float]) -> None:
        super().__init__()
        self._read = read

    def _look(self) -> float:
        try:
            return self._read()
        except (OSError, ValueError):
            return 0.0  # Taken away with the job: the last count stands.


class Tree(Counter):
    """By the tree of processes.

    Args:
        process: the top.
        proc: where the kernel shows processes.
    """

    source = "processes"

    def __init__(self, process: int, proc: Path = Path("/proc")) -> None:
        super().__init__()
        self._top = process
        self._proc = proc

    def _look(self) -> float:
        ticks, seen, open_ones = 0, set[int](), [self._top]
        while open_ones:
            process = open_ones.pop()
            if process in seen:
                continue
            seen.add(process)
            # A parent is read before its children: whoever ends in between is counted once or, until the next look,
            # not at all, but never twice.
            ticks += self._ticks(process)
            open_ones += self._children(process)
        waited = 0.0
        if self._top == os.getpid():
            # What the wrapper has waited for, in finer steps than stat's.
            used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
            waited = sum(one.ru_utime + one.ru_stime for one in used)
        return max(ticks / _TICKS, waited)

    def _ticks(self, process: int) -> int:
        try:
            text = (self._proc / str(process) / "stat").read_text("ascii", "replace")
        except OSError:
            return 0
        return sum(map(int, text.rpartition(")")[2].split()[_TIMES]))

    def _children(self, process: int) -> list[int]:
        found: list[int] = []
        try:
            for thread in (self._proc / str(process) / "task").iterdir():
                found += map(int, (thread / "children").read_text("ascii").split())
        except OSError:
            pass  # It has just ended; its children are somebody else's now, and are found there at the next look.
        return found


def _group(job: str, proc: Path, groups: Path) -> Callable[[], float] | None:
    """How to read the job's own control group; None where it has none."""
    try:
        lines = (proc / "self" / "cgroup").read_text("ascii", "replace").splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        own = re.match(rf"(.*/job_{re.escape(job)})(?:/|$)", path)
        if own is None:
            continue
        below = own[1].lstrip("/")
        if not controllers and (found := groups / below / "cpu.stat").is_file():
            return lambda: _usage(found)
        if "cpuacct" in controllers.split(","):
            for folder in ("cpuacct", controllers):
                usage = groups / folder / below / "cpuacct.usage"
                if usage.is_file():
                    return lambda: int(usage.read_text("ascii")) / 1e9
    return None


def _usage(stat: Path) -> float:
    """`usage_usec` of a cpu.stat."""
    for line in stat.read_text("ascii").splitlines():
        name, _, value = line.partition(" ")
        if name == "usage_usec":
            return int(value) / 1e6
    raise ValueError(f"{stat} has no usage_usec")
