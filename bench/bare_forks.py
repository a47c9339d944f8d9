"""Run behind the wall of a graded execution: the least that a class's notebooks can cost there.

Started as `python bare_forks.py FOLDER --slots N --cell-time SECONDS`, with the same folder, wall and process that the
product's batch has: one process imports what the notebooks import, and forks once for each, with the same inner wall.
The fork runs the cells in IPython and says which of them raised; no messages, no outputs, no marks. Prints one JSON
object: seconds until the process was warm, seconds for all notebooks, and how many cells ran.
"""

# Run in an environment of notebooks, whose packages are not there where this is checked.
# mypy: disable-error-code="import-not-found, no-untyped-call"

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

# Where walls have the code of walls, behind everything else.
sys.path.append("/run/wall")

from confinement import nested

_SIZES = {"tmp": 256 * 2**20, "shm": 64 * 2**20, "processes": 256, "open_files": 4096, "file_size": 2**30}
_PIECE = 2**16


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--memory", type=int, required=True)
    given = parser.parse_args()
    begin = time.monotonic()
    # The product's own reading of what is imported for all, and its own imports.
    from leerlab_lab.forked.batch import common_imports, waiting  # noqa: PLC0415
    from leerlab_lab.forked.kernel import made  # noqa: PLC0415
    from leerlab_lab.forked.zygote import preload  # noqa: PLC0415

    shell = made().shell
    notebooks = waiting(given.folder)
    preload(common_imports(list(notebooks.values())))
    sources = [[cell.source for cell in notebook.cells if cell.source.strip()] for notebook in notebooks.values()]
    gc.collect()
    gc.freeze()
    warm = time.monotonic()
    ran = _all(sources, given, shell)
    said = {"boot": warm - begin, "seconds": time.monotonic() - warm, "cells": ran}
    print(json.dumps(said), flush=True)  # noqa: T201
    return 0


def _all(sources: list[list[str]], given: argparse.Namespace, shell: Any) -> int:
    seccomp, cells = Path(nested.FILTER).read_bytes(), 0
    with tempfile.TemporaryDirectory(dir=given.folder) as scratch:
        live: dict[int, int] = {}
        waiting = list(enumerate(sources))
        while waiting or live:
            while waiting and len(live) < given.slots:
                number, code = waiting.pop(0)
                home = Path(scratch, str(number))
                home.mkdir()
                read, write = os.pipe()
                child = nested.fork(
                    nested.Nest(home, Path(nested.HOME), seccomp, data=given.memory, **_SIZES), (write,)
                )
                if child == 0:
                    _one(code, write, shell)
                os.close(write)
                live[child] = read
            child, _ = os.wait()
            read = live.pop(child)
            with os.fdopen(read, "rb") as said:
                cells += len(json.loads(said.read(_PIECE) or b"[]"))
    return cells


def _one(code: list[str], write: int, shell: Any) -> NoReturn:
    """In the fork: run the cells, say which of them raised nothing."""
    well = []
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        for cell in code:
            well.append(bool(shell.run_cell(cell, store_history=False).success))
    os.write(write, json.dumps(well).encode())
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
