"""Value checks in nbgrader's steps: which code goes out to be run, what came back, and what stands in each cell.

A notebook with value checks is run twice, each time with fresh files behind a wall of its own. The run that is *shown*
is the student's work with the value checks left out; its outputs are kept. The run that is *asked* is told the
questions, hidden inputs among them; of it nothing is kept but the answers. So no code that has seen a hidden input has
an output, a file or a later cell to show it in, and no expectation leaves this process.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbgrader.utils import is_grade

from leerlab_lab.checks import CheckFailed
from leerlab_lab.execute import error_output
from leerlab_lab.lesson import language_of
from leerlab_lab.merge import returned, stripped
from leerlab_lab.valuechecks.asking import ANSWER
from leerlab_lab.valuechecks.plain import NotPlain, Raised, decoded
from leerlab_lab.valuechecks.reading import BEGIN_HIDDEN, Mixed, Step, Why, calls_without_import, is_meant, read
from leerlab_lab.valuechecks.sentences import Manner, complaint, passed, unanswered

_LONGEST_ANSWER = 2**20
_LONGEST_NAME = 100
_ASK = "from leerlab_lab.valuechecks.asking import answer as _leerlab_answer\n_leerlab_answer(globals(), {steps!r})\n"
_MIXED = "The test cell %s imports check and has other code as well (%s). It ran as an ordinary test cell."


@dataclass(frozen=True)
class Runs:
    """What is run of one notebook.

    Args:
        shown: whose outputs are kept.
        asked: of which only the answers are kept; None where nothing is asked.
    """

    shown: NotebookNode
    asked: NotebookNode | None


@dataclass(frozen=True)
class Answers:
    """What came back of the run that was asked.

    Args:
        cells: the answers of each code cell, by the number of their step.
        why: why some may be missing; empty where the run came to its end.
    """

    cells: Sequence[Mapping[int, Any]] = field(default_factory=list)
    why: str = ""


def runs_of(notebook: NotebookNode) -> Runs:
    """The code of a notebook as it goes out to be run.

    Args:
        notebook: with its tests restored.
    """
    shown = stripped(notebook)
    asked = copy.deepcopy(shown)
    last = -1
    for number, steps in value_checks(notebook):
        shown.cells[number].source = "\n".join(step.code for step in steps if step.expected is None and not step.hidden)
        tuples = [(n, step.expected is not None, step.code) for n, step in enumerate(steps)]
        asked.cells[number].source = _ASK.format(steps=tuples)
        last = number
    asked.cells = asked.cells[: last + 1]
    return Runs(shown, asked if last >= 0 else None)


def value_checks(notebook: NotebookNode) -> Iterator[tuple[int, list[Step]]]:
    """The value check cells: their place among the code cells, and their steps.

    Whether a cell is one is decided by its source. What the notebook says of its cells a student has written, and a
    test that were taken for none would run with everything that is hidden in it.
    """
    language = language_of(notebook.cells)
    for number, cell in enumerate(cell for cell in notebook.cells if cell.cell_type == "code"):
        if _could_be(cell):
            try:
                yield number, read(cell.source, language)
            except Mixed:
                continue


def mixed(notebook: NotebookNode) -> Iterator[tuple[NotebookNode, Mixed]]:
    """The test cells that use `check` and are no value check cells."""
    somewhere = any(is_meant(cell.source) for cell in notebook.cells if cell.cell_type == "code")
    for cell in notebook.cells:
        if cell.cell_type != "code" or not is_grade(cell):
            continue
        if is_meant(cell.source):
            try:
                read(cell.source)
            except Mixed as error:
                yield cell, error
        elif somewhere and calls_without_import(cell.source):
            yield cell, Mixed(Why.IMPORT, 1)


def answers_of(executed: bytes, sent: NotebookNode) -> Answers:
    """The answers in an executed notebook, as far as they are answers; of several to one question the last.

    Args:
        executed: what came back.
        sent: what was sent.

    Raises:
        NotTheSame: it is not the notebook that was sent.
    """
    return Answers([dict(_answers(cell.outputs)) for cell in returned(executed, sent).cells])


def judge(notebook: NotebookNode, answers: Answers | None, log: logging.Logger) -> None:
    """Write what came of each value check cell: nothing but this decides its marks.

    Args:
        notebook: the one that `runs_of` was given; changed in place.
        answers: what came back; None when nothing did.
        log: where a teacher is told of cells that were not run as value checks.
    """
    answers = answers or Answers()
    language = language_of(notebook.cells)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, steps in value_checks(notebook):
        cell = cells[number]
        given = answers.cells[number] if number < len(answers.cells) else {}
        cell.outputs, cell.execution_count = [_verdict(steps, given, answers.why, language)], None
    for cell, error in mixed(notebook):
        log.warning(_MIXED, cell.metadata["nbgrader"].get("grade_id"), error)


def _verdict(steps: Sequence[Step], given: Mapping[int, Any], why: str, language: str) -> NotebookNode:
    count = 0
    for number, step in enumerate(steps):
        if step.expected is None:
            continue
        count += 1
        manner = Manner(language, step.hidden, marking=True)
        if number not in given:
            return error_output(CheckFailed.__name__, " ".join(filter(None, (unanswered(manner), why))))
        if said := complaint(given[number], step.expected, manner):
            return error_output(CheckFailed.__name__, said)
    return nbformat.v4.new_output("stream", name="stdout", text=f"{passed(count, Manner(language))}\n")


def _could_be(cell: NotebookNode) -> bool:
    # A cell of the student's own that tries `check` is the student's.
    return is_meant(cell.source) and ("nbgrader" in cell.metadata or BEGIN_HIDDEN in cell.source)


def _answers(outputs: Sequence[NotebookNode]) -> Iterator[tuple[int, Any]]:
    for output in outputs:
        text = output.get("data", {}).get(ANSWER) if output.output_type == "display_data" else None
        if isinstance(text, str) and len(text) <= _LONGEST_ANSWER and (told := _told(text)) is not None:
            yield told


def _told(text: str) -> tuple[int, Any] | None:
    """The number of a question and its answer; None where that is not what is said."""
    try:
        said = json.loads(text, parse_constant=_refuse)
        number = said["number"]
        if isinstance(number, bool) or not isinstance(number, int):
            return None
        if "error" in said:
            return number, Raised(str(said["error"])[:_LONGEST_NAME])
        return number, decoded(said["value"])
    except (ValueError, TypeError, KeyError, RecursionError, NotPlain):
        return None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
