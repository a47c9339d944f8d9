"""What came back of a notebook's run elsewhere, on its way into the notebook: outputs, and flags for its teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nbformat import NotebookNode

from leerlab_lab import flags
from leerlab_lab.canaries import Canary, judged, seen_in_cells, told
from leerlab_lab.flags import Code, Flag
from leerlab_lab.merge import put

Results = list[tuple[list[NotebookNode], int | None]]
_AS_A_WHOLE = {"time": Code.TOO_LONG, "memory": Code.TOO_MUCH_MEMORY, "unusable": Code.NOT_RUN}


@dataclass(frozen=True)
class CameBack:
    """What came back.

    Args:
        canaries: what was sent behind the notebook's own cells.
        results: outputs and count of each cell that was sent, canaries too (`leerlab_lab.preprocessors.results_of`).
        executed: the notebook that came back; empty when none did.
        outcome: how the run as a whole ended.
    """

    canaries: tuple[Canary, ...]
    results: Results
    executed: bytes
    outcome: str

    def put_into(self, notebook: NotebookNode) -> None:
        """Give a notebook the outputs of its cells, and its flags."""
        own = len(self.results) - len(self.canaries)
        about = told(self.executed, len(self.results))
        outputs = [shown for shown, _ in self.results]
        found: Sequence[Flag] = [
            *seen_in_cells(notebook, outputs[:own], about[:own]),
            *judged(self.canaries, outputs[own:], about[own:]),
        ]
        if self.outcome in _AS_A_WHOLE:
            found = [Flag(_AS_A_WHOLE[self.outcome]), *found]
        put(notebook, self.results[:own])
        flags.add(notebook, found)
        flags.forget_seed(notebook)
