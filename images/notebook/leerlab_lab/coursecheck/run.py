"""Runs every case of one assignment in a kernel of its own, several side by side.

Started as `python -m leerlab_lab.coursecheck.run FOLDER`.

Each kernel is a fork of one process that has imported what the notebook imports, behind a wall of its own in which
there is nothing of any other case (`leerlab_lab.forked`).
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
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import nbformat

from leerlab_lab.coursecheck.plan import AGAIN, ANSWERED, ASKED, EXECUTED, FIGURES, NOTEBOOK, PREPARED, RUNS, Plan
from leerlab_lab.forked.notebook import Bounds, run
from leerlab_lab.forked.zygotes import Lost, Zygote

FILES = "files"
# The rest of what one kernel may take; the wall around all of them has limits as well.
_SIZES = {
    "tmp": 256 * 2**20, "shm": 64 * 2**20, "processes": 256, "open_files": 4096, "file_size": 256 * 2**20,
}  # fmt: skip
# Memory that a kernel may ask for, against what it may really use: libraries ask for more than they touch.
_DATA = 2

log = logging.getLogger("leerlab.coursecheck")


@dataclass(frozen=True)
class Figures:
    """What one case took: `ended` is `done`, `time` or `lost`."""

    seconds: float
    memory: int
    ended: str


async def run_case(zygote: Zygote, folder: Path, case: str, scratch: Path, bounds: Bounds) -> Figures:
    """Run one case, a second time where value checks ask; what was executed is in its folder, whatever came of it.

    A learner waits for the first run alone, so its figures count; the second must come to its end as well.
    """
    place = folder / RUNS / case
    figures: list[Figures] = []
    for source, target in ((NOTEBOOK, EXECUTED), (ASKED, ANSWERED)):
        if not (place / source).exists():
            continue
        notebook = nbformat.read(place / source, as_version=4)
        try:
            ran = await run(zygote, notebook, folder / FILES, scratch, bounds)
        except (Lost, OSError) as error:
            log.warning("%s: %s", case, error)
            return Figures(0.0, 0, "lost")
        nbformat.write(notebook, place / target)
        figures.append(Figures(ran.seconds, ran.memory, ran.ended))
    ended = next((one.ended for one in figures if one.ended != "done"), "done")
    return Figures(figures[0].seconds, max(one.memory for one in figures), ended)


async def run_all(folder: Path, jobs: int, scratch: Path, *, walled: bool) -> dict[str, Figures]:
    """Run every case below `runs/`."""
    plan = Plan.read(folder)
    sizes = {**_SIZES, "data": _DATA * plan.bounds.memory}
    bounds = Bounds(plan.bounds.cell_seconds, plan.bounds.case_seconds, sizes, walled)
    prepared = json.loads((folder / PREPARED).read_text(encoding="utf-8"))
    slots = asyncio.Semaphore(jobs)
    figures: dict[str, Figures] = {}
    async with Zygote(prepared["modules"]) as zygote:

        async def one(case: str, *same: str) -> None:
            async with slots:
                figures[case] = await run_case(zygote, folder, case, scratch, bounds)
            for other in same:
                figures[other] = figures[case]
                for name in (EXECUTED, ANSWERED):
                    with suppress(FileNotFoundError):
                        shutil.copyfile(folder / RUNS / case / name, folder / RUNS / other / name)
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
        place = folder / RUNS / case
        code = b"".join((place / name).read_bytes() for name in (NOTEBOOK, ASKED) if (place / name).exists())
        groups.setdefault(code if case != AGAIN else b"", []).append(case)
    return list(groups.values())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="how many side by side")
    parser.add_argument("--unwalled", action="store_true", help="in a lab, where no walls can be made inside its own")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="check-") as scratch:
        figures = asyncio.run(run_all(given.folder.resolve(), given.jobs, Path(scratch), walled=not given.unwalled))
    said = {case: asdict(took) for case, took in figures.items()}
    (given.folder / FIGURES).write_text(json.dumps(said), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
