"""Runs notebooks in forks of one zygote, inside a wall: `python forked_driver.py`, as its folder's asked.json says."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from pathlib import Path

import nbformat
from leerlab_lab.forked.notebook import Bounds, run
from leerlab_lab.forked.zygotes import Lost, Zygote

SIZES = {
    "tmp": 2**26, "shm": 2**24, "processes": 64, "open_files": 512, "file_size": 2**24, "data": 2**29,
}  # fmt: skip


async def main(folder: Path) -> None:
    asked = json.loads((folder / "asked.json").read_text())
    files, scratch = folder / "files", folder / "scratch"
    for place in (files, scratch):
        place.mkdir(exist_ok=True)
    (files / "data.csv").write_text("a,b\n1,2\n")
    (files / "beside.py").write_text("value = 7\n")
    bounds = Bounds(asked["cell"], asked["notebook"], SIZES)
    said = []
    async with Zygote(asked["modules"]) as zygote:

        async def one(cells: list[str]) -> dict[str, object]:
            notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
            try:
                ran = await run(zygote, notebook, files, scratch, bounds)
            except Lost:
                return {"ended": "lost", "cells": []}
            outputs = [[cell.execution_count, *cell.outputs] for cell in notebook.cells]
            return {"ended": ran.ended, "seconds": ran.seconds, "memory": ran.memory, "cells": outputs}

        await zygote.warm()
        running = [asyncio.create_task(one(cells)) for cells in asked["notebooks"]]
        if asked["lose"]:
            await asyncio.gather(*running[1:])
            zygote._process.kill()
        said = await asyncio.gather(*running)
        if asked["lose"]:
            with suppress(Lost):
                await zygote.warm()
                raise AssertionError("a process that has ended is not warm")
    (folder / "said.json").write_text(json.dumps({"runs": said, "left": [one.name for one in scratch.iterdir()]}))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
