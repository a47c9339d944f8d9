"""`%%ai` and `%ai` in every lab: jupyter-ai's command line, answered by the site's gateway, loaded when first used.

%%ai
What is a median?

%%ai leerlab -f code
a function that gives the median of a list
"""

from __future__ import annotations

import html
import sys
from typing import TYPE_CHECKING

from leerlab_lab.assistant.offer import Offer, language

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from leerlab_lab.assistant.cells import Cells

ALIAS = "leerlab"


def load_ipython_extension(shell: InteractiveShell) -> None:
    """IPython's way to load it: only the name; the rest comes with the first question."""

    made: list[Cells] = []

    def ai(line: str, cell: str | None = None) -> None:
        """Ask the assistant: a cell that starts with %%ai, then your question."""
        offer = Offer.of_this_lab()
        if not offer.on or not offer.models:
            from leerlab_lab.assistant.texts import off  # noqa: PLC0415

            print(off(offer, language()), file=sys.stderr)  # noqa: T201 - to who wrote the cell
            return
        if not made:
            from leerlab_lab.assistant.cells import Cells  # noqa: PLC0415 - only for who asks

            made.append(Cells(shell, offer))
        made[0].run(line, cell)

    shell.register_magic_function(ai, magic_kind="line_cell", magic_name="ai")


def quiet(text: str) -> dict[str, str]:
    """A small line under an answer, for a notebook and for a terminal."""
    return {"text/plain": text, "text/html": f"<small>{html.escape(text)}</small>"}
