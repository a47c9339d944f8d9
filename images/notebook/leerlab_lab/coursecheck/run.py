"""Runs every case of one assignment in a kernel of its own, several side by side.

Started as `python -m leerlab_lab.coursecheck.run FOLDER`.

The cells run by the same `leerlab_lab.execute` as graded work. Each kernel is a fork of one process that has imported
what the notebook imports (see zygote.py), and can reach its own folder only (see confined.py).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import nbformat

from leerlab_lab.coursecheck.forked import ForkProvisioner, Lost, Zygote, manager
from leerlab_lab.coursecheck.plan import AGAIN, EXECUTED, FIGURES, NOTEBOOK, PREPARED, RUNS, Plan
from leerlab_lab.execute import CellRunner

FILES = "files"
# Memory that a kernel may ask for, against what it may really use: libraries ask for more than they touch.
_DATA = 2

log = logging.getLogger("leerlab.coursecheck")


@dataclass(frozen=True)
class Figures:
    """What one case took: `ended` is `done`, `time` or `lost`."""

    seconds: float
    memory: int
    ended: str


class ForkedRunner(CellRunner):
    """`CellRunner` with a forked kernel."""

    forked: ForkProvisioner

    def place(self, zygote: Zygote, folder: Path, own: Path) -> None:
        """Say where the kernel comes from, where it starts, and which folder is its own."""
        environment = {
            "HOME": str(own / "home"), "TMPDIR": str(own / "tmp"), "IPYTHONDIR": str(own / "home" / "ipython"),
            "MPLCONFIGDIR": str(own / "home" / "matplotlib"), "JUPYTER_RUNTIME_DIR": str(own / "home"),
            "HF_DATASETS_CACHE": str(own / "tmp" / "datasets"),
            "NBGRADER_EXECUTION": "autograde",
        }  # fmt: skip
        for name in ("home", "tmp"):
            (own / name).mkdir()
        self._manager, self.forked = manager(zygote, folder, own, environment)

    def create_kernel_manager(self):  # type: ignore[no-untyped-def]
        self.km = self._manager
        return self.km


async def run_case(zygote: Zygote, folder: Path, case: str, scratch: Path, plan: Plan) -> Figures:
    """Run one case; its executed notebook is in its folder, whatever came of it."""
    place = folder / RUNS / case
    own = Path(tempfile.mkdtemp(prefix="case-", dir=scratch))
    work = own / "work"
    shutil.copytree(folder / FILES, work)
    notebook = nbformat.read(place / NOTEBOOK, as_version=4)
    runner = ForkedRunner(notebook, plan.bounds.cell_seconds)
    runner.place(zygote, work, own)
    began = time.monotonic()
    ended = "done"
    try:
        await asyncio.wait_for(runner.run_all(place / EXECUTED), plan.bounds.case_seconds)
    except TimeoutError:
        ended = "time"
        await runner.forked.kill()
    except (Lost, OSError, RuntimeError) as error:
        log.warning("%s: %s", case, error)
        ended = "lost"
    seconds = time.monotonic() - began
    memory = 0
    if runner.forked.kernel is not None:
        await runner.forked.kill()
        await runner.forked.wait()
        memory = runner.forked.kernel.memory
    shutil.rmtree(own, ignore_errors=True)
    return Figures(round(seconds, 2), memory, ended)


async def run_all(folder: Path, jobs: int, scratch: Path) -> dict[str, Figures]:
    """Run every case below `runs/`."""
    plan = Plan.read(folder)
    prepared = json.loads((folder / PREPARED).read_text(encoding="utf-8"))
    slots = asyncio.Semaphore(jobs)
    figures: dict[str, Figures] = {}
    async with Zygote(prepared["modules"], _DATA * plan.bounds.memory) as zygote:

        async def one(case: str, *same: str) -> None:
            async with slots:
                figures[case] = await run_case(zygote, folder, case, scratch, plan)
            for other in same:
                figures[other] = figures[case]
                with suppress(FileNotFoundError):
                    shutil.copyfile(folder / RUNS / case / EXECUTED, folder / RUNS / other / EXECUTED)
            for each in (case, *same):
                print(f"ran {each}", flush=True)  # noqa: T201 - whoever started this counts

        async with asyncio.TaskGroup() as group:
            for cases in alike(folder, prepared["forked"]):
                group.create_task(one(*cases))
    return figures


def alike(folder: Path, cases: Sequence[str]) -> list[list[str]]:
    """The cases, those with the same code together: a learner whose tampering was undone has the untouched code again.

    What runs twice on purpose stays apart.
    """
    groups: dict[bytes, list[str]] = {}
    for case in cases:
        code = (folder / RUNS / case / NOTEBOOK).read_bytes()
        groups.setdefault(code if case != AGAIN else b"", []).append(case)
    return list(groups.values())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="how many side by side")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="check-") as scratch:
        figures = asyncio.run(run_all(given.folder.resolve(), given.jobs, Path(scratch)))
    said = {case: asdict(took) for case, took in figures.items()}
    (given.folder / FIGURES).write_text(json.dumps(said), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
