"""A course's own server on a running site, as its teacher uses it: where the product's grading is measured."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.errors import BenchmarkFailed
from bench.graded_course import ASSIGNMENT, COURSE
from bench.http import HubSide
from bench.site import NODE, PARTITION, BenchSite, description, running_site, token_of
from bench.spawn_latency import say

ACCOUNT = f"course-{COURSE}"
PROFILE = "nakijken"
LONGEST_SECONDS = 3600.0
_LOOK_SECONDS = 0.02
_CLOSELY_SECONDS = 60.0
_REQUEST_SECONDS = 120.0

Marks = dict[str, dict[str, float | None]]
"""By student and check, what the tests gave; None where they gave nothing."""


@dataclass(frozen=True)
class ClassRun:
    """One run over the class.

    Args:
        seconds: from the teacher's click until all marks stand in the gradebook.
        warm_seconds: the part of it since the first notebook could begin: imports had been done then.
        failed: why somebody has no marks, by student.
    """

    seconds: float
    warm_seconds: float
    failed: Mapping[str, str]


@dataclass(frozen=True)
class CourseServer:
    """A course's running server.

    Args:
        site: whose it is.
        client: reaches it through the proxy, as a teacher.
    """

    site: BenchSite
    client: httpx.Client

    @property
    def run(self) -> str:
        """Address of the class's run."""
        return f"formgrader/api/assignment/{ASSIGNMENT}/class_run"

    def grade(self, people: int) -> ClassRun:
        """Let the tests grade everybody, as the teacher's button does.

        Args:
            people: how many have handed in something that has no marks.

        Raises:
            BenchmarkFailed: the run does not begin or does not end.
        """
        before = set(self.site.state.jobs.iterdir())
        begin, warm = time.monotonic(), 0.0
        answer = self.client.post(self.run)
        if answer.status_code != 202 or answer.json()["total"] != people:
            raise BenchmarkFailed(f"The class's run did not begin: {answer.status_code} {answer.text[:400]}")
        while (now := time.monotonic()) - begin < LONGEST_SECONDS:
            if not warm and self._first_has_begun(before):
                warm = now
            time.sleep(_LOOK_SECONDS if now - begin < _CLOSELY_SECONDS else 10 * _LOOK_SECONDS)
            told = self.client.get(self.run).json()
            if told["done"] + len(told["failed"]) >= people or not told["running"]:
                end = time.monotonic()
                self._until_ended()
                return ClassRun(end - begin, end - (warm or begin), told["failed"])
        raise BenchmarkFailed(f"The class was not graded within {LONGEST_SECONDS:.0f} s.")

    def _until_ended(self) -> None:
        """Wait for the end of the job, in which no mark is given any more."""
        until = time.monotonic() + LONGEST_SECONDS
        while self.client.get(self.run).json()["running"]:
            if time.monotonic() > until:
                raise BenchmarkFailed("The class's run does not end.")
            time.sleep(_LOOK_SECONDS)

    def _first_has_begun(self, before: set[Path]) -> bool:
        """Whether the job has begun with its first notebook, whose home is made just before it is forked."""
        # The folder's name is the batch's own (leerlab_lab.forked.batch, .notebook).
        return any(
            next(folder.glob("home/.runs-*/home-*"), None) is not None
            for folder in set(self.site.state.jobs.iterdir()) - before
        )

    def process(self) -> int:
        """Number of the server's own process, inside its wall."""
        needle = b"leerlab_lab.formgrader"
        for place in Path("/proc").glob("[0-9]*"):
            try:
                words = (place / "cmdline").read_bytes().split(b"\0")
                environment = (place / "environ").read_bytes()
            except OSError:
                continue
            if words[1:3] == [b"-m", needle] and f"JUPYTERHUB_USER={ACCOUNT}".encode() in environment:
                return int(place.name)
        raise BenchmarkFailed("The course's server has no process.")


def resident(process: int) -> tuple[int, int]:
    """Bytes that a process has in memory now, and the most that it ever had (proc(5), VmRSS and VmHWM)."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text("ascii", "replace").splitlines()
    )
    now, most = (int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    return now, most


@contextmanager
def running_course_site(folder: Path, catalogue: Path, cell_seconds: int, slots: int) -> Iterator[BenchSite]:
    """A site with the measured course, which has released its assignment.

    Args:
        folder: an empty folder with a short path.
        catalogue: the course's folder as the catalogue would have it.
        cell_seconds: most for one cell.
        slots: how many notebooks run side by side.
    """
    given: dict[str, Any] = description(0)
    title = {"nl": "Nakijken", "en": "Grading"}
    profile = {
        "id": PROFILE, "title": title, "partition": PARTITION, "cpus": slots, "memory": "1G", "time": "2h",
        "groups": ["nobody"],
    }  # fmt: skip
    cluster = {
        **given["cluster"],
        # Room for the course's server and one job, so that no more runs at once than this machine has cores for.
        "nodes": [{"name": NODE, "cpus": 2 * slots, "memory": "16G"}],
    }
    other = {
        "cluster": cluster,
        "profiles": [*given["profiles"], profile],
        "courses": [{"id": COURSE, "folder": str(catalogue), "profile": "cpu-small", "released": [ASSIGNMENT]}],
        "grading": {"profile": PROFILE, "cell_time": f"{cell_seconds}s", "notebook_time": "10m"},
    }
    with running_site(folder, say, other=other) as site:
        yield site


@contextmanager
def course_server(site: BenchSite) -> Iterator[CourseServer]:
    """Start the course's server through the hub, and stop it."""
    host = f"{site.site.hub.domain}:{site.site.hub.port}"
    address = f"http://127.0.0.1:{site.site.hub.port}"
    token = token_of(site.state, ACCOUNT)
    side = HubSide(
        name="the course's server", address=address, hub_host=host, server_host=f"{ACCOUNT}.{host}", user=ACCOUNT,
        server="", token=token, log=str(site.state.logs / "hub.log"),
    )  # fmt: skip
    side.start()
    headers = {"Authorization": f"token {token}", "Host": side.server_host}
    try:
        with httpx.Client(
            base_url=f"{address}/user/{ACCOUNT}/", headers=headers, timeout=_REQUEST_SECONDS, trust_env=False
        ) as client:
            yield CourseServer(site, client)
    finally:
        side.stop()


def marks_in(gradebook: Path) -> Marks:
    """What a gradebook of nbgrader 0.9.6 holds of the tests' own points.

    Args:
        gradebook: its SQLite file, which nobody writes to meanwhile.
    """
    question = """
        select submitted_assignment.student_id, base_cell.name, grade.auto_score from grade
        join base_cell on base_cell.id = grade.cell_id
        join submitted_notebook on submitted_notebook.id = grade.notebook_id
        join submitted_assignment on submitted_assignment.id = submitted_notebook.assignment_id
    """
    found: Marks = {}
    with closing(sqlite3.connect(f"file:{gradebook}?mode=ro", uri=True)) as book:
        for student, check, score in book.execute(question):
            found.setdefault(str(student), {})[str(check)] = None if score is None else float(score)
    return found


def put_back(course: Path, kept: Path) -> None:
    """Make a course folder what a copy of it was.

    Args:
        course: nbgrader's folder of the course, in which no server runs.
        kept: the copy.
    """
    for place in list(course.iterdir()):
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    shutil.copytree(kept, course, dirs_exist_ok=True, symlinks=True)
