"""Asks a notebook's canaries after its own cells, and writes down what each came to. No cell's outputs change by it.

A cell with `{"leerlab": {"kind", "test"}}` in its metadata is a canary (`leerlab_lab.canaries`). It gets `asked`:
`passed`, `failed`, `silent` when no end of it came, or `ended` when Python ended; and nothing when it was not asked.

Code could count cells and be honest once its own are over. Then a test that passed in its place comes to something else
when it is asked `again`. That alone says little: later cells may have changed a name. So the notebook runs once more,
unseen, with that test's failing variant in its place, and `in_its_place` says what that came to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from nbformat import NotebookNode

from leerlab_lab.forked.shown import Shown
from leerlab_lab.forked.talk import KernelDied, Talk

ABOUT = "leerlab"
SECONDS = 3.0
"""What all canaries of a notebook may take at most; a second run of the notebook is begun only if it fits in."""
LEAST_SECONDS, SHARE = 1.0, 0.1
"""What they may take of a notebook that is over at once, and which part of a longer one's time."""
CELL_SECONDS = 5.0
"""What a canary may take that is about no test: an honest Python answers in milliseconds, on a busy machine in more."""
LONGEST_TEST = 0.5
"""Seconds: a test that took longer is not asked again."""

Numbered = Sequence[tuple[int, NotebookNode]]
Kernels = Callable[[], AbstractAsyncContextManager[Talk]]


def parted(cells: Numbered) -> tuple[list[tuple[int, NotebookNode]], list[tuple[int, NotebookNode]]]:
    """A notebook's own cells, and its canaries, both with their numbers."""
    own = [one for one in cells if ABOUT not in one[1].metadata]
    return own, [one for one in cells if ABOUT in one[1].metadata]


class Afterwards:
    """The canaries of one run.

    Args:
        own: the notebook's own cells.
        canaries: cells, in the order in which they are asked.
        took: seconds of each own cell.
        shown: what the own cells showed.
    """

    def __init__(self, own: Numbered, canaries: Numbered, took: Mapping[int, float], shown: Shown) -> None:
        self._own, self._canaries, self._took, self._shown = own, canaries, took, shown
        # Of its own: a canary that updates what a cell displayed changes nothing there.
        self._unseen = Shown()
        self._loop = asyncio.get_running_loop()

    async def ask(self, kernel: Talk) -> None:
        """Ask every canary, as long as there is time."""
        until = self._loop.time() + min(SECONDS, max(LEAST_SECONDS, SHARE * sum(self._took.values())))
        for number, cell in self._canaries:
            about = cell.metadata[ABOUT]
            if self._took.get(about["test"], 0.0) > LONGEST_TEST:
                continue
            if (left := until - self._loop.time()) <= 0:
                return
            seconds = max(left, 2 * LONGEST_TEST) if about["test"] else CELL_SECONDS
            try:
                about["asked"] = await _asked(kernel, number, cell.source, self._unseen, seconds)
            except TimeoutError:
                about["asked"] = "silent"
                return
            except KernelDied:
                about["asked"] = "ended"
                return
            finally:
                cell.outputs = self._unseen.of(number)

    async def ask_in_their_places(self, kernels: Kernels) -> None:
        """Run the notebook again with canaries in the places of the tests that are not what they were."""
        changed = {cell.metadata[ABOUT]["test"] for _, cell in self._canaries if self._is_changed(cell)}
        instead = {
            cell.metadata[ABOUT]["test"]: cell
            for _, cell in self._canaries
            if cell.metadata[ABOUT]["kind"] == "fails" and cell.metadata[ABOUT]["test"] in changed
        }
        if not instead or sum(self._took.values()) > SECONDS:
            return
        unseen = Shown()
        async with asyncio.timeout(2 * SECONDS), kernels() as kernel:
            for number, cell in self._own:
                canary = instead.get(number, cell)
                try:
                    came = await _asked(kernel, number, canary.source, unseen, SECONDS)
                except (TimeoutError, KernelDied):
                    return
                if canary is not cell:
                    canary.metadata[ABOUT]["in_its_place"] = came

    def _is_changed(self, cell: NotebookNode) -> bool:
        about = cell.metadata[ABOUT]
        before = self._shown.of(about["test"])
        passed = about["test"] in self._took and not any(one.output_type == "error" for one in before)
        came = about.get("asked")
        return passed and (came in ("silent", "ended") or (about["kind"] == "again" and came == "failed"))


async def _asked(kernel: Talk, number: int, source: str, shown: Shown, seconds: float) -> str:
    """Run one; whether it `passed` or `failed`.

    Raises:
        TimeoutError: no end of it came.
        KernelDied: Python ended.
    """
    reply: Mapping[str, Any] = await kernel.run(number, source, seconds, shown.take)
    errors = any(output.output_type == "error" for output in shown.of(number))
    return "failed" if errors or reply.get("status") != "ok" else "passed"
