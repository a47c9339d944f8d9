"""Take over outputs, and nothing but outputs, from a notebook that untrusted code could have written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbgrader.utils import is_grade

from leerlab_lab.asserts import ends_in_value
from leerlab_lab.pages import clean

# What a page may show of what a student's code made. Everything else is left out; scripts cannot be in these, and
# HTML is cleaned.
SAFE_TYPES = ("text/plain", "text/html", "image/png", "image/jpeg")
LARGEST_OUTPUT = 2**20
LARGEST_IMAGE = 2**22
MOST_OUTPUTS = 200

_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]*\Z")
_IDS = re.compile(r"[A-Za-z0-9_.-]{1,80}\Z")


class NotTheSame(Exception):
    """The executed notebook is not the notebook that was sent, or no notebook at all."""


def stripped(notebook: NotebookNode) -> NotebookNode:
    """The code to run and nothing else: sources in order under fresh ids, no outputs, no metadata, no texts."""
    cells = [
        nbformat.v4.new_code_cell(cell.source, id=f"cell-{index:04d}", metadata={})
        for index, cell in enumerate(notebook.cells)
        if cell.cell_type == "code"
    ]
    kernel = notebook.metadata.get("kernelspec", {}).get("name", "python3")
    if not isinstance(kernel, str) or not _IDS.match(kernel):
        kernel = "python3"
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": {"name": kernel, "display_name": kernel}})


def returned(executed: bytes, sent: NotebookNode) -> NotebookNode:
    """The executed notebook, which is the one that was sent; its outputs are as they came.

    Raises:
        NotTheSame: not a valid notebook, or other cells, ids or sources than were sent.
    """
    try:
        notebook = nbformat.reads(executed.decode("utf-8"), as_version=4)
        nbformat.validate(notebook)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, nbformat.ValidationError) as error:
        raise NotTheSame("What came back is no valid notebook.") from error
    same = len(notebook.cells) == len(sent.cells) and all(
        (ran.cell_type, ran.get("id"), ran.source) == ("code", cell.id, cell.source)
        for ran, cell in zip(notebook.cells, sent.cells, strict=True)
    )
    if not same:
        raise NotTheSame("Other cells came back than were sent.")
    return notebook


def outputs_of(executed: bytes, sent: NotebookNode) -> list[tuple[list[NotebookNode], int | None]]:
    """The outputs and execution counts of an executed notebook, cleaned, one pair per cell that was sent.

    Raises:
        NotTheSame: not a valid notebook, or other cells, ids or sources than were sent.
    """
    return [(cleaned(cell.outputs), _count(cell.execution_count)) for cell in returned(executed, sent).cells]


def put(notebook: NotebookNode, results: Sequence[tuple[list[NotebookNode], int | None]]) -> None:
    """Give a notebook's code cells the outputs and counts of `outputs_of`; nothing else of it changes."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell, (outputs, count) in zip(cells, results, strict=True):
        cell.outputs = for_marks(outputs, cell.source) if is_grade(cell) else outputs
        cell.execution_count = count


def for_marks(outputs: list[NotebookNode], source: str) -> list[NotebookNode]:
    """The outputs of a test cell in an order in which nbgrader 0.9.6 cannot be misled.

    `nbgrader.utils.determine_grade` decides by the first error, message on standard error or result that it meets: a
    result that the code under test shows before an error would count as points, and a mere warning as failure. So
    errors come first, of the results only the last stays, and that only where the cell's last line can show one, and
    messages are shown as ordinary text.

    Args:
        outputs: of a test cell.
        source: its code.
    """
    errors = [output for output in outputs if output.output_type == "error"]
    results = [output for output in outputs if output.output_type == "execute_result" and ends_in_value(source)]
    rest = []
    for output in outputs:
        if output.output_type == "stream":
            rest.append(nbformat.v4.new_output("stream", name="stdout", text=output.text))
        elif output.output_type == "display_data":
            rest.append(output)
    return [*errors, *results[-1:], *rest] if not errors else [*errors, *rest]


def cleaned(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Outputs with safe types only, bounded in number and size.

    Marks depend on whether there is an error and on the last result (`for_marks`), so neither is ever left out, however
    much a student's code shows before it.
    """
    shown, rest = outputs[:MOST_OUTPUTS], outputs[MOST_OUTPUTS:]
    errors = [output for output in rest if output.output_type == "error"][:MOST_OUTPUTS]
    results = [output for output in rest if output.output_type == "execute_result"][-1:]
    return [_cleaned(output) for output in (*shown, *errors, *results)]


def _cleaned(output: NotebookNode) -> NotebookNode:
    if output.output_type == "stream":
        return nbformat.v4.new_output("stream", name=output.name, text=_text(output.text))
    if output.output_type == "error":
        traceback = [_text(line) for line in output.traceback][:200]
        return nbformat.v4.new_output(
            "error", ename=_text(output.ename)[:200], evalue=_text(output.evalue), traceback=_bounded(traceback)
        )
    data = {kind: value for kind in SAFE_TYPES if (value := _safe(kind, output.data.get(kind))) is not None}
    if output.output_type == "execute_result":
        return nbformat.v4.new_output("execute_result", data=data, execution_count=_count(output.execution_count))
    return nbformat.v4.new_output("display_data", data=data)


def _safe(kind: str, value: Any) -> str | None:
    text = "".join(value) if isinstance(value, list) and all(isinstance(part, str) for part in value) else value
    if not isinstance(text, str):
        return None
    if kind == "text/plain":
        return _text(text)
    if kind == "text/html":
        return clean(text) if len(text) <= LARGEST_OUTPUT else None
    return text if len(text) <= LARGEST_IMAGE and _BASE64.match(text) else None


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else "".join(str(part) for part in value) if isinstance(value, list) else ""
    return text if len(text) <= LARGEST_OUTPUT else text[:LARGEST_OUTPUT] + "\n... Output truncated ...\n"


def _bounded(lines: list[str]) -> list[str]:
    return lines if sum(map(len, lines)) <= LARGEST_OUTPUT else [lines[-1][:2000]]


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**6 else None
