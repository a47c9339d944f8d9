"""Runs one notebook in forks of a zygote, cell by cell, so that whatever a cell does costs that cell alone.

A cell that takes too long is interrupted. One that ends Python, or that cannot be interrupted, is given up: a new fork
runs the cells before it once more, unseen and on fresh files, and goes on with the cell after it. What a cell showed is
written down here, outside the kernel's wall, while that cell runs: no later cell can change it.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from leerlab_lab.execute import KERNEL_LOST, NOT_RUN, TAKES_TOO_LONG, error_output, too_long
from leerlab_lab.forked.afterwards import ABOUT, Afterwards, parted
from leerlab_lab.forked.memory import watch
from leerlab_lab.forked.order import Order
from leerlab_lab.forked.shown import Shown
from leerlab_lab.forked.talk import KernelDied, Talk, TookTooMuch
from leerlab_lab.forked.zygotes import Zygote

HOME = "/home/nb"
FILES = "files"
AGAIN = 3
"""How often the cells before a lost one are run once more."""
_LOST = (KERNEL_LOST, "Python ended while this cell ran.")
_TOO_MUCH = ("MemoryError", "This cell used more memory than it may, so Python was stopped.")
_ENVIRONMENT = {
    "HOME": HOME, "IPYTHONDIR": f"{HOME}/.ipython", "MPLCONFIGDIR": "/tmp/matplotlib", "TMPDIR": "/tmp",  # noqa: S108
    "HF_DATASETS_CACHE": "/tmp/datasets", "NBGRADER_EXECUTION": "autograde",  # noqa: S108
}  # fmt: skip


@dataclass(frozen=True)
class Bounds:
    """How much one notebook may take.

    Args:
        cell_seconds: for one cell.
        notebook_seconds: for the notebook as a whole.
        sizes: limits of its kernel, as `leerlab_lab.forked.order.Order` has them.
        walled: whether its kernel is behind a wall of its own, as there.
    """

    cell_seconds: float
    notebook_seconds: float
    sizes: Mapping[str, int]
    walled: bool = True


@dataclass(frozen=True)
class Ran:
    """How a run went.

    Args:
        ended: `done` when every cell had its turn; `time` when the notebook as a whole took too long.
        seconds: how long it took.
        memory: most bytes that its kernel had.
    """

    ended: str
    seconds: float
    memory: int


async def run(zygote: Zygote, notebook: NotebookNode, files: Path, scratch: Path, bounds: Bounds) -> Ran:
    """Run a notebook; its code cells get what they showed and their execution counts.

    Args:
        zygote: forks its kernels.
        notebook: changed in place.
        files: folder whose files lie beside it; not changed.
        scratch: folder for its homes.
        bounds: what it may take.

    Raises:
        Lost: there is no zygote any more; nothing of the run counts then.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    one = _Run(zygote, notebook, files, scratch, bounds)
    ended = "done"
    try:
        async with asyncio.timeout(bounds.notebook_seconds):
            await one.all_cells()
    except TimeoutError:
        ended = "done" if one.finished else "time"
    one.write_down()
    return Ran(ended, round(loop.time() - begun, 3), one.memory)


class _Run:
    def __init__(self, zygote: Zygote, notebook: NotebookNode, files: Path, scratch: Path, bounds: Bounds) -> None:
        self._zygote, self._files, self._scratch, self._bounds = zygote, files, scratch, bounds
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        self._all, self._canaries = parted(list(enumerate(code, 1)))
        # As nbclient does: a cell without code is not run, and has no count.
        self._cells = [(number, cell) for number, cell in self._all if cell.source.strip()]
        self._shown = Shown()
        self._run: set[int] = set()
        self._lost: set[int] = set()
        self._took: dict[int, float] = {}
        # What happened to a cell, for whoever gives the marks: seen from outside the kernel's wall.
        self._happened: dict[int, set[str]] = defaultdict(set)
        self.memory = 0
        self.finished = False

    async def all_cells(self) -> None:
        """Give every cell its turn."""
        done = 0
        after: Afterwards | None = None
        for _ in range(AGAIN + 1):
            async with self._kernel() as kernel:
                if not await self._again(kernel, done):
                    break
                while done < len(self._cells):
                    number, cell = self._cells[done]
                    done += 1
                    try:
                        await self._one(kernel, number, cell.source)
                    except KernelDied:
                        self._lost.add(number)
                        self._note_strange(kernel)
                        break
                else:
                    self.finished = True
                    after = await self._afterwards(kernel)
                    break
        if after is not None and not self._lost:
            with suppress(TimeoutError):
                await after.ask_in_their_places(self._kernel)
        for number, _ in self._cells[done:]:
            self._happened[number].add("not-run")
            self._shown.of(number)[:] = [
                error_output(NOT_RUN, "This cell was not run, because Python ended in earlier cells.")
            ]

    def write_down(self) -> None:
        """Put into the notebook what was seen."""
        for number, cell in self._all:
            cell.outputs, cell.execution_count = self._shown.of(number), number if number in self._run else None
            if self._happened[number]:
                cell.metadata[ABOUT] = {"happened": sorted(self._happened[number])}

    async def _afterwards(self, kernel: Talk) -> Afterwards:
        after = Afterwards(self._cells, self._canaries, self._took, self._shown)
        await after.ask(kernel)
        self._note_strange(kernel)
        return after

    def _note_strange(self, kernel: Talk) -> None:
        last = self._all[-1][0]
        for number in kernel.strange:
            # Numbers of canaries are nobody's but the code's that sent them.
            self._happened[min(max(number, 1), last)].add("strange")
        kernel.strange.clear()

    async def _one(self, kernel: Talk, number: int, source: str) -> None:
        """Run one cell."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            reply = await kernel.run(number, source, self._bounds.cell_seconds, self._shown.take)
        except KernelDied as died:
            name, sentence = _TOO_MUCH if isinstance(died, TookTooMuch) else _LOST
            self._happened[number].add("memory" if isinstance(died, TookTooMuch) else "ended")
            self._shown.of(number).append(error_output(name, sentence))
            self._run.add(number)
            raise
        except TimeoutError:
            self._lost.add(number)
            self._happened[number].add("time")
            self._too_long(number)
            if not await kernel.interrupted():
                raise KernelDied from None
            # It may have shown more while it was interrupted.
            self._too_long(number)
            return
        self._took[number] = loop.time() - begun
        self._run.add(number)
        if reply.get("status") == "error" and not any(one.output_type == "error" for one in self._shown.of(number)):
            self._shown.of(number).append(error_output(str(reply.get("ename")), str(reply.get("evalue"))))

    def _too_long(self, number: int) -> None:
        """The error that counts is that the cell took too long, not how it took the interruption."""
        outputs = self._shown.of(number)
        outputs[:] = [one for one in outputs if one.output_type != "error"]
        outputs.append(error_output(TAKES_TOO_LONG, too_long(round(self._bounds.cell_seconds))))
        self._run.add(number)

    async def _again(self, kernel: Talk, done: int) -> bool:
        """Bring a new kernel to where the one before it was; whether that worked."""
        for number, cell in self._cells[:done]:
            if number in self._lost:
                continue
            try:
                await kernel.run(number, cell.source, self._bounds.cell_seconds, lambda *_: None)
            except (KernelDied, TimeoutError):
                return False
        return True

    def _order(self, home: Path) -> Order:
        if self._bounds.walled:
            return Order(str(home), f"{HOME}/{FILES}", _ENVIRONMENT, **self._bounds.sizes)
        environment = {name: value.replace(HOME, str(home)) for name, value in _ENVIRONMENT.items()}
        return Order(str(home), str(home / FILES), environment, **self._bounds.sizes, walled=False)

    @asynccontextmanager
    async def _kernel(self) -> AsyncIterator[Talk]:
        home = Path(tempfile.mkdtemp(prefix="home-", dir=self._scratch))
        try:
            await asyncio.to_thread(shutil.copytree, self._files, home / FILES, symlinks=True)
            kernel = await self._zygote.fork(self._order(home))
            talk = Talk(kernel)
            watching = asyncio.create_task(watch(kernel, self._bounds.sizes["data"]))
            try:
                yield talk
            finally:
                await talk.close()
                await watching
                self.memory = max(self.memory, kernel.memory)
        finally:
            await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)
