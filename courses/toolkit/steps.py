"""The steps of checking one assignment, each behind a wall without network, with plain files alone in between.

`prepare` and `mark` have nbgrader and the sources, and run nothing of the course. `run` runs the course, and has
neither the sources nor the gradebook; `real` runs the reference as graded work is run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from base.errors import LeerlabError
from base.paths import Installation, State
from confinement import collect
from confinement.collect import Bounds, CollectRefused
from confinement.run import start
from confinement.settings import ConfinementSettings
from confinement.wall import HOME, Bind, Wall
from courses.toolkit.findings import Finding, Outcome
from courses.toolkit.watch import Allowance, TookTooMuch, wait
from grading.plans import (
    COMMANDS,
    EXECUTED,
    FILES,
    LAB,
    NOTEBOOK,
    NOTEBOOK_ENV,
    OFFLINE,
    OUTCOME,
    RunBounds,
    execution_wall,
    nesting,
    notebook_binds,
    seccomp_of,
)

MEBIBYTE = 2**20
# What an assignment's folder may hold; what a check brings back of it is bounded by the same.
ASSIGNMENT = Bounds(files=500, total=256 * MEBIBYTE, depth=8)
_SMALL = 4 * MEBIBYTE
_NOTEBOOK = 64 * MEBIBYTE
_STEP_SECONDS = 300.0
_MARGIN_SECONDS = 60.0
_RAN = Path("/srv/ran")
_REAL = "reference-real"
_ONE, _TWO = "0", "1"
"""Folders of an execution's notebooks: the one that is shown, and with value checks the one that is asked."""
_ASKED, _ANSWERED = "asked.ipynb", "answered.ipynb"
"""As leerlab_lab.coursecheck.plan has them."""
_LAST_WORDS = 400
_RAN_LINE = re.compile(rb"^ran [\w.-]+$", re.MULTILINE)


class StepFailed(LeerlabError):
    """A step came to no result."""

    def __init__(self, finding: Finding) -> None:
        self.finding = finding
        super().__init__(f"The check came to no result ({finding.code}).")


@dataclass(frozen=True)
class Walls:
    """What every wall of a check is made of."""

    state: State
    installation: Installation
    confinement: ConfinementSettings

    def step(self, home: Path, module: str, *arguments: str, binds: tuple[Bind, ...] = ()) -> Wall:
        """A wall in which one module of leerlab_lab.coursecheck works on its home."""
        return Wall(
            command=(f"{NOTEBOOK_ENV}/bin/python", "-m", f"leerlab_lab.coursecheck.{module}", HOME, *arguments),
            home=home,
            seccomp=seccomp_of(self.state),
            binds=(*notebook_binds(self.installation, self.state), *binds),
            root=self.installation.image,
            environment={
                "PATH": COMMANDS,
                "PYTHONPATH": str(LAB),
                **OFFLINE,
                "OMP_NUM_THREADS": "1",
                "JUPYTER_CONFIG_DIR": "/tmp/jupyter",  # noqa: S108 - the wall's own
                "JUPYTER_DATA_DIR": "/tmp/jupyter",  # noqa: S108
                "IPYTHONDIR": "/tmp/ipython",  # noqa: S108
            },
            **self._sizes(),
        )

    def floor(self, home: Path, *arguments: str) -> Wall:
        """The wall in which the course's code runs, each case of it behind a wall of its own."""
        wall = self.step(home, "run", *arguments)
        more = nesting(self.state)
        return replace(wall, **{**more, "binds": (*wall.binds, *more["binds"])})

    def real(self, home: Path, bounds: Mapping[str, Any]) -> Wall:
        """The wall of graded work."""
        each = RunBounds(int(bounds["cell_seconds"]), int(bounds["case_seconds"]), int(bounds["memory"]))
        return replace(execution_wall(home, each, self.state, self.installation, self.confinement), **self._sizes())

    def _sizes(self) -> dict[str, Any]:
        sizes = self.confinement.sizes()
        return {**sizes, "limits": replace(sizes["limits"], file_size=256 * MEBIBYTE), "tmp": 512 * MEBIBYTE}


class Check:
    """One assignment's check, in a folder of its own.

    Args:
        folder: an empty folder of this process.
        walls: what the walls are made of.
        plan: what check.json says; see leerlab_lab.coursecheck.plan.
        jobs: how many cases run side by side.
        progress: called with the number of cases that are done, and of all.
    """

    def __init__(
        self, folder: Path, walls: Walls, plan: Mapping[str, Any], jobs: int, progress: Callable[[int, int], None]
    ) -> None:
        self._walls, self._plan, self._jobs, self._progress = walls, plan, jobs, progress
        self.desk, self._floor, self._real, self._ran = (folder / name for name in ("desk", "floor", "real", "ran"))
        for place in (self.desk, self._floor, self._real, self._ran):
            place.mkdir(mode=0o700)

    def outcome(self) -> Outcome:
        """Do all steps.

        Raises:
            StepFailed: one came to no result; the finding says why.
            LeerlabError: a wall cannot be built.
        """
        (self.desk / "check.json").write_text(json.dumps(self._plan), encoding="utf-8")
        desk = Allowance(_STEP_SECONDS, 2048 * MEBIBYTE, 2 * ASSIGNMENT.total)
        self._do("prepare", self._walls.step(self.desk, "prepare"), desk)
        prepared = self._carry()
        if not prepared["forked"]:
            return _outcome({"findings": prepared["findings"]})
        bounds = self._plan["bounds"]
        most = bounds["case_seconds"] * (1 + len(prepared["forked"]) / self._jobs) + _MARGIN_SECONDS
        memory = (self._jobs + 1) * int(bounds["memory"])
        wall = self._walls.floor(self._floor, "--jobs", str(self._jobs))
        self._do("run", wall, Allowance(most, memory, ASSIGNMENT.total), len(prepared["forked"]))
        figures = self._bring_back(prepared["forked"])
        if (self._real / _ONE / NOTEBOOK).exists():
            figures[_REAL] = self._run_real(bounds)
        (self._ran / "figures.json").write_text(json.dumps(figures), encoding="utf-8")
        wall = self._walls.step(self.desk, "mark", "--ran", str(_RAN), binds=(Bind(self._ran, _RAN),))
        self._do("mark", wall, desk)
        with _opened(self.desk) as opened:
            try:
                return _outcome(json.loads(collect.read_file(opened, "result.json", _SMALL)))
            except (ValueError, CollectRefused) as error:
                raise _failed("mark", str(error)) from error

    def _do(self, name: str, wall: Wall, allowance: Allowance, cases: int = 0) -> None:
        with start(wall) as walled:

            def look() -> None:
                if cases:
                    self._progress(len(_RAN_LINE.findall(walled.output)), cases)

            try:
                code = wait(walled, wall.home, allowance, look)
            except TookTooMuch as error:
                params: dict[str, str | int | float] = {"reason": f"{name}: {error}"}
                raise StepFailed(Finding(code="check.stopped", params=params)) from error
            if code:
                said = walled.output.decode(errors="replace").strip()
                raise _failed(name, said[-_LAST_WORDS:] or f"exit code {code}")

    def _carry(self) -> dict[str, Any]:
        """Bring what is to be run from the desk to the floor, and nothing else."""
        try:
            with _opened(self.desk) as opened:
                said = collect.read_file(opened, "prepared.json", _SMALL)
                prepared: dict[str, Any] = json.loads(said)
                kept = {"forked": prepared["forked"], "modules": prepared["modules"], "findings": []}
                if not kept["forked"]:
                    return prepared
                _put(self._floor, "prepared.json", json.dumps(kept).encode())
                _put(self._floor, "check.json", json.dumps({**self._plan, "cases": []}).encode())
                for name in (FILES, "runs"):
                    with collect.open_folder(opened, name) as inner:
                        for file in collect.walk(inner, ASSIGNMENT):
                            self._place(name, file.name, file.content)
                for place in (self._floor, self._real / _ONE, self._real / _TWO):
                    (place / FILES).mkdir(parents=True, exist_ok=True)
        except (CollectRefused, ValueError, KeyError, TypeError) as error:
            raise _failed("prepare", str(error)) from error
        return kept

    def _place(self, kind: str, name: str, content: bytes) -> None:
        real = f"{_REAL}/"
        if kind == FILES:
            _put(self._floor, f"{FILES}/{name}", content)
            for number in (_ONE, _TWO):
                _put(self._real / number, f"{FILES}/{name}", content)
        elif name == real + _ASKED:
            _put(self._real / _TWO, NOTEBOOK, content)
        elif name.startswith(real):
            _put(self._real / _ONE, name.removeprefix(real), content)
        else:
            _put(self._floor, f"runs/{name}", content)

    def _bring_back(self, cases: list[str]) -> dict[str, Any]:
        """What the runs left, by plain files alone; a case without one has no result."""
        try:
            with _opened(self._floor) as opened:
                said: dict[str, Any] = json.loads(collect.read_file(opened, "figures.json", _SMALL))
                figures = {case: _figures(said[case]) for case in cases}
                for case in cases:
                    try:
                        content = collect.read_file(opened, f"runs/{case}/{EXECUTED}", _NOTEBOOK)
                    except CollectRefused:
                        figures[case]["ended"] = "lost" if figures[case]["ended"] == "done" else figures[case]["ended"]
                        continue
                    _put(self._ran, f"{case}/{EXECUTED}", content)
                    # Not every notebook has value checks.
                    with suppress(CollectRefused):
                        answered = collect.read_file(opened, f"runs/{case}/{_ANSWERED}", _NOTEBOOK)
                        _put(self._ran, f"{case}/{_ANSWERED}", answered)
        except (CollectRefused, ValueError, KeyError, TypeError) as error:
            raise _failed("run", str(error)) from error
        return figures

    def _run_real(self, bounds: Mapping[str, Any]) -> dict[str, Any]:
        count = sum((self._real / number / NOTEBOOK).exists() for number in (_ONE, _TWO))
        allowance = Allowance(
            count * bounds["case_seconds"] + _MARGIN_SECONDS, 2 * int(bounds["memory"]), ASSIGNMENT.total
        )
        began = time.monotonic()
        ended = "done"
        with start(self._walls.real(self._real, bounds)) as walled:
            try:
                if wait(walled, self._real, allowance, lambda: None):
                    ended = "lost"
            except TookTooMuch as error:
                ended = "lost" if str(error) == "disk" else str(error)
        seconds = time.monotonic() - began
        with _opened(self._real) as opened:
            if count > 1:
                # A learner waits for the first alone.
                seconds -= _own_seconds(opened, f"{_TWO}/{OUTCOME}")
            try:
                _put(self._ran, f"{_REAL}/{EXECUTED}", collect.read_file(opened, f"{_ONE}/{EXECUTED}", _NOTEBOOK))
            except CollectRefused:
                ended = "lost" if ended == "done" else ended
            with suppress(CollectRefused):
                _put(self._ran, f"{_REAL}/{_ANSWERED}", collect.read_file(opened, f"{_TWO}/{EXECUTED}", _NOTEBOOK))
        return {"seconds": round(seconds, 2), "memory": 0, "ended": ended}


def bring_in(source: Path, target: Path, file: str) -> list[Finding]:
    """Copy plain files of a course's folder; the first thing that is none is a finding.

    Args:
        source: the folder to copy.
        target: a folder that does not exist.
        file: the folder's path below the course, for the finding.
    """
    target.mkdir(parents=True)
    try:
        with _opened(source) as opened:
            for each in collect.walk(opened, ASSIGNMENT):
                if not any(part in {"__pycache__", ".ipynb_checkpoints"} for part in Path(each.name).parts):
                    _put(target, each.name, each.content)
    except CollectRefused as error:
        shutil.rmtree(target)
        params: dict[str, str | int | float] = {"name": ascii(error.name), "reason": error.why.value}
        return [Finding(code="course.file", file=f"{file}/{error.name}"[:400], params=params)]
    except OSError as error:
        shutil.rmtree(target)
        params = {"name": file, "reason": str(error.strerror)}
        return [Finding(code="course.file", file=file, params=params)]
    return []


def _outcome(said: Any) -> Outcome:
    try:
        return Outcome.model_validate(said)
    except ValueError as error:
        raise _failed("mark", str(error)) from error


def _figures(said: Mapping[str, Any]) -> dict[str, Any]:
    ended = said["ended"] if said["ended"] in {"done", "time", "lost"} else "lost"
    return {"seconds": float(said["seconds"]), "memory": int(said["memory"]), "ended": ended}


def _own_seconds(opened: int, name: str) -> float:
    """How long one of several notebooks took; 0 where nothing says so."""
    try:
        return max(0.0, float(json.loads(collect.read_file(opened, name, _SMALL))["seconds"]))
    except (CollectRefused, ValueError, KeyError, TypeError):
        return 0.0


def _put(folder: Path, name: str, content: bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _failed(step: str, reason: str) -> StepFailed:
    text = "".join(each if each.isprintable() or each == "\n" else " " for each in reason)
    return StepFailed(Finding(code="check.failed", params={"reason": f"{step}: {text[:_LAST_WORDS]}"}))
