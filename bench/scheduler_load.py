"""What a hub costs the scheduler and its own machine while servers run and wait: remote calls and processor time."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.light_hubs import POLLS, PRODUCT, LightHub, forget, light_hub, peer
from bench.light_slurm import SETTINGS, LightSlurm, light_slurm
from bench.result import Result
from bench.spawn_latency import FOLDER, say

NAME = "scheduler-load"
RUNNING = (0, 10, 50, 200)
PENDING = (20, 50)
GOAL = 40
"""Remote calls a minute that the product may cost at any level."""
WINDOW_SECONDS = 60.0
# What a level gets to come to rest: longer than the product looks fast after a start, and than one idle interval.
SETTLE_SECONDS = 20.0
START_SECONDS = 1800.0
_AT_ONCE = 10


@dataclass(frozen=True)
class Level:
    """How many servers there are.

    Args:
        running: that are ready.
        pending: that wait in Slurm's queue.
    """

    running: int
    pending: int

    def __str__(self) -> str:
        return f"{self.pending} pending" if self.pending else f"{self.running} running"


@dataclass(frozen=True)
class Cost:
    """What one side cost at one level.

    Args:
        calls: remote procedure calls a minute.
        processor: seconds of processor time of the hub and its children, a minute.
    """

    calls: float
    processor: float


@dataclass(frozen=True)
class Course:
    """What is measured.

    Args:
        windows: at each level.
        levels: in their order, those that run first.
        window: seconds of one window.
        settle: seconds that a level gets to come to rest.
    """

    windows: int
    levels: Sequence[Level]
    window: float = WINDOW_SECONDS
    settle: float = SETTLE_SECONDS


Costs = dict[Level, list[Cost]]


def levels(running: Sequence[int] = RUNNING, pending: Sequence[int] = PENDING) -> list[Level]:
    """All levels, in the order in which they are measured."""
    return [*(Level(number, 0) for number in running), *(Level(0, number) for number in pending)]


def run(n: int) -> Result:
    """Product and both peers at every level, one side after another on the same Slurm.

    Args:
        n: minutes that are measured at each level.

    Raises:
        LeerlabError: a side does not start, or its servers do not.
    """
    return measure(Course(n, levels()))


def measure(course: Course) -> Result:
    """The same with levels and times of the caller's."""
    folder = Path(tempfile.mkdtemp(prefix=FOLDER, dir="/tmp"))
    costs: dict[str, Costs] = {}
    try:
        with light_slurm(folder) as slurm:
            question = _question(slurm)
            for poll in (None, *POLLS):
                name = PRODUCT if poll is None else peer(poll)
                with light_hub(slurm, folder / f"hub-{len(costs)}", poll) as hub:
                    costs[name] = _side(slurm, hub, course)
                slurm.empty()
    except BaseException:
        say(f"the logs stay in {folder}")
        raise
    forget(folder)
    return _result(costs, course, question)


def _question(slurm: LightSlurm) -> int:
    """Remote calls of one look at the whole queue."""
    before = slurm.calls()
    slurm.ask("squeue", "--noheader")
    return slurm.calls() - before


def _side(slurm: LightSlurm, hub: LightHub, course: Course) -> Costs:
    found: Costs = {}
    there = 0
    with hub.client() as client:
        for level in course.levels:
            if level.pending and not any(each.pending for each in found):
                # From the servers that run to those that wait: nothing of the one is left in the other.
                slurm.empty()
                there = 0
                slurm.until(lambda: not hub.standing(client), f"{hub.name} knows of no server", 300)
                slurm.fill_the_queue()
            say(f"{NAME}: {hub.name}, {level}")
            _reach(slurm, hub, client, there, level)
            there = level.pending or level.running
            time.sleep(course.settle)
            found[level] = [_cost(slurm, hub, course.window) for _ in range(course.windows)]
            _still_there(hub, client, level)
    return found


def _reach(slurm: LightSlurm, hub: LightHub, client: httpx.Client, there: int, level: Level) -> None:
    """Start as many servers as the level has more than there are."""
    letter, number = ("q", level.pending) if level.pending else ("r", level.running)
    for first in range(there, number, _AT_ONCE):
        last = min(first + _AT_ONCE, number)
        for server in range(first, last):
            hub.ask_for(client, f"{letter}{server:03d}")
        if level.pending:
            slurm.until(lambda last=last: slurm.jobs("PENDING") == last, f"{last} of {hub.name} wait", START_SECONDS)
        else:
            slurm.until(lambda last=last: _ready(hub, client) == last, f"{last} of {hub.name} are ready", START_SECONDS)


def _ready(hub: LightHub, client: httpx.Client) -> int:
    return sum(standing == "ready" for standing in hub.standing(client).values())


def _still_there(hub: LightHub, client: httpx.Client, level: Level) -> None:
    standing = list(hub.standing(client).values())
    if level.pending and standing.count("spawn") != level.pending:
        raise hub.failed(f"of {level.pending} starts that waited {standing.count('spawn')} still do")
    if not level.pending and standing.count("ready") != level.running:
        raise hub.failed(f"of {level.running} servers {standing.count('ready')} are still ready")


def _cost(slurm: LightSlurm, hub: LightHub, window: float) -> Cost:
    calls, spent, begin = slurm.calls(), hub.processor_seconds(), time.monotonic()
    time.sleep(window)
    minutes = (time.monotonic() - begin) / 60
    return Cost((slurm.calls() - calls) / minutes, (hub.processor_seconds() - spent) / minutes)


def _result(costs: dict[str, Costs], course: Course, question: int) -> Result:
    """The worst level of each window, which is what the goal is about, and a table of all."""
    worst = {
        name: [max(found[level][place].calls for level in course.levels) for place in range(course.windows)]
        for name, found in costs.items()
    }
    per_minute = 60 / SETTINGS.interval.idle * question
    notes = [
        f"remote calls a minute at the worst of the levels (goal: at most {GOAL}); "
        "the table has the median of each level, and seconds of processor time of the hub and its children a minute",
        f"limit: one look at the whole queue ({question} calls) every {SETTINGS.interval.idle:g} s",
        f"{course.windows} windows of {course.window:g} s at each level, one hub at a time on the same Slurm; "
        "without the calls of sdiag itself",
        f"{os.cpu_count()} processors; load average at the end {os.getloadavg()[0]:.2f}",
        *(
            f"{level}: "
            + "; ".join(
                f"{name} {statistics.median(cost.calls for cost in found[level]):.1f} calls, "
                f"{statistics.median(cost.processor for cost in found[level]):.2f} s"
                for name, found in costs.items()
            )
            for level in course.levels
        ),
    ]
    return Result(NAME, "remote calls a minute", worst.pop(PRODUCT), worst, [per_minute] * course.windows, notes)
