"""Hundreds of pieces of work: whether each takes as long as in a small class, what the course's own server takes for it
in memory, and how long its teacher waits for a page about 600 students.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.course_people import hand_in_by_exchange, let_in
from bench.course_server import CourseServer, course_server, marks_in, put_back, resident, running_course_site
from bench.errors import BenchmarkFailed
from bench.graded_course import ASSIGNMENT, CHECKS, COURSE, Kind, Work, benign, hand_in, write_course
from bench.grading_limit import bare_forks
from bench.result import Result
from bench.site import BenchSite
from bench.spawn_latency import FOLDER, not_quiet, say, settle

NAME = "grade-scale"
SIZES = (300, 1000)
PEOPLE = 600
LIMIT_SIZE = 100
CELL_SECONDS, SLOTS = 30, 2
GOAL_LINEAR, GOAL_PAGE_SECONDS = 0.10, 1.0
PAGES = {
    "assignments": "formgrader/manage_assignments",
    "handed in": f"formgrader/manage_submissions/{ASSIGNMENT}/",
    "students": "formgrader/manage_students",
    "marking": "formgrader/gradebook",
    "everybody's notebook": f"formgrader/gradebook/{ASSIGNMENT}/{ASSIGNMENT}",
}
"""A teacher's pages on which everybody stands or counts."""
_LOOKS = 5
_MEBIBYTE = 2**20


@dataclass
class Measured:
    """The values so far.

    Args:
        each: seconds of each piece of work, by size of the class.
        memory: the most bytes that the course's server had, by size.
        before: bytes that it had before anything was graded.
        first: seconds of each page when it is opened for the first time on a server that has just started.
        again: and when it is opened once more; medians of `_LOOKS`.
        forks: seconds of each piece of work in bare forks.
    """

    each: dict[int, list[float]] = field(default_factory=dict)
    memory: dict[int, list[int]] = field(default_factory=dict)
    before: list[int] = field(default_factory=list)
    first: dict[str, list[float]] = field(default_factory=dict)
    again: dict[str, list[float]] = field(default_factory=dict)
    forks: list[float] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Course:
    """What is measured.

    Args:
        sizes: of the classes.
        people: students on the pages.
        limit_size: pieces of work of the bare forks.
    """

    sizes: Sequence[int] = SIZES
    people: int = PEOPLE
    limit_size: int = LIMIT_SIZE


def run(n: int) -> Result:
    """Both sizes, the pages and the bare forks, each repetition.

    Args:
        n: repetitions.

    Raises:
        LeerlabError: the site does not start, or somebody gets no marks.
    """
    return measure(n, Course())


def measure(n: int, course: Course) -> Result:
    """The same with other sizes."""
    folder = Path(tempfile.mkdtemp(prefix=FOLDER, dir="/tmp"))
    measured = Measured()
    try:
        catalogue = folder / "catalogue"
        catalogue.mkdir()
        write_course(catalogue)
        with running_course_site(folder, catalogue, CELL_SECONDS, SLOTS) as site:
            everybody = benign(max(*course.sizes, course.people))
            let_in(site, everybody)
            released = folder / "released"
            shutil.copytree(site.state.courses / COURSE, released, symlinks=True)
            hand_in_by_exchange(site, everybody[: course.people], folder / "sent")
            for turn in range(n):
                say(f"repetition {turn + 1} of {n}")
                measured.loads.append(os.getloadavg()[0])
                for size in course.sizes[:: 1 if turn % 2 == 0 else -1]:
                    _grade(site, released, everybody[:size], measured)
                _limit(site, everybody[: course.limit_size], folder / "bare", measured)
                _pages(site, released, everybody[: course.people], measured)
    except BaseException:
        say(f"the logs stay in {folder}")
        raise
    shutil.rmtree(folder)
    return _result(measured, course)


def _grade(site: BenchSite, released: Path, work: Sequence[Work], measured: Measured) -> None:
    """Grade a class that has handed in and of which nothing was graded."""
    say(f"{NAME}: {len(work)} pieces of work")
    course = site.state.courses / COURSE
    put_back(course, released)
    hand_in(course, work)
    settle(site.slurm_conf)
    with course_server(site) as server:
        process = server.process()
        measured.before.append(resident(process)[0])
        seconds = server.grade(len(work)).seconds
        measured.memory.setdefault(len(work), []).append(resident(process)[1])
    measured.each.setdefault(len(work), []).append(seconds / len(work))
    _all_have_marks(course, work)


def _pages(site: BenchSite, released: Path, work: Sequence[Work], measured: Measured) -> None:
    """Collect and grade the work of everybody, then look at each page on a server that has just started."""
    course = site.state.courses / COURSE
    put_back(course, released)
    with course_server(site) as server:
        say(f"{NAME}: the pages of {len(work)} students: collecting and grading")
        collected = server.client.post(f"formgrader/api/assignment/{ASSIGNMENT}/collect", timeout=1800).json()
        if not collected["success"]:
            raise BenchmarkFailed(f"Not everything could be collected: {str(collected)[-2000:]}")
        server.grade(len(work))
    _all_have_marks(course, work)
    for name, path in PAGES.items():
        with course_server(site) as server:
            measured.first.setdefault(name, []).append(_look(server, path))
            looks = [_look(server, path) for _ in range(_LOOKS)]
            measured.again.setdefault(name, []).append(statistics.median(looks))


def _look(server: CourseServer, path: str) -> float:
    begin = time.monotonic()
    answer = server.client.get(path)
    seconds = time.monotonic() - begin
    if answer.status_code != 200:
        raise BenchmarkFailed(f"The page {path} was answered {answer.status_code}.")
    return seconds


def _limit(site: BenchSite, work: Sequence[Work], folder: Path, measured: Measured) -> None:
    folder.mkdir()
    measured.forks.append(bare_forks(site, site.state.courses / COURSE, work, folder).seconds / len(work))


def _all_have_marks(course: Path, work: Sequence[Work]) -> None:
    marks = marks_in(course / "gradebook.db")
    without = [one.student for one in work if None in marks.get(one.student, {"": None}).values()]
    if without or any(len(marks[one.student]) != len(CHECKS) for one in work):
        raise BenchmarkFailed(f"{len(without)} students have no marks: {', '.join(without[:5])}.")
    if any(one.kind is not Kind.BENIGN for one in work):
        raise BenchmarkFailed("Only benign work is measured here.")


def _result(measured: Measured, course: Course) -> Result:
    small, large = min(course.sizes), max(course.sizes)
    each = {size: statistics.median(values) for size, values in measured.each.items()}
    # The start of a job and of its warm process is in every fifty pieces of work.
    linear = each[large] / each[small] - 1
    slowest = max(measured.first, key=lambda name: statistics.median(measured.first[name]))
    most = max(measured.loads)
    notes = [
        f"one piece of work of {large} takes {each[large]:.3f} s, one of {small} {each[small]:.3f} s: "
        f"{linear * 100:+.1f} %; goal: within {GOAL_LINEAR * 100:g} %",
        f"{SLOTS} notebooks side by side, one job of 50 at a time; the peer is the product with the smaller class, "
        f"the limit {course.limit_size} of the same in bare forks of a warm process",
        "memory of the course's own server, which marks: "
        + ", ".join(
            f"at most {statistics.median(values) / _MEBIBYTE:.0f} MiB with {size}"
            for size, values in sorted(measured.memory.items())
        )
        + f"; {statistics.median(measured.before) / _MEBIBYTE:.0f} MiB before anything was graded",
        f"pages of {course.people} students, seconds on a server that has just started, then again: "
        + "; ".join(
            f"{name} {statistics.median(values):.2f}, {statistics.median(measured.again[name]):.2f}"
            for name, values in measured.first.items()
        )
        + f"; the slowest is {slowest}; goal: under {GOAL_PAGE_SECONDS:g} s",
        f"{os.cpu_count()} processors; load average at the start of each repetition at most {most:.2f}",
        *not_quiet(most),
    ]
    return Result(
        NAME, "s", measured.each[large], {f"the product with {small}": measured.each[small]}, measured.forks, notes
    )
