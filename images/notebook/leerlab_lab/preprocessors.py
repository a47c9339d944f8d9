"""nbgrader's `Execute` replaced: the notebook runs in a Slurm job behind a wall, and only its outputs come back."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import nbformat
from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbgrader.converters.base import NbGraderException
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Float

from leerlab_lab.came_back import CameBack, Results
from leerlab_lab.canaries import made_for, with_canaries
from leerlab_lab.execute import NOT_RUN, error_output
from leerlab_lab.merge import NotTheSame, outputs_of
from leerlab_lab.service import Service, ServiceError
from leerlab_lab.tree import PlainFile, collect
from leerlab_lab.valuechecks.marking import Answers, answers_of, judge, runs_of

T = TypeVar("T")
NOTEBOOK = "notebook.ipynb"
FILES = "files"
_WAIT_SECONDS = 20.0
_NOT_FOUND = 404
# What the student's code did to itself; everything else that goes wrong is not the student's doing, gives no marks and
# leaves the submission to be graded again.
_OWN_DOING = {"time", "memory", "unusable"}
_SENTENCES = {
    "time": "The notebook as a whole took longer than {seconds} seconds and was stopped.",
    "memory": "The notebook used more memory than it may ({memory}) and was stopped.",
    "unusable": "The notebook's run gave no usable result.",
}
_STILL_MISSING = "This cell was not run. "


class NotGraded(Exception):
    """A run came to no result, for a reason that is not the student's; the sentence says what to do."""


class WalledExecute(NbGraderPreprocessor):
    """Sends the notebook's code and the submission's other files to the grading service and takes over outputs.

    Other notebooks, other people's work, the gradebook and the course's source never leave this server. The code of
    the tests does, as it must: it runs there.
    """

    longest_wait = Float(6 * 3600, help="Most seconds to wait for the cluster, queue included.").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> tuple[NotebookNode, ResourcesDict]:
        """Run the notebook elsewhere.

        Raises:
            NbGraderException: it could not be run for a reason that is not the student's; nothing was graded.
        """
        runs = runs_of(nb)
        if not runs.shown.cells:
            return nb, resources
        canaries = tuple(made_for(nb))
        sent = [run for run in (with_canaries(runs.shown, canaries), runs.asked) if run is not None]
        folder = Path(resources["metadata"]["path"])
        try:
            (outcome, executed), *asked = self._run(sent, folder)
        except ServiceError as error:
            raise NbGraderException(f"Not graded: {error} Grade this submission again later.") from error
        try:
            results = results_of(sent[0], outcome, executed, self.log)
            answers = [answers_from(sent[1], *came, self.log) for came in asked]
        except NotGraded as error:
            raise NbGraderException(str(error)) from error
        CameBack(canaries, results, executed, outcome["outcome"]).put_into(nb)
        judge(nb, answers[0] if answers else None, self.log)
        return nb, resources

    def _run(self, sent: Sequence[NotebookNode], folder: Path) -> list[tuple[dict[str, Any], bytes]]:
        """Run notebooks elsewhere; how each ended, and what came back of it."""
        service = Service()
        with tempfile.TemporaryDirectory(prefix="leerlab-") as scratch:
            files = []
            for number, one in enumerate(sent):
                notebook = Path(scratch, f"{number}.ipynb")
                nbformat.write(one, notebook)
                files.append(PlainFile(f"{number}/{NOTEBOOK}", notebook))
                files += [
                    PlainFile(f"{number}/{FILES}/{file.path}", file.local)
                    for file in collect(folder).files
                    if not file.path.endswith(".ipynb")
                ]
            started = service.send("POST", "/executions", files)
        execution = f"/executions/{started['id']}"
        outcome = self._ended(service, execution)
        if outcome["state"] != "ended":
            service.ask("DELETE", execution)
            raise ServiceError(f"The cluster did not run this notebook within {self.longest_wait:.0f} seconds.")
        self.log.info("Ran as %s: %s", started["id"], outcome["outcomes"])
        came = []
        for number in range(len(sent)):
            why = outcome["outcomes"][str(number)]
            told = {**outcome, "outcome": why, "sentence": outcome["sentences"][why]}
            came.append((told, fetched(service, f"{execution}/{number}")))
        service.ask("DELETE", execution)
        return came

    def _ended(self, service: Service, execution: str) -> dict[str, Any]:
        outcome: dict[str, Any] = {"state": "waiting"}
        for _ in range(max(1, round(self.longest_wait / _WAIT_SECONDS))):
            outcome = service.ask("GET", execution, wait=_WAIT_SECONDS, seconds=str(_WAIT_SECONDS))
            if outcome["state"] == "ended":
                break
        return outcome


def results_of(sent: NotebookNode, outcome: Mapping[str, Any], executed: bytes, log: logging.Logger) -> Results:
    """What a run gave each cell that was sent.

    Args:
        sent: the notebook that was sent.
        outcome: how its run ended, with the service's sentence and the limits (`outcome`, `sentence`, `params`).
        executed: what came back; empty when nothing did.
        log: where it is said that something is missing.

    Raises:
        NotGraded: the run came to no result for a reason that is not the student's.
    """
    results, sentence = _came_back(outputs_of, sent, outcome, executed, log)
    if results is not None and not sentence:
        return results
    missing = [error_output(NOT_RUN, _STILL_MISSING + sentence)]
    if results is None:
        return [(missing, None) for _ in sent.cells]
    # A cell whose turn never came has no execution count; the cells before it keep what they showed.
    return [(outputs, count) if count is not None else (missing, None) for outputs, count in results]


def answers_from(sent: NotebookNode, outcome: Mapping[str, Any], executed: bytes, log: logging.Logger) -> Answers:
    """What a run answered to the questions of value checks.

    Args:
        sent, outcome, executed, log: as `results_of`.

    Raises:
        NotGraded: the run came to no result for a reason that is not the student's.
    """
    answers, sentence = _came_back(answers_of, sent, outcome, executed, log)
    return Answers(answers.cells if answers is not None else [], sentence)


def _came_back(
    read: Callable[[bytes, NotebookNode], T],
    sent: NotebookNode,
    outcome: Mapping[str, Any],
    executed: bytes,
    log: logging.Logger,
) -> tuple[T | None, str]:
    """What could be read of a run, and a sentence where that is not all of it."""
    why = outcome["outcome"]
    if why != "done" and why not in _OWN_DOING:
        raise NotGraded(f"Not graded: {outcome['sentence']} Grade this submission again later.")
    came = None
    try:
        came = read(executed, sent) if executed else None
    except NotTheSame as error:
        log.warning("%s", error)
        why = "unusable"
    if why == "done" and came is not None:
        return came, ""
    sentence = _SENTENCES[why if why in _SENTENCES else "unusable"].format(**outcome["params"])
    log.warning("%s", sentence)
    return came, sentence


def fetched(service: Service, path: str) -> bytes:
    """An executed notebook, maybe a partial one; empty when there is none."""
    try:
        return service.bytes(path)
    except ServiceError as error:
        if error.status != _NOT_FOUND:
            raise
        return b""
