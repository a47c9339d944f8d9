"""Grading everybody's work for one assignment: prepared here, run by the cluster all together, marked here again.

nbgrader's steps are done one after the other in the one thread that may do them; in between the cluster runs up to
`MOST` notebooks in one job. What was not graded, for a reason that is not the student's, says so and is graded again
the next time. A run that is broken off leaves the marks that were there.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbgrader.apps.api import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import capture_log, temp_attrs

from leerlab_lab.halves import FirstHalf, SecondHalf, TakeOver, begun
from leerlab_lab.merge import stripped
from leerlab_lab.preprocessors import FILES, NOTEBOOK, NotGraded, fetched, results_of
from leerlab_lab.service import Service, ServiceError
from leerlab_lab.tree import PlainFile, collect

MOST = 50
"""Notebooks in one job."""
LOOK_SECONDS = 1.0
MOST_NOTES = 10
_WARNING = "[WARNING]"
LONGEST_WAIT = 6 * 3600.0

log = logging.getLogger("leerlab.class_run")


@dataclass
class Item:
    """One notebook of one student.

    Args:
        student: whose.
        notebook: its name in nbgrader.
        sent: the code that runs.
        folder: with the files that go along.
    """

    student: str
    notebook: str
    sent: NotebookNode
    folder: Path


@dataclass
class Batch:
    """Notebooks that run in one job."""

    items: list[Item]
    execution: str = ""
    fetched: set[str] = field(default_factory=set)
    ended: bool = False


class ClassRun:
    """One run over an assignment.

    Args:
        parent: what nbgrader's converters are configured by.
        assignment: its name.
        students: whose work is graded.
        steps: the executor of one thread in which nbgrader's steps are done.
    """

    def __init__(self, parent: Any, assignment: str, students: Sequence[str], steps: Executor) -> None:
        self._parent, self.assignment, self._steps = parent, assignment, steps
        self._students = list(students)
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"class run of {assignment}", daemon=True)
        self.stage = "preparing"
        self.done: list[str] = []
        self.failed: dict[str, str] = {}
        self.noted: dict[str, list[str]] = {}
        """What a teacher should look at, such as a test cell that was changed."""

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread.start()

    def cancel(self) -> None:
        """Stop after what is being marked now; what was marked stays so."""
        self._cancelled.set()

    def told(self) -> dict[str, Any]:
        """How far it is, for a page."""
        return {
            "running": self.running, "stage": self.stage, "done": len(self.done), "total": len(self._students),
            "failed": dict(self.failed), "noted": dict(self.noted), "cancelled": self._cancelled.is_set(),
        }  # fmt: skip

    def _run(self) -> None:
        try:
            items = self._prepared()
            if items and not self._cancelled.is_set():
                self._graded(items)
        except ServiceError as error:
            self._rest_failed(str(error))
        except Exception as error:
            log.exception("The run over %s was broken off", self.assignment)
            self._rest_failed(repr(error))
        finally:
            for student in self._students:
                shutil.rmtree(begun(self._course(), self.assignment, student), ignore_errors=True)
            self.stage = "ended"

    def _prepared(self) -> list[Item]:
        """The first half for every student."""
        items: list[Item] = []
        for student in self._students:
            if self._cancelled.is_set():
                break
            said = self._step(FirstHalf, student)
            if not said["success"]:
                self.failed[student] = _reason(said)
                continue
            folder = begun(self._course(), self.assignment, student)
            for file in sorted(folder.glob("*.ipynb")):
                items.append(Item(student, file.stem, stripped(nbformat.read(file, 4)), folder))
        return items

    def _graded(self, items: list[Item]) -> None:
        """Run everything, and mark each student as soon as all of theirs has come back."""
        self.stage = "running"
        service, batches = Service(), [Batch(items[at : at + MOST]) for at in range(0, len(items), MOST)]
        left = {student: sum(item.student == student for item in items) for student in {one.student for one in items}}
        try:
            for batch in batches:
                batch.execution = _sent(service, batch.items)
            until = time.monotonic() + LONGEST_WAIT
            while not all(batch.ended for batch in batches):
                if self._cancelled.is_set() or time.monotonic() > until:
                    return
                for batch in batches:
                    for item in self._arrived(service, batch):
                        left[item.student] -= 1
                        if not left[item.student]:
                            self._marked(item.student)
                time.sleep(LOOK_SECONDS)
        finally:
            for batch in batches:
                if batch.execution:
                    service.ask("DELETE", f"/executions/{batch.execution}")

    def _arrived(self, service: Service, batch: Batch) -> Iterator[Item]:
        """What has come of a batch since the last look; each item once."""
        if batch.ended:
            return
        told = service.ask("GET", f"/executions/{batch.execution}")
        for name, why in told["outcomes"].items():
            item = batch.items[int(name)]
            if name in batch.fetched:
                continue
            batch.fetched.add(name)
            executed = fetched(service, f"/executions/{batch.execution}/{name}")
            outcome = {**told, "outcome": why, "sentence": told["sentences"][why]}
            try:
                TakeOver.results[item.student, item.notebook] = results_of(item.sent, outcome, executed, log)
            except NotGraded as error:
                self.failed[item.student] = str(error)
            yield item
        batch.ended = told["state"] == "ended"

    def _marked(self, student: str) -> None:
        """The second half for one student."""
        try:
            if student in self.failed:
                return
            said = self._step(SecondHalf, student)
            if said["success"]:
                self.done.append(student)
            else:
                self.failed[student] = _reason(said)
        finally:
            for key in [key for key in TakeOver.results if key[0] == student]:
                del TakeOver.results[key]

    def _step(self, half: type[FirstHalf] | type[SecondHalf], student: str) -> dict[str, Any]:
        """One of nbgrader's steps, in the thread that may do them."""
        said: dict[str, Any] = self._steps.submit(self._in_thread, half, student).result()
        lines = str(said.get("log") or "").splitlines()
        if found := [line.removeprefix(_WARNING).strip() for line in lines if line.startswith(_WARNING)]:
            self.noted.setdefault(student, []).extend(found[:MOST_NOTES])
        return said

    def _in_thread(self, half: type[FirstHalf] | type[SecondHalf], student: str) -> dict[str, Any]:
        api = NbGraderAPI(self._course(), parent=self._parent)
        with temp_attrs(api.coursedir, assignment_id=self.assignment, student_id=student):
            converter = half(coursedir=api.coursedir, parent=api)
            converter.force = converter.create_student = True
            return capture_log(converter)  # type: ignore[no-any-return]

    def _course(self) -> CourseDirectory:
        # One of its own: nbgrader changes it while it works, and other requests read the shared one.
        return CourseDirectory(parent=self._parent)

    def _rest_failed(self, why: str) -> None:
        for student in self._students:
            if student not in self.done:
                self.failed.setdefault(student, why)


def _sent(service: Service, items: list[Item]) -> str:
    """Send notebooks to the cluster; gives the id of their execution."""
    with tempfile.TemporaryDirectory(prefix="leerlab-") as scratch:
        files: list[PlainFile] = []
        for number, item in enumerate(items):
            notebook = Path(scratch, f"{number}.ipynb")
            nbformat.write(item.sent, notebook)
            files.append(PlainFile(f"{number}/{NOTEBOOK}", notebook))
            files += [
                PlainFile(f"{number}/{FILES}/{file.path}", file.local)
                for file in collect(item.folder).files
                if not file.path.endswith(".ipynb")
            ]
        return str(service.send("POST", "/executions", files)["id"])


def _reason(said: dict[str, Any]) -> str:
    """The last line that nbgrader wrote of why a step failed."""
    lines = f"{said.get('log') or ''}\n{said.get('error') or ''}".strip().splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")[:400]
