"""A class is graded: by the product's own button, by nbgrader, otter-grader and grader-service, and by bare forks."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.course_server import Marks, course_server, marks_in, put_back, running_course_site
from bench.errors import BenchmarkFailed
from bench.graded_course import COURSE, Kind, Work, class_of_30, hand_in, write_course
from bench.grading_limit import bare_forks
from bench.grading_peers import NBGRADER, Peers, differences, peers_environment
from bench.result import Result
from bench.site import BenchSite
from bench.spawn_latency import FOLDER, not_quiet, say, settle

NAME = "grade-class"
CELL_SECONDS = 10
"""Most for one cell, on every side."""
SLOTS = 2
"""Notebooks side by side: the cores of the machine that the goals are for."""
GOAL, GOAL_OF_LIMIT = 12.0, 3.0


@dataclass
class Measured:
    """The values of all sides so far, in seconds.

    Args:
        product: the whole class, from the click until all marks stand in the gradebook.
        peers: the whole class, by peer.
        benign: the product with the benign work alone, the whole of it.
        warm: the part of that since the first notebook could begin.
        forks: the same benign work in bare forks of a warm process.
        boots: until that process was warm.
    """

    product: list[float] = field(default_factory=list)
    peers: dict[str, list[float]] = field(default_factory=dict)
    benign: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    forks: list[float] = field(default_factory=list)
    boots: list[float] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)
    marks: dict[str, Marks] = field(default_factory=dict)


@dataclass(frozen=True)
class Bench:
    """What is measured in turn.

    Args:
        site: the product's.
        peers: all of them.
        folder: the benchmark's own.
        work: the whole class.
    """

    site: BenchSite
    peers: Peers
    folder: Path
    work: Sequence[Work]

    @property
    def course(self) -> Path:
        """nbgrader's folder of the course, where the product grades."""
        return self.site.state.courses / COURSE

    def repetition(self, measured: Measured, turn: int) -> None:
        """Measure each side once, the next one first each time."""
        measured.loads.append(os.getloadavg()[0])
        sides = ["product", "benign", *self.peers.names]
        for place in range(len(sides)):
            side = sides[(turn + place) % len(sides)]
            say(f"{NAME}: {side}")
            settle(self.site.slurm_conf)
            if side == "product":
                measured.product.append(self._product(self.work, measured)[0])
            elif side == "benign":
                self._benign(measured)
            else:
                graded = self.peers.grade(side, self._kept(self.work))
                measured.peers.setdefault(side, []).append(graded.seconds)
                measured.marks.setdefault(side, graded.marks)

    def _benign(self, measured: Measured) -> None:
        """The product with the benign work alone, and then the same cells in bare forks."""
        benign = [one for one in self.work if one.kind is Kind.BENIGN]
        whole, warm = self._product(benign, None)
        measured.benign.append(whole)
        measured.warm.append(warm)
        inside = self.folder / "bare"
        inside.mkdir()
        bare = bare_forks(self.site, self.course, benign, inside)
        measured.forks.append(bare.seconds)
        measured.boots.append(bare.boot)

    def _product(self, work: Sequence[Work], measured: Measured | None) -> tuple[float, float]:
        put_back(self.course, self._kept(work))
        with course_server(self.site) as server:
            run = server.grade(len(work))
        if run.failed:
            raise BenchmarkFailed(f"The product did not grade everybody: {run.failed}")
        if measured is not None:
            measured.marks.setdefault("product", marks_in(self.course / "gradebook.db"))
        return run.seconds, run.warm_seconds

    def _kept(self, work: Sequence[Work]) -> Path:
        """A course folder in which this work waits and nothing was ever graded; the same for every side."""
        place = self.folder / f"kept-{len(work)}"
        if not place.exists():
            # The first one is asked for before anything was graded.
            shutil.copytree(self.folder / "released", place, symlinks=True)
            hand_in(place, work)
        return place


def run(n: int) -> Result:
    """All sides in turn, each repetition.

    Args:
        n: repetitions.

    Raises:
        LeerlabError: a side does not start or does not grade.
    """
    return measure(n, class_of_30())


def measure(n: int, work: Sequence[Work], *, all_peers: bool = True) -> Result:
    """The same with another class.

    Args:
        n: repetitions.
        work: what was handed in.
        all_peers: whether otter-grader and grader-service are measured beside nbgrader.
    """
    measured = Measured()
    with _bench(work, all_peers=all_peers) as bench:
        for turn in range(n):
            say(f"repetition {turn + 1} of {n}")
            bench.repetition(measured, turn)
    loop = CELL_SECONDS if any(one.kind is Kind.LOOPS for one in work) else 0
    limit = [boot + max(loop, forks) for boot, forks in zip(measured.boots, measured.forks, strict=True)]
    return Result(NAME, "s", measured.product, measured.peers, limit, _notes(measured, work))


@contextmanager
def _bench(work: Sequence[Work], *, all_peers: bool) -> Iterator[Bench]:
    folder = Path(tempfile.mkdtemp(prefix=FOLDER, dir="/tmp"))
    try:
        catalogue = folder / "catalogue"
        catalogue.mkdir()
        write_course(catalogue)
        with running_course_site(folder, catalogue, CELL_SECONDS, SLOTS) as site:
            shutil.copytree(site.state.courses / COURSE, folder / "released", symlinks=True)
            own = peers_environment(site.installation.notebook_env) if all_peers else None
            yield Bench(site, Peers(site.installation.notebook_env, own, folder, CELL_SECONDS), folder, work)
    except BaseException:
        say(f"the logs stay in {folder}")
        raise
    shutil.rmtree(folder)


def _notes(measured: Measured, work: Sequence[Work]) -> list[str]:
    nbgrader, product = (statistics.median(each) for each in (measured.peers[NBGRADER], measured.product))
    benign, warm, forks, boot = (
        statistics.median(each) for each in (measured.benign, measured.warm, measured.forks, measured.boots)
    )
    kinds = {one.student: str(one.kind) for one in work}
    count = {kind: sum(one.kind is kind for one in work) for kind in Kind}
    most = max(measured.loads)
    return [
        f"{len(work)} submissions of one notebook with 8 checks that trains a small PyTorch model: "
        f"{count[Kind.BENIGN]} benign, {count[Kind.LOOPS]} that loop, {count[Kind.KILLS]} that kills Python; at most "
        f"{CELL_SECONDS} s for a cell on every side",
        "product: from the teacher's click until all marks stand in the gradebook, with Slurm, walls and the start of "
        f"the warm process; {SLOTS} notebooks side by side; nbgrader, otter and grader-service run without a wall",
        f"nbgrader took {nbgrader / product:.1f} times as long as the product; goal: at least {GOAL:g}",
        f"limit: until a process is warm ({boot:.2f} s), and then a loop's {CELL_SECONDS} s, or the benign cells in "
        "bare forks where those take longer; no side that starts a Python can be faster",
        f"the benign ones alone: product {benign:.2f} s from the click; {warm:.2f} s of it since the first notebook "
        f"could begin, which is {warm / forks:.2f} times the {forks:.2f} s that their cells alone take in forks of a "
        f"warm process behind the same walls, {SLOTS} at a time, without messages and marks; "
        f"goal: at most {GOAL_OF_LIMIT:g}",
        *(
            line
            for name in measured.peers
            for line in differences(name, measured.marks["product"], measured.marks[name], kinds)
        ),
        f"{os.cpu_count()} processors; load average at the start of each repetition at most {most:.2f}",
        *not_quiet(most),
    ]
