"""The peers of grading, each set as fast as its own settings allow: nbgrader, otter-grader, grader-service's converter.

nbgrader runs in the product's own notebook environment. The other two have an environment of their own, made here from
`locks/grading-peers.txt` (pinned, with hashes) on top of that one, so that a notebook finds the same numpy and torch on
every side. None of them runs behind a wall.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.course_server import Marks, marks_in
from bench.errors import BenchmarkFailed
from bench.graded_course import ASSIGNMENT, COURSE
from bench.spawn_latency import say

LOCK = Path(__file__).parent / "locks" / "grading-peers.txt"
PYTHON = "/usr/bin/python3"
NBGRADER = "nbgrader 0.9.6, one process"
OTTER = "otter-grader 7.0.0, one process"
GRADER_SERVICE = "grader-service 0.12.5's converter, one process"
LONGEST_SECONDS = 3600.0
_PROGRAM = Path(__file__).with_name("grading_peer_program.py")
_INSTALL_SECONDS = 1800.0
# nbgrader as it is published, with the limit of all sides and its fastest way to end a kernel.
_NBGRADER = """c = get_config()
c.CourseDirectory.course_id = {course!r}
c.Execute.timeout = {seconds}
c.Execute.shutdown_kernel = "immediate"
"""


@dataclass(frozen=True)
class Graded:
    """What one side did.

    Args:
        seconds: from the start of its process to its end.
        marks: by student and check.
    """

    seconds: float
    marks: Marks


@dataclass(frozen=True)
class Peers:
    """The peers, ready to grade.

    Args:
        notebook_env: the product's notebook environment.
        own_env: that of otter-grader and grader-service; None where only nbgrader is asked for.
        scratch: a folder for copies of the course.
        cell_seconds: most for one cell.
    """

    notebook_env: Path
    own_env: Path | None
    scratch: Path
    cell_seconds: int

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return (NBGRADER, *((OTTER, GRADER_SERVICE) if self.own_env else ()))

    def grade(self, name: str, course: Path) -> Graded:
        """Grade everybody in a copy of a course.

        Args:
            name: of the peer.
            course: nbgrader's folder of the course, with `submitted/` and nothing graded.
        """
        place = self.scratch / "peer"
        shutil.copytree(course, place, symlinks=True)
        try:
            return self._nbgrader(place) if name == NBGRADER else self._other(name, place)
        finally:
            shutil.rmtree(place)

    def _nbgrader(self, place: Path) -> Graded:
        settings = _NBGRADER.format(course=COURSE, seconds=self.cell_seconds)
        (place / "nbgrader_config.py").write_text(settings, "utf-8")
        program = [str(self.notebook_env / "bin" / "python"), "-m", "nbgrader", "autograde", ASSIGNMENT]
        begin = time.monotonic()
        done = self._run(program, place)
        seconds = time.monotonic() - begin
        marks = marks_in(place / "gradebook.db")
        # Work that it gives up makes it end with 1; there is no work that nobody gets marks for.
        if not any(value is not None for checks in marks.values() for value in checks.values()):
            raise BenchmarkFailed(f"nbgrader gave no marks: {done.stderr[-2000:]}")
        return Graded(seconds, marks)

    def _other(self, name: str, place: Path) -> Graded:
        assert self.own_env is not None
        side = "otter" if name == OTTER else "grader-service"
        program = [str(self.own_env / "bin" / "python"), "-P", str(_PROGRAM)]
        self._well(self._run([*program, f"prepare-{side}", str(place)], place), name)
        begin = time.monotonic()
        done = self._run([*program, side, str(place), "--cell-time", str(self.cell_seconds)], place)
        seconds = time.monotonic() - begin
        self._well(done, name)
        return Graded(seconds, json.loads(done.stdout.splitlines()[-1]))

    def _run(self, argv: Sequence[str], place: Path) -> subprocess.CompletedProcess[str]:
        home = self.scratch / "home"
        home.mkdir(exist_ok=True)
        environment = {
            "PATH": f"{Path(argv[0]).parent}:/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8",
            "JUPYTER_CONFIG_DIR": str(home / "jupyter"), "IPYTHONDIR": str(home / "ipython"),
            "MPLCONFIGDIR": str(home / "matplotlib"), "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        return subprocess.run(
            argv, cwd=place, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=LONGEST_SECONDS, check=False,
        )  # fmt: skip

    @staticmethod
    def _well(done: subprocess.CompletedProcess[str], name: str) -> None:
        if done.returncode:
            raise BenchmarkFailed(f"{name} failed: {done.stderr[-2000:]}")


def peers_environment(notebook_env: Path) -> Path:
    """The environment of otter-grader and grader-service, made once for a lock.

    Args:
        notebook_env: whose packages it has beside its own.

    Raises:
        BenchmarkFailed: it cannot be installed.
    """
    digest = hashlib.sha256(LOCK.read_bytes() + os.fsencode(notebook_env)).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "leerlab"
    cache.mkdir(parents=True, exist_ok=True)
    place = cache / f"grading-peers-{digest}"
    with (cache / "grading-peers.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (place / ".complete").exists():
            return place
        say("making the environment of otter-grader and grader-service (once)")
        shutil.rmtree(place, ignore_errors=True)
        packages = place / "lib" / "python3.11" / "site-packages"
        for argv in (
            [PYTHON, "-m", "venv", str(place)],
            [
                str(place / "bin" / "python"), "-m", "pip", "install", "-q", "--no-deps", "--require-hashes",
                "--disable-pip-version-check", "-r", str(LOCK),
            ],
        ):  # fmt: skip
            done = subprocess.run(argv, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
            if done.returncode:
                raise BenchmarkFailed(f"The peers' environment cannot be made: {done.stderr[-2000:]}")
        # Its own packages come first.
        other = notebook_env / "lib" / "python3.11" / "site-packages"
        (packages / "notebook.pth").write_text(f"{other}\n", "utf-8")
        (place / ".complete").touch()
    return place


def differences(name: str, ours: Marks, theirs: Marks, kinds: dict[str, str]) -> list[str]:
    """Where two sides gave other marks: each student whose marks differ, with the sums of both.

    Args:
        name: of the other side.
        ours: the product's.
        theirs: the other side's.
        kinds: what each student's work does, by student.
    """
    found = []
    for student in sorted(ours):
        mine = ours[student]
        other = {check: theirs.get(student, {}).get(check) for check in mine}
        if other != mine:
            sums = [sum(value or 0.0 for value in side.values()) for side in (mine, other)]
            found.append(f"{student} ({kinds[student]}) {sums[0]:g} here, {sums[1]:g} there")
    if not found:
        return [f"marks: the same as of {name}, check by check, for all {len(ours)} students"]
    return [f"marks that differ from those of {name}: {'; '.join(found)}; the others are the same, check by check"]
