"""Run one notebook inside the wall, cell by cell, and write down after every cell what came of it.

Started as `python -m leerlab_lab.execute NOTEBOOK RESULT --cell-time SECONDS` in the folder with the notebook's files.
The result is complete after every cell, so that a run that is ended from outside keeps what it had. Nothing here is
trusted: the code that runs could write the result itself. Who reads it takes over outputs only.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import output_from_msg

# How much a cell may show. Errors and results are always kept, since marks depend on them; each is cut to this size.
CELL_BYTES = 2**20
PIECE_BYTES = 2**16
STARTUP_SECONDS = 60
IOPUB_SECONDS = 4
# Kernels are reached by sockets in their folder: a port that was free when it was chosen may be taken when it is bound.
TRANSPORT = "ipc"
TAKES_TOO_LONG = "CellTimeoutError"
KERNEL_LOST = "DeadKernelError"
NOT_RUN = "NotRun"

log = logging.getLogger("leerlab.execute")


def error_output(name: str, sentence: str) -> NotebookNode:
    """An output that nbgrader counts as an error."""
    return nbformat.v4.new_output("error", ename=name, evalue=sentence, traceback=[f"{name}: {sentence}"])


class CellRunner(NotebookClient):
    """nbclient with bounded outputs, and with an error for every way in which a cell can fail."""

    def __init__(self, notebook: NotebookNode, cell_time: int) -> None:
        super().__init__(
            notebook,
            timeout=cell_time,
            allow_errors=True,
            interrupt_on_timeout=True,
            error_on_timeout={"ename": TAKES_TOO_LONG, "evalue": too_long(cell_time), "traceback": []},
            iopub_timeout=IOPUB_SECONDS,
            raise_on_iopub_timeout=True,
            startup_timeout=STARTUP_SECONDS,
            shutdown_kernel="immediate",
            record_timing=False,
            store_widget_state=False,
            extra_arguments=["--HistoryManager.hist_file=:memory:"],
        )
        self._cell_time = cell_time
        self._shown: dict[int, int] = {}
        self.on_cell_executed = self._note_error

    def create_kernel_manager(self):  # type: ignore[no-untyped-def]
        """As nbclient's own, whose kernel listens on no port."""
        self.km = super().create_kernel_manager()
        self.km.transport, self.km.connection_file = TRANSPORT, str(self._own / "kernel.json")
        return self.km

    def output(self, outs: list[NotebookNode], msg: dict[str, Any], display_id: str, cell_index: int) -> Any:
        """Take in one output, as long as the cell has not shown too much."""
        kind = msg["msg_type"]
        if kind in {"error", "execute_result"}:
            try:
                outs.append(cut(output_from_msg(msg)))
            except ValueError:
                log.warning("An output could not be read")
            return None
        more = size(msg["content"])
        shown = self._shown.get(cell_index, 0)
        self._shown[cell_index] = shown + more
        if shown + more > CELL_BYTES:
            if shown <= CELL_BYTES:
                outs.append(nbformat.v4.new_output("stream", name="stdout", text="\n... Output truncated ...\n"))
            return None
        return super().output(outs, msg, display_id, cell_index)

    def _note_error(self, cell: NotebookNode, cell_index: int, execute_reply: dict[str, Any] | None) -> None:
        """An error in the reply alone, such as a cell that took too long, becomes an output as well."""
        content = (execute_reply or {}).get("content", {})
        if content.get("status") == "error" and not any(output.output_type == "error" for output in cell.outputs):
            cell.outputs.append(error_output(str(content.get("ename")), str(content.get("evalue"))))

    async def run_all(self, result: Path) -> None:
        """Run every cell, and write the notebook to `result` after each."""
        with tempfile.TemporaryDirectory(prefix="kernel-") as own:
            self._own = Path(own)
            await self._run_all(result)

    async def _run_all(self, result: Path) -> None:
        lost = ""
        async with self.async_setup_kernel():
            for index, cell in enumerate(self.nb.cells):
                if lost:
                    cell.outputs = [error_output(NOT_RUN, lost)]
                    continue
                try:
                    await self.async_execute_cell(cell, index, execution_count=self.code_cells_executed + 1)
                except DeadKernelError:
                    cell.outputs.append(error_output(KERNEL_LOST, "Python ended while this cell ran."))
                    lost = "This cell was not run, because Python ended in an earlier cell."
                except CellTimeoutError:
                    cell.outputs.append(error_output(TAKES_TOO_LONG, too_long(self._cell_time)))
                    lost = "This cell was not run, because an earlier cell could not be stopped."
                _write(self.nb, result)
        _write(self.nb, result)


def too_long(cell_time: int) -> str:
    return f"This cell was stopped, because it took longer than {cell_time} seconds."


def size(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(size(each) for each in value.values())
    return sum(size(each) for each in value) if isinstance(value, list) else 8


def cut(output: NotebookNode) -> NotebookNode:
    if output.output_type == "error":
        output.ename, output.evalue = output.ename[:200], output.evalue[:PIECE_BYTES]
        if size(output.traceback) > PIECE_BYTES:
            output.traceback = [output.evalue]
    elif size(output.data) > CELL_BYTES:
        output.data = {"text/plain": str(output.data.get("text/plain", ""))[:PIECE_BYTES]}
    return output


def _write(notebook: NotebookNode, result: Path) -> None:
    fresh = result.with_suffix(".fresh")
    nbformat.write(notebook, fresh)
    fresh.replace(result)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; 0 when every cell had its turn, whatever came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--cell-time", type=int, required=True, help="most seconds for one cell")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    notebook = nbformat.read(given.notebook, as_version=4)
    asyncio.run(CellRunner(notebook, given.cell_time).run_all(given.result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
