"""Notebooks of a class on their way: to the cluster, several in one job, and what came of each back from it."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from leerlab_lab.came_back import CameBack
from leerlab_lab.canaries import Canary, made_for, with_canaries
from leerlab_lab.halves import ASKED
from leerlab_lab.preprocessors import FILES, NOTEBOOK, answers_from, fetched, results_of
from leerlab_lab.service import Service, ServiceError
from leerlab_lab.tree import PlainFile, collect
from leerlab_lab.valuechecks.marking import Answers, runs_of

LOST = "lost"
WITHOUT_END = frozenset({LOST, "cancelled", "not_started"})
"""How a run ended that came to nothing, for a reason outside it."""
_GONE = "The cluster does not know of this run any more."
_NOT_FOUND = 404


@dataclass(frozen=True)
class Item:
    """One run of one notebook of one student.

    Args:
        student: whose.
        notebook: its name in nbgrader, with `ASKED` where only the answers to its value checks are kept.
        sent: the code that runs.
        folder: with the files that go along.
        canaries: the last cells of what runs.
    """

    student: str
    notebook: str
    sent: NotebookNode
    folder: Path
    canaries: tuple[Canary, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """What it is known by in a plan."""
        return self.student, self.notebook

    def came(self, outcome: Mapping[str, Any], result: bytes, log: logging.Logger) -> CameBack | Answers:
        """What a run of it gave; arguments and errors as of `results_of`."""
        if self.notebook.endswith(ASKED):
            return answers_from(self.sent, outcome, result, log)
        return CameBack(self.canaries, results_of(self.sent, outcome, result, log), result, outcome["outcome"])


def items_in(folder: Path, student: str) -> list[Item]:
    """The notebooks that the first half has left of a student's work."""
    items = []
    for file in sorted(folder.glob("*.ipynb")):
        notebook = nbformat.read(file, 4)
        runs, canaries = runs_of(notebook), tuple(made_for(notebook))
        items.append(Item(student, file.stem, with_canaries(runs.shown, canaries), folder, canaries))
        if runs.asked is not None:
            items.append(Item(student, file.stem + ASKED, runs.asked, folder))
    return items


def send(service: Service, key: str, items: Sequence[Item]) -> str:
    """Send notebooks to the cluster; gives the id of their execution.

    Args:
        key: sent twice under one key, they run once.

    Raises:
        ServiceError: refused or not reachable.
    """
    with tempfile.TemporaryDirectory(prefix="leerlab-") as scratch:
        files: list[PlainFile] = []
        for number, item in enumerate(items):
            notebook = Path(scratch, f"{number}.ipynb")
            nbformat.write(item.sent, notebook)
            files.append(PlainFile(f"{number}/{NOTEBOOK}", notebook))
            files += [
                PlainFile(f"{number}/{FILES}/{file.path}", file.local)
                for file in collect(item.folder).files
                if not file.path.endswith(".ipynb")
            ]
        return str(service.send("POST", "/executions", files, key=key)["id"])


@dataclass(frozen=True)
class Standing:
    """Where an execution stands, as the service told it.

    Args:
        told: the service's answer.
        ended: whether nothing more will come of it.
    """

    told: dict[str, Any]
    ended: bool

    def outcome(self, number: int) -> dict[str, Any] | None:
        """How one notebook's run ended, with sentence and limits, as `results_of` takes it; None while it goes on."""
        why = self.told["outcomes"].get(str(number), LOST if self.ended else None)
        if why is None:
            return None
        return {**self.told, "outcome": why, "sentence": self.told["sentences"].get(why, _GONE)}


def standing(service: Service, execution: str) -> Standing:
    """Where an execution stands.

    Raises:
        ServiceError: it is not known now.
    """
    try:
        told = service.ask("GET", f"/executions/{execution}")
    except ServiceError as error:
        if error.status != _NOT_FOUND:
            raise
        return Standing({"outcomes": {}, "sentences": {}, "params": {}}, ended=True)
    return Standing(told, told["state"] == "ended")


def executed(service: Service, execution: str, number: int) -> bytes:
    """A notebook as it came out of its run, maybe a partial one; empty when there is none.

    Raises:
        ServiceError: it cannot be fetched now.
    """
    return fetched(service, f"/executions/{execution}/{number}")
