"""What the wall costs: a process's start behind it, and work that computes or uses files, beside a bare process."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from base.paths import Installation, State
from bench.errors import BenchmarkFailed
from bench.result import Result
from bench.spawn_latency import FOLDER, not_quiet, say
from confinement.run import start
from confinement.seccomp import write_filters
from confinement.settings import ConfinementSettings
from confinement.wall import DEFAULT_ENVIRONMENT, HOME, Bind, Wall
from grading.plans import notebook_binds, seccomp_of

NAME = "confine-overhead"
PEER = "bare process"
STARTS, RUNS = 10, 3
"""In one repetition: pairs of starts, and pairs of each kind of work."""
GOAL_START_SECONDS, GOAL_RUN = 0.080, 0.02
KINDS = ("compute", "files")
_PROGRAM = Path(__file__).with_name("confine_program.py")
_INSIDE = Path("/opt/bench/confine_program.py")
_PYTHON = ("/usr/bin/python3", "-I", "-S")
_NOTHING = ("/bin/true",)
_SECONDS = 120.0


@dataclass
class Measured:
    """Seconds, in pairs: behind the wall and bare."""

    walled: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)

    @property
    def more(self) -> float:
        """Median of what the wall adds to each pair."""
        return statistics.median(walled - bare for walled, bare in zip(self.walled, self.bare, strict=True))

    @property
    def part(self) -> float:
        """The same as a part of the bare process's time."""
        return statistics.median(walled / bare for walled, bare in zip(self.walled, self.bare, strict=True)) - 1


@dataclass(frozen=True)
class Sides:
    """Both sides.

    Args:
        wall: of a graded notebook or a lab: the same folders are visible inside.
        home: the folder that both work in.
    """

    wall: Wall
    home: Path

    def walled(self, command: Sequence[str]) -> tuple[float, str]:
        """Seconds from the wall's start to the end of the command behind it, and what it printed."""
        begin = time.perf_counter()
        with start(replace(self.wall, command=tuple(command))) as walled:
            code = walled.wait(_SECONDS)
            seconds = time.perf_counter() - begin
        return seconds, self._well(code, walled.output.decode(errors="replace"))

    def bare(self, command: Sequence[str]) -> tuple[float, str]:
        """The same for a process without a wall, with the same environment."""
        begin = time.perf_counter()
        done = subprocess.run(
            list(command), cwd=self.home, env={**DEFAULT_ENVIRONMENT, "HOME": str(self.home)}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_SECONDS, check=False,
            # A session of its own, as behind the wall: the scheduler gives each its share (sched(7), autogroup).
            start_new_session=True,
        )  # fmt: skip
        return time.perf_counter() - begin, self._well(done.returncode, done.stdout)

    def work(self, kind: str, *, walled: bool) -> float:
        """Seconds that the work itself took, by its own clock."""
        if walled:
            _, printed = self.walled([*_PYTHON, str(_INSIDE), kind, HOME])
        else:
            _, printed = self.bare([*_PYTHON, str(_PROGRAM), kind, str(self.home)])
        return float(printed.split()[0])

    @staticmethod
    def _well(code: int, printed: str) -> str:
        if code:
            raise BenchmarkFailed(f"{NAME}: a process ended with {code}: {printed[-1000:]}")
        return printed


def run(n: int) -> Result:
    """Pairs of starts and of work, in turn.

    Args:
        n: repetitions, each of `STARTS` pairs of starts and `RUNS` pairs of each kind of work.

    Raises:
        LeerlabError: the wall cannot be built here, or a process fails.
    """
    starts, work, loads = Measured(), {kind: Measured() for kind in KINDS}, []
    with tempfile.TemporaryDirectory(prefix=FOLDER, dir="/tmp") as place:
        sides = _sides(Path(place))
        _start(sides, Measured(), walled_first=True)
        for turn in range(n):
            say(f"repetition {turn + 1} of {n}")
            loads.append(os.getloadavg()[0])
            for number in range(STARTS):
                _start(sides, starts, walled_first=(turn + number) % 2 == 0)
            for number in range(RUNS):
                for kind, found in work.items():
                    _work(sides, found, kind, walled_first=(turn + number) % 2 == 0)
    return Result(NAME, "s", starts.walled, {PEER: starts.bare}, starts.bare, _notes(starts, work, loads))


def _start(sides: Sides, found: Measured, *, walled_first: bool) -> None:
    for walled in (walled_first, not walled_first):
        measured, into = (sides.walled, found.walled) if walled else (sides.bare, found.bare)
        into.append(measured(_NOTHING)[0])


def _work(sides: Sides, found: Measured, kind: str, *, walled_first: bool) -> None:
    for walled in (walled_first, not walled_first):
        (found.walled if walled else found.bare).append(sides.work(kind, walled=walled))


def _sides(place: Path) -> Sides:
    state, installation = State(place / "s").checked(), Installation.current()
    state.make()
    write_filters(state.generated)
    home = place / "home"
    home.mkdir()
    binds = (*notebook_binds(installation, state), Bind(_PROGRAM, _INSIDE))
    wall = Wall(
        command=_NOTHING, home=home, seccomp=seccomp_of(state), binds=binds, root=installation.image,
        **ConfinementSettings().sizes(),
    )  # fmt: skip
    return Sides(wall, home)


def _notes(starts: Measured, work: dict[str, Measured], loads: Sequence[float]) -> list[str]:
    most = max(loads)
    lines = [
        f"{kind}: {statistics.median(one.bare):.3f} s bare, the wall adds {one.part * 100:+.2f} % "
        f"(median of {len(one.bare)} pairs); goal: under {GOAL_RUN * 100:g} %"
        for kind, one in work.items()
    ]
    return [
        f"start: the wall adds {starts.more * 1000:.1f} ms (median of {len(starts.bare)} pairs) to the start and end "
        f"of a program that does nothing; goal: under {GOAL_START_SECONDS * 1000:.0f} ms",
        *lines,
        "product and peer in turn, each first as often as the other; work by its own clock, so without the start; "
        "the wall is a lab's, with the notebook environment and the catalogue in it; the limit is the bare process",
        f"{os.cpu_count()} processors; load average at the start of each repetition at most {most:.2f}",
        *not_quiet(most),
    ]
