"""Runs all notebooks of one graded execution, several side by side, each in forks of one warm process.

Started as `python -m leerlab_lab.forked.batch FOLDER --cell-time SECONDS --notebook-time SECONDS --slots N --memory N`,
in the wall of a Slurm job. FOLDER holds a folder for each notebook, with `notebook.ipynb` and `files/`; each gets
`executed.ipynb`, and at last `outcome.json`: `{"outcome": "done" | "time", "seconds", "memory"}`. A notebook without
that had no complete run. Nothing of FOLDER is in the wall of a run but a copy of its own files.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from leerlab_lab.forked.imports import imported
from leerlab_lab.forked.notebook import Bounds, run
from leerlab_lab.forked.zygotes import Lost, Zygote

NOTEBOOK, EXECUTED, OUTCOME, FILES = "notebook.ipynb", "executed.ipynb", "outcome.json", "files"
# What one run may take beside its memory; the wall around all of them has limits as well.
SIZES = {
    "tmp": 256 * 2**20, "shm": 64 * 2**20, "processes": 256, "open_files": 4096, "file_size": 2**30,
}  # fmt: skip

_MODULES = (".py", ".pyc", ".so")

log = logging.getLogger("leerlab.batch")


def common_imports(notebooks: Sequence[NotebookNode], beside: Collection[str] = ()) -> list[str]:
    """What at least half of the notebooks import, in the order in which it is first seen.

    So what is imported for all is what the assignment needs, and not what one of its authors thinks of.

    Args:
        notebooks: all that run.
        beside: names of modules that lie beside one of them. Those come before a package of the same name, so none of
            that name is imported for all.
    """
    counted: Counter[str] = Counter()
    for notebook in notebooks:
        sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
        counted.update(list(dict.fromkeys(name for source in sources for name in imported(source))))
    return [
        name for name, count in counted.items() if 2 * count >= len(notebooks) and name.partition(".")[0] not in beside
    ]


def modules_beside(places: Iterable[Path]) -> set[str]:
    """Names of modules and packages in the files of notebooks."""
    found = (file for place in places for file in (place / FILES).glob("*"))
    return {file.name.partition(".")[0] for file in found if file.suffix in _MODULES or file.is_dir()}


def waiting(folder: Path) -> dict[Path, NotebookNode]:
    """The notebooks that have no outcome yet, by their folders."""
    places = (place.parent for place in folder.glob(f"*/{NOTEBOOK}"))
    return {place: nbformat.read(place / NOTEBOOK, 4) for place in places if not (place / OUTCOME).exists()}


async def run_all(folder: Path, slots: int, bounds: Bounds) -> None:
    """Run every notebook that has no outcome yet.

    Args:
        folder: with a folder for each.
        slots: how many run side by side.
        bounds: what each may take.
    """
    notebooks = waiting(folder)
    places = sorted(notebooks, key=lambda place: int(place.name))
    free = asyncio.Semaphore(slots)
    with tempfile.TemporaryDirectory(prefix=".runs-", dir=folder) as scratch:
        common = common_imports(list(notebooks.values()), modules_beside(places))
        async with Zygote(common) as zygote:

            async def one(place: Path) -> None:
                async with free:
                    notebook = notebooks.pop(place)
                    try:
                        ran = await run(zygote, notebook, place / FILES, Path(scratch), bounds)
                        _write(place / EXECUTED, nbformat.writes(notebook))
                    except Lost:
                        raise
                    except Exception:
                        # It has no outcome, so that it is graded again; the others of its class go on.
                        log.exception("The notebook of %s came to no result", place.name)
                        return
                    said = {"outcome": ran.ended, "seconds": ran.seconds, "memory": ran.memory}
                    _write(place / OUTCOME, json.dumps(said))

            async with asyncio.TaskGroup() as group:
                for place in places:
                    group.create_task(one(place))


def _write(path: Path, text: str) -> None:
    fresh = path.with_suffix(".fresh")
    # Code can show half a letter (a lone surrogate), which no file can hold.
    fresh.write_text(text, encoding="utf-8", errors="replace")
    fresh.replace(path)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; 0 when every notebook has its outcome."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    for name, meaning in (
        ("cell-time", "most seconds for one cell"), ("notebook-time", "most seconds for one notebook"),
        ("slots", "how many run side by side"), ("memory", "most bytes of data for one notebook's process"),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, required=True, help=meaning)
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    bounds = Bounds(given.cell_time, given.notebook_time, {**SIZES, "data": given.memory})
    code = 0
    try:
        asyncio.run(run_all(given.folder, given.slots, bounds))
    except* Lost as lost:
        log.error("%s", lost.exceptions[0])
        code = 1
    return code or int(bool(waiting(given.folder)))


if __name__ == "__main__":
    sys.exit(main())
