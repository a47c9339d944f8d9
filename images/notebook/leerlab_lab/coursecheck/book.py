"""One course folder of nbgrader, with the settings of a real course: release, submissions, marks.

No code of a notebook runs here. nbgrader's own converters and preprocessors do everything; only running the notebook is
left out (`Park`) the first time, and taken from elsewhere (`TakeOver`) the second time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from alembic.config import Config as AlembicConfig
from alembic.script import ScriptDirectory
from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbgrader.api import Base, Gradebook
from nbgrader.apps import NbGraderAPI
from nbgrader.dbutil import ALEMBIC_DIR
from nbgrader.preprocessors import NbGraderPreprocessor
from sqlalchemy import create_engine, text
from traitlets import Unicode
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

import leerlab_lab
from leerlab_lab.coursecheck.plan import ANSWERED, ASKED, EXECUTED, NOTEBOOK
from leerlab_lab.execute import NOT_RUN, error_output
from leerlab_lab.gradebook import do_once
from leerlab_lab.late import LatePenalties
from leerlab_lab.merge import NotTheSame, outputs_of, put
from leerlab_lab.valuechecks.marking import Answers, Runs, answers_of, judge, runs_of

_SETTINGS = Path(leerlab_lab.__file__).parents[1] / "config" / "course"
do_once()
# The line of a traceback or of nbgrader's log that names the reason.
_WHY = re.compile(r"^\s*((?:[\w.]*(?:Error|Exception)): .{1,400}|\[\w+ \| ERROR\] .{1,400})$", re.MULTILINE)


class Park(NbGraderPreprocessor):
    """In place of running the notebook: its code goes to a folder, from which others run it."""

    runs = Unicode(help="Folder with one folder a learner.").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> tuple[NotebookNode, ResourcesDict]:
        place = Path(self.runs, resources["nbgrader"]["student"])
        place.mkdir(parents=True)
        runs = runs_of(nb)
        nbformat.write(runs.shown, place / NOTEBOOK)
        if runs.asked is not None:
            nbformat.write(runs.asked, place / ASKED)
        return nb, resources


class TakeOver(NbGraderPreprocessor):
    """In place of running the notebook: the outputs of a run elsewhere, and nothing else of it."""

    runs = Unicode(help="Folder with one folder a learner.").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> tuple[NotebookNode, ResourcesDict]:
        place = Path(self.runs, resources["nbgrader"]["student"])
        runs = runs_of(nb)
        sent = runs.shown
        missing = [error_output(NOT_RUN, "This cell was not run.")]
        try:
            results = outputs_of((place / EXECUTED).read_bytes(), sent)
        except (FileNotFoundError, NotTheSame):
            results = [(missing, None) for _ in sent.cells]
        # A cell whose turn never came has no count and no output; an empty cell has none either.
        put(nb, [
            (outputs, count) if outputs or count is not None or not cell.source.strip() else (missing, None)
            for cell, (outputs, count) in zip(sent.cells, results, strict=True)
        ])  # fmt: skip
        judge(nb, _answers(place / ANSWERED, runs), self.log)
        return nb, resources


def _answers(answered: Path, runs: Runs) -> Answers | None:
    """What came back of the second run; None where there was none, or nothing."""
    try:
        return answers_of(answered.read_bytes(), runs.asked) if runs.asked is not None else None
    except (FileNotFoundError, NotTheSame):
        return None


@dataclass(frozen=True)
class Mark:
    """A graded cell of one submission: what it got, or None where a teacher marks; the most; whether one must look."""

    got: float | None
    most: float
    by_hand: bool


class Book:
    """A course folder with `source/<assignment>`.

    Args:
        place: the folder.
        assignment: the assignment's id.
    """

    def __init__(self, place: Path, assignment: str) -> None:
        self.place = place.resolve()
        self.assignment = assignment
        self._database = f"sqlite:///{self.place}/gradebook.db"
        if not (self.place / "gradebook.db").exists():
            self._make_gradebook()

    def release(self) -> str:
        """Make the students' version; gives the reason where nbgrader refuses, else nothing."""
        done = self._api({}).generate_assignment(self.assignment, force=True)
        return "" if done["success"] else _why(done)

    @property
    def released(self) -> Path:
        """The folder that students get."""
        return self.place / "release" / self.assignment

    def hand_in(self, student: str, notebook: NotebookNode) -> None:
        """Put a submission where nbgrader collects them."""
        folder = self.place / "submitted" / student / self.assignment
        folder.mkdir(parents=True)
        nbformat.write(notebook, folder / f"{self.assignment}.ipynb")

    def park(self, student: str, runs: Path) -> str:
        """Restore what nbgrader restores in a submission, its code goes to `runs/<student>`; says what went wrong."""
        return self._autograde(student, Park, runs)

    def mark(self, student: str, runs: Path) -> str:
        """Grade a submission with the outputs in `runs/<student>`; says what went wrong."""
        return self._autograde(student, TakeOver, runs)

    def graded(self, student: str) -> NotebookNode:
        """The submission as the teacher sees it after grading."""
        return read(self.place / "autograded" / student / self.assignment / f"{self.assignment}.ipynb")

    def marks(self) -> dict[str, dict[str, Mark]]:
        """Every learner's marks by grade_id."""
        with Gradebook(self._database) as book:
            return {
                one.student.id: {
                    grade.name: Mark(grade.auto_score, grade.max_score, bool(grade.needs_manual_grade))
                    for notebook in one.notebooks
                    for grade in notebook.grades
                }
                for one in book.assignment_submissions(self.assignment)
            }

    def _make_gradebook(self) -> None:
        """As `nbgrader.api.Gradebook` makes it, which starts a program only to learn the version of its tables."""
        settings = AlembicConfig()
        settings.set_main_option("script_location", ALEMBIC_DIR)
        version = ScriptDirectory.from_config(settings).get_current_head()
        engine = create_engine(self._database)
        with engine.begin() as connection:
            Base.metadata.create_all(connection)
            connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
            connection.execute(text("INSERT INTO alembic_version VALUES (:version)"), {"version": version})
        engine.dispose()

    def _autograde(self, student: str, runner: type[NbGraderPreprocessor], runs: Path) -> str:
        changes: dict[str, Any] = {runner.__name__: {"runs": str(runs)}}
        api = self._api(changes)
        # In a check nothing is handed in, so nothing is late: the exchange, which knows of deadlines, is not there.
        steps = [step for step in api.config.Autograde.autograde_preprocessors if step is not LatePenalties]
        # After parking nothing is graded yet: the steps that follow would only cost time.
        api.config.Autograde.autograde_preprocessors = [runner] if runner is Park else [runner, *steps[1:]]
        done = api.autograde(self.assignment, student, force=True, create=True)
        return "" if done["success"] else _why(done)

    def _api(self, changes: Mapping[str, Any]) -> NbGraderAPI:
        settings = PyFileConfigLoader("nbgrader_config.py", path=str(_SETTINGS)).load_config()
        settings.merge(Config(changes))
        settings.CourseDirectory.root = str(self.place)
        settings.CourseDirectory.course_id = "check"
        settings.CourseDirectory.db_url = self._database
        return NbGraderAPI(config=settings)


def read(file: Path) -> NotebookNode:
    """A notebook."""
    return nbformat.read(file, as_version=4)


def graded_as(cell: Mapping[str, Any]) -> str:
    """The cell's grade_id, or nothing."""
    return str(cell["metadata"].get("nbgrader", {}).get("grade_id", ""))


def named(cell: Mapping[str, Any]) -> str:
    """What a person can find the cell by: its grade_id, else its id."""
    return graded_as(cell) or str(cell.get("id", ""))


def is_solution(cell: Mapping[str, Any]) -> bool:
    """Whether the cell is the learner's to write."""
    return bool(cell["metadata"].get("nbgrader", {}).get("solution"))


def is_graded(cell: Mapping[str, Any]) -> bool:
    """Whether the cell carries points."""
    return bool(cell["metadata"].get("nbgrader", {}).get("grade"))


def _why(done: Mapping[str, Any]) -> str:
    said = str(done.get("error") or "") + "\n" + str(done.get("log") or "")
    found = _WHY.findall(said)
    return (found[-1] if found else said.strip()[-300:]).strip()
