"""nbgrader's Autograde in two halves, so that the code of a whole class can run in between.

The first restores the tests and leaves the work in `.begun/`, where nothing counts yet; the second takes the outputs of
the run and gives the marks, exactly as nbgrader's own steps do. What is in `autograded/` changes in the second half
only, one student at a time.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, ClassVar

from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.converters.autograde import Autograde
from nbgrader.converters.base import BaseConverter, NbGraderException
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.utils import find_all_files, setenv

from leerlab_lab.came_back import CameBack
from leerlab_lab.valuechecks.marking import Answers, judge

BEGUN = ".begun"
"""Folder in the course's, with `<student>/<assignment>/`."""

ASKED = "/asked"
"""Behind a notebook's name, which holds no such sign: its run of which only the answers are kept."""


class TakeOver(NbGraderPreprocessor):
    """In the place of running a notebook: what came of a run elsewhere."""

    results: ClassVar[dict[tuple[str, str], CameBack | Answers]] = {}
    """By student and notebook; the answers to its value checks beside it, under its name with `ASKED`."""

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> tuple[NotebookNode, ResourcesDict]:
        about = resources["nbgrader"]
        student, notebook = about["student"], about["notebook"]
        came, answers = (self.results.get((student, name)) for name in (notebook, notebook + ASKED))
        if isinstance(came, CameBack):
            came.put_into(nb)
            judge(nb, answers if isinstance(answers, Answers) else None, self.log)
        return nb, resources


class FirstHalf(Autograde):
    """Up to the run: everything that nbgrader restores and copies."""

    @property
    def _output_directory(self) -> str:
        return BEGUN

    def init_assignment(self, assignment_id: str, student_id: str) -> None:
        """Bring the files together, as `Autograde.init_assignment` does; the gradebook hears of it in the second half.

        Were it told now, a run that is broken off would leave old marks under new work.
        """
        BaseConverter.init_assignment(self, assignment_id, student_id)
        source = Path(self.coursedir.format_path(self.coursedir.source_directory, ".", assignment_id))
        target = Path(self._format_dest(assignment_id, student_id))
        kept = set(self.exclude_overwriting.get(assignment_id, []))
        for found in map(Path, find_all_files(str(source), [*self.coursedir.ignore, "*.ipynb"])):
            name = found.relative_to(source)
            if str(name) not in kept:
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                (target / name).unlink(missing_ok=True)
                shutil.copy(found, target / name)
        with Gradebook(self.coursedir.db_url, self.coursedir.course_id) as book:
            known = {notebook.name for notebook in book.find_assignment(assignment_id).notebooks}
        self.notebooks = [notebook for notebook in self.notebooks if Path(notebook).stem in known]
        if not self.notebooks:
            raise NbGraderException("None of the notebooks belongs to this assignment.")

    def convert_single_notebook(self, notebook_filename: str) -> None:
        self._sanitizing = True
        self._init_preprocessors()
        BaseConverter.convert_single_notebook(self, notebook_filename)

    def set_permissions(self, assignment_id: str, student_id: str) -> None:
        """Nobody but the second half reads it, and removes it."""


class SecondHalf(Autograde):
    """From the run on: outputs, marks, lateness."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._sanitizing = False

    @property
    def _input_directory(self) -> str:
        return BEGUN

    def _init_preprocessors(self) -> None:
        self.exporter._preprocessors = []
        for step in (TakeOver, *self.autograde_preprocessors[1:]):
            self.exporter.register_preprocessor(step)

    def convert_single_notebook(self, notebook_filename: str) -> None:
        self._init_preprocessors()
        with setenv(NBGRADER_EXECUTION="autograde"):
            BaseConverter.convert_single_notebook(self, notebook_filename)


def changed(coursedir: Any, assignment: str, student: str) -> bool:
    """Whether a submission is another one than what was graded of it, or was never graded.

    The service gives each submission of a person a moment of its own, which `timestamp.txt` has: two with the same are
    the same. Which of two moments is later says nothing: clocks are set back, and a teacher collects an earlier one.
    """
    graded = Path(coursedir.format_path(coursedir.autograded_directory, student, assignment))
    submitted = Path(coursedir.format_path(coursedir.submitted_directory, student, assignment))
    return not graded.exists() or _moment(graded) != _moment(submitted)


def _moment(folder: Path) -> str:
    try:
        return (folder / "timestamp.txt").read_text("utf-8").strip()
    except FileNotFoundError:
        return ""


def begun(coursedir: Any, assignment: str, student: str) -> Path:
    """Where the first half leaves a student's work."""
    return Path(coursedir.format_path(BEGUN, student, assignment))
