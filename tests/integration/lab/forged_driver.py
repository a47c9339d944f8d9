"""Grades notebooks as a course's server does, run by run, inside a wall: `python forged_driver.py FOLDER`.

FOLDER's asked.json holds runs: answers, tests, and which defence is taken away. said.json gets, for each, points,
flags, and the points that nbgrader's own rule gives to the outputs as they came.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import nbformat
from leerlab_lab import canaries, flags
from leerlab_lab.came_back import CameBack
from leerlab_lab.forked import shown, talk
from leerlab_lab.forked.notebook import Bounds, run
from leerlab_lab.forked.zygotes import Zygote
from leerlab_lab.merge import outputs_of
from leerlab_lab.valuechecks.marking import runs_of
from nbgrader.utils import determine_grade

SIZES = {
    "tmp": 2**26, "shm": 2**24, "processes": 64, "open_files": 512, "file_size": 2**24, "data": 2**29,
}  # fmt: skip
NEW = nbformat.v4
CELL_SECONDS = 4


def meta(name: str, *, test: bool) -> dict[str, Any]:
    about = {"schema_version": 3, "grade_id": name, "grade": test, "solution": not test, "locked": test, "task": False}
    return {"nbgrader": about | ({"points": 2} if test else {})}


def notebook(asked: dict[str, Any]) -> nbformat.NotebookNode:
    answers = [
        NEW.new_code_cell(code, metadata=meta(f"answer-{n}", test=False)) for n, code in enumerate(asked["answers"])
    ]
    tests = [NEW.new_code_cell(code, metadata=meta(f"test-{n}", test=True)) for n, code in enumerate(asked["tests"])]
    return NEW.new_notebook(cells=answers + tests)


def take_away(defence: str) -> None:
    """Take one defence away, for all runs after this."""
    if defence == "moments":
        talk._OF_MARKS = set()
    elif defence == "results-stay":
        shown.Shown._cleared = lambda self, cell: self._outputs[cell].clear()
    elif defence == "value-checks-stay":
        canaries.value_checks = lambda notebook: ()


async def graded(zygote: Zygote, asked: dict[str, Any], place: Path) -> dict[str, Any]:
    await asyncio.to_thread((place / "files").mkdir, parents=True)
    work = notebook(asked)
    flags.reset(work)
    asked_after = () if asked["without"] == "canaries" else tuple(canaries.made_for(work))
    sent = canaries.with_canaries(runs_of(work).shown, asked_after)
    running = nbformat.reads(nbformat.writes(sent), as_version=4)
    ran = await run(zygote, running, place / "files", place, Bounds(CELL_SECONDS, 60, SIZES))
    executed = nbformat.writes(running).encode()
    came = [cell.outputs for cell in running.cells]
    CameBack(asked_after, outputs_of(executed, sent), executed, ran.ended).put_into(work)
    points = [determine_grade(cell)[0] for cell in work.cells if cell.metadata.nbgrader.grade]
    told = [{"code": flag.code, "cell": flag.cell, "number": flag.number, "what": flag.what} for flag in flags.of(work)]
    # What an outer side says of a cell's end that the cell's own outputs do not is left out.
    for cell, outputs in zip(work.cells, came, strict=False):
        cell.outputs = [one for one in outputs if one.get("traceback") != [f"{one.get('ename')}: {one.get('evalue')}"]]
    stock = [determine_grade(cell)[0] for cell in work.cells if cell.metadata.nbgrader.grade]
    text = ["".join(one.get("text", "") for one in cell.outputs) for cell in work.cells]
    went = "\n".join(cell.source for cell in sent.cells)
    return {"points": points, "flags": told, "stock": stock, "text": text, "went": went}


async def main(folder: Path) -> None:
    asked = json.loads((folder / "asked.json").read_text())
    said = {}
    side_by_side = asyncio.Semaphore(2)
    async with Zygote(["numpy"]) as zygote:

        async def one(name: str, run: dict[str, Any]) -> None:
            async with side_by_side:
                said[name] = await graded(zygote, run, folder / f"run-{len(said)}-{name}")

        for defence in ("", "canaries", "moments", "results-stay", "value-checks-stay"):
            take_away(defence)
            runs = [(name, run) for name, run in asked.items() if run["without"] == defence]
            await asyncio.gather(*(one(name, run) for name, run in runs))
    (folder / "said.json").write_text(json.dumps(said))


asyncio.run(main(Path(sys.argv[1])))
