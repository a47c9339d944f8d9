"""What the cells of a notebook have shown, taken from a kernel's messages: bounded, in nbformat's own form.

The rules are those of nbclient 0.11 (`NotebookClient.process_message`), whose results nbgrader knows; but a result is
neither cleared nor taken in by a widget, since a test without one has full marks.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import nbformat
from nbformat import NotebookNode

from leerlab_lab.execute import CELL_BYTES, cut, size

log = logging.getLogger("leerlab.forked")

_TRUNCATED = "\n... Output truncated ...\n"
_PLAIN = {"stream", "display_data", "execute_result", "error"}


class Shown:
    """The outputs of all cells."""

    def __init__(self) -> None:
        self._outputs: dict[int, list[NotebookNode]] = defaultdict(list)
        self._bytes: dict[int, int] = defaultdict(int)
        self._displays: dict[str, list[NotebookNode]] = defaultdict(list)
        self._clear: set[int] = set()
        # Output widgets that take in what is shown, by the cell that they take it from (ipywidgets' `with output:`).
        self._captured: dict[str, str] = {}

    def of(self, cell: int) -> list[NotebookNode]:
        """The outputs of one cell."""
        return self._outputs[cell]

    def take(self, cell: int, kind: str, content: Mapping[str, Any]) -> None:
        """Take in one message of the cell that runs; what is no message is left out."""
        try:
            self._take(cell, kind, content)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            # Code in the kernel can send whatever it wants.
            log.warning("A message of the kind %.40s could not be read: %r", kind, error)

    def _take(self, cell: int, kind: str, content: Mapping[str, Any]) -> None:
        if kind in ("comm_open", "comm_msg", "comm_close"):
            self._comm(kind, content)
        elif kind == "clear_output":
            if content.get("wait"):
                self._clear.add(cell)
            else:
                self._cleared(cell)
        elif kind == "update_display_data":
            for output in self._displays.get(str(content["transient"]["display_id"]), ()):
                output.data, output.metadata = _bundle(content["data"]), _bundle(content.get("metadata") or {})
        elif kind in _PLAIN and (kind == "execute_result" or str(cell) not in self._captured.values()):
            self._show(cell, kind, content)

    def _show(self, cell: int, kind: str, content: Mapping[str, Any]) -> None:
        outputs = self._outputs[cell]
        if cell in self._clear:
            self._clear.discard(cell)
            self._cleared(cell)
        output = _output(kind, content)
        if kind not in ("error", "execute_result"):
            # Errors and results are always kept, since marks depend on them.
            before = self._bytes[cell]
            self._bytes[cell] += size(content)
            if self._bytes[cell] > CELL_BYTES:
                if before <= CELL_BYTES:
                    outputs.append(nbformat.v4.new_output("stream", name="stdout", text=_TRUNCATED))
                return
        if kind == "stream" and outputs and outputs[-1].output_type == "stream" and outputs[-1].name == output.name:
            outputs[-1].text += output.text
            return
        display = (content.get("transient") or {}).get("display_id")
        if display is not None:
            self._displays[str(display)].append(output)
        outputs.append(output if kind == "stream" else cut(output))

    def _cleared(self, cell: int) -> None:
        """Nothing stays but a result: it is a cell's last word, and one that is taken back would be full marks."""
        outputs = self._outputs[cell]
        outputs[:] = [one for one in outputs if one.output_type == "execute_result"]

    def _comm(self, kind: str, content: Mapping[str, Any]) -> None:
        comm, state = str(content["comm_id"]), content.get("data", {}).get("state", {})
        if kind == "comm_close":
            self._captured.pop(comm, None)
        elif isinstance(state.get("msg_id"), str):
            self._captured[comm] = state["msg_id"]


def _output(kind: str, content: Mapping[str, Any]) -> NotebookNode:
    if kind == "stream":
        name = "stderr" if content["name"] == "stderr" else "stdout"
        return nbformat.v4.new_output("stream", name=name, text=str(content["text"]))
    if kind == "error":
        lines = [str(line) for line in content["traceback"]]
        return nbformat.v4.new_output(
            "error", ename=str(content["ename"]), evalue=str(content["evalue"]), traceback=lines
        )
    output = nbformat.v4.new_output(
        kind, data=_bundle(content["data"]), metadata=_bundle(content.get("metadata") or {})
    )
    if kind == "execute_result":
        output.execution_count = int(content["execution_count"])
    return output


def _bundle(raw: Mapping[str, Any]) -> NotebookNode:
    return nbformat.from_dict({str(kind): value for kind, value in raw.items()})
