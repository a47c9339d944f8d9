"""Has notebooks with value checks run and judged in a wall: `python value_checks_driver.py FOLDER`, as asked.json says.

Each notebook is a list of cells; a cell is its source and what nbgrader has to know of it. `ordinary` leaves the value
checks to the notebook's own process, as every other test is; `defence` names one that is switched off.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

import nbformat
from forked_driver import SIZES
from leerlab_lab.feedback import HideHiddenTests
from leerlab_lab.forked.notebook import Bounds, run
from leerlab_lab.forked.zygotes import Zygote
from leerlab_lab.merge import outputs_of, put, stripped
from leerlab_lab.valuechecks import marking
from nbformat import NotebookNode
from nbgrader.utils import determine_grade, is_grade

BOUNDS = Bounds(8, 60, SIZES)


def notebook_of(cells: list[dict[str, Any]]) -> NotebookNode:
    new = nbformat.v4
    made = []
    for number, cell in enumerate(cells):
        about = {"grade": False, "solution": False, "locked": False, "task": False, "schema_version": 3}
        metadata = {"nbgrader": {**about, **cell["nbgrader"]}} if cell["nbgrader"] else {}
        made.append(new.new_code_cell(cell["source"], id=f"c{number}", metadata=metadata))
    return new.new_notebook(cells=made)


async def one(zygote: Zygote, asked: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run and judge one notebook; what a student sees of it, and its marks."""
    notebook = notebook_of(asked["cells"])
    runs = marking.Runs(stripped(notebook), None) if asked["ordinary"] else marking.runs_of(notebook)
    came: list[bytes] = []
    for sent in filter(None, (runs.shown, runs.asked)):
        executed = nbformat.from_dict(json.loads(json.dumps(sent)))
        await run(zygote, executed, folder / "files", folder / "scratch", BOUNDS)
        came.append(nbformat.writes(executed).encode())
    put(notebook, outputs_of(came[0], runs.shown))
    answers = marking.answers_of(came[1], runs.asked) if runs.asked is not None else None
    noted: list[str] = []
    if not asked["ordinary"]:
        log = logging.getLogger(f"judge.{id(notebook)}")
        log.addHandler(_Noting(noted))
        marking.judge(notebook, answers, log)
    marks = [determine_grade(cell, log=logging.getLogger())[0] for cell in notebook.cells if is_grade(cell)]
    said = [
        [one.get("evalue", one.get("text", "")) for one in cell.outputs] for cell in notebook.cells if is_grade(cell)
    ]
    hide = HideHiddenTests()
    seen = [hide.preprocess_cell(cell, {}, n)[0] for n, cell in enumerate(notebook.cells)]
    out = [json.dumps(sent) for sent in filter(None, (runs.shown, runs.asked))]
    return {"marks": marks, "said": said, "seen": json.dumps(seen), "sent": out, "noted": noted}


class _Noting(logging.Handler):
    def __init__(self, noted: list[str]) -> None:
        super().__init__()
        self._noted = noted

    def emit(self, record: logging.LogRecord) -> None:
        self._noted.append(record.getMessage())


async def main(folder: Path) -> None:
    asked = json.loads((folder / "asked.json").read_text())
    for place in (folder / "files", folder / "scratch"):
        place.mkdir(exist_ok=True)
    for name, text in asked["files"].items():
        (folder / "files" / name).write_text(text)
    if asked["without"] == "decided by its source":
        marking._could_be = lambda cell: marking.is_meant(cell.source) and is_grade(cell)
    elif asked["without"] == "a run of its own":
        # The questions are asked in the run whose outputs are kept.
        own = marking.runs_of
        marking.runs_of = lambda notebook: marking.Runs(
            _whole(notebook, own(notebook)), _whole(notebook, own(notebook))
        )
    async with Zygote(asked["modules"]) as zygote:
        said = await asyncio.gather(*(one(zygote, each, folder) for each in asked["notebooks"]))
    (folder / "said.json").write_text(json.dumps(said))


def _whole(notebook: NotebookNode, runs: marking.Runs) -> NotebookNode:
    assert runs.asked is not None
    rest = stripped(notebook).cells[len(runs.asked.cells) :]
    return nbformat.v4.new_notebook(cells=[*runs.asked.cells, *rest], metadata=runs.shown.metadata)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
