"""One assignment of the catalogue, released and autograded by the real nbgrader in a course folder of its own."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import yaml

CODE = Path(__file__).resolve().parents[3]
COURSE = CODE / "courses" / "mbo" / "ai-in-je-vak"
REFERENCE, REFERENCE_AGAIN, UNTOUCHED = "reference", "reference-again", "untouched"
GRADE_SECONDS = 360

# Students' code runs here without a wall: it is the catalogue's own. The rest is what a real course has.
_COURSE = """c = get_config()
c.CourseDirectory.course_id = {course!r}
c.Autograde.autograde_preprocessors = [
    "nbgrader.preprocessors.Execute",
    "nbgrader.preprocessors.SaveAutoGrades",
    "nbgrader.preprocessors.CheckCellMetadata",
]
c.Execute.shutdown_kernel = "immediate"
c.Execute.timeout = 60
"""

_READ_GRADEBOOK = """
import json, sys
from nbgrader.api import Gradebook
with Gradebook("sqlite:///gradebook.db") as book:
    print(json.dumps({
        one.student.id: {
            grade.name: {"auto": grade.auto_score, "most": grade.max_score, "by_hand": grade.needs_manual_grade}
            for notebook in one.notebooks for grade in notebook.grades
        }
        for one in book.assignment_submissions(sys.argv[1])
    }))
"""


@dataclass(frozen=True)
class Case:
    """What one imagined learner hands in.

    Args:
        name: the file's name, which is the learner's name in the gradebook.
        cells: source of each cell that this learner writes otherwise than the reference, by grade_id.
        loses: grade_id of the cell that must lose its marks; empty for a correct solution.
        message: part of what that cell must say.
    """

    name: str
    cells: Mapping[str, str]
    loses: str = ""
    message: str = ""

    @classmethod
    def load(cls, file: Path) -> Case:
        said = yaml.safe_load(file.read_text(encoding="utf-8"))
        return cls(file.stem, said["cells"], said.get("loses", ""), said.get("message", ""))


@dataclass(frozen=True)
class Grade:
    """A graded cell of one submission: marks by the checks, the most one can get, and whether a teacher must look."""

    auto: float | None
    most: float
    by_hand: bool


@dataclass(frozen=True)
class Graded:
    """All submissions after grading: marks and executed notebooks, by learner; `seconds` for the whole run."""

    grades: Mapping[str, Mapping[str, Grade]]
    notebooks: Mapping[str, nbformat.NotebookNode]
    seconds: float


@dataclass(frozen=True)
class AssignmentFolder:
    """One assignment of the catalogue.

    Args:
        course: the course's folder.
        name: the assignment's id, which is also its notebook's name.
    """

    course: Path
    name: str

    @property
    def source(self) -> nbformat.NotebookNode:
        return read(self.course / "source" / self.name / f"{self.name}.ipynb")

    def cases(self, kind: str) -> list[Case]:
        """The teacher's `wrong` or `other` solutions."""
        return [Case.load(file) for file in sorted((self.course / "teacher" / self.name / kind).glob("*.yaml"))]


def read(file: Path) -> nbformat.NotebookNode:
    return nbformat.read(file, as_version=4)  # type: ignore[no-untyped-call]


def graded_as(cell: Mapping[str, Any]) -> str:
    """The cell's grade_id, or nothing."""
    return str(cell["metadata"].get("nbgrader", {}).get("grade_id", ""))


def cell_of(notebook: nbformat.NotebookNode, grade_id: str) -> nbformat.NotebookNode:
    (found,) = [cell for cell in notebook.cells if graded_as(cell) == grade_id]
    return found


def solutions(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """What stands in each cell that is the learner's to write."""
    return {
        graded_as(cell): cell.source for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("solution")
    }


def filled_in(released: nbformat.NotebookNode, answers: Mapping[str, str]) -> nbformat.NotebookNode:
    """The released notebook with a learner's answers."""
    notebook = copy.deepcopy(released)
    for grade_id, text in answers.items():
        cell_of(notebook, grade_id).source = text
    return notebook


class CourseFolder:
    """A course folder of nbgrader in a temporary place, with the settings that a real course has.

    Args:
        place: an empty folder.
        course: the course's id.
    """

    def __init__(self, place: Path, course: str) -> None:
        self.place = place
        (place / "nbgrader_config.py").write_text(_COURSE.format(course=course), encoding="utf-8")

    def nbgrader(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._python("-m", "nbgrader", *arguments)

    def autograde(self, assignment: str, students: Sequence[str]) -> None:
        """Grade every submission; two runs share the work, one for each of the two cores that a test may count on."""
        with ThreadPoolExecutor(2) as runs:
            for done in [
                runs.submit(
                    self.nbgrader,
                    "autograde",
                    assignment,
                    "--create",
                    f"--CourseDirectory.student_id_exclude={','.join(others)}",
                )
                for others in (students[::2], students[1::2])
            ]:
                done.result()

    def grades(self, assignment: str) -> dict[str, dict[str, Grade]]:
        said = json.loads(self._python("-c", _READ_GRADEBOOK, assignment).stdout)
        return {
            student: {cell: Grade(**marks) for cell, marks in of_cells.items()} for student, of_cells in said.items()
        }

    def hand_in(self, student: str, assignment: str, files: Sequence[Path], notebook: nbformat.NotebookNode) -> None:
        """Put a submission where nbgrader collects them."""
        folder = self.place / "submitted" / student / assignment
        folder.mkdir(parents=True)
        for file in files:
            (folder / file.name).write_bytes(file.read_bytes())
        nbformat.write(notebook, folder / f"{assignment}.ipynb")  # type: ignore[no-untyped-call]

    def _python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = Path(os.environ["LEERLAB_NOTEBOOK_ENV"])
        lab = CODE / "images" / "notebook"
        home = self.place / "home"
        home.mkdir(exist_ok=True)
        done = subprocess.run(
            [environment / "bin" / "python", *arguments],
            cwd=self.place,
            env={
                "PATH": f"{environment / 'bin'}:/usr/bin:/bin",
                "HOME": str(home),
                "IPYTHONDIR": str(home / "ipython"),
                "JUPYTER_CONFIG_DIR": str(home / "jupyter"),
                "JUPYTER_DATA_DIR": str(home / "jupyter"),
                "JUPYTER_CONFIG_PATH": str(lab / "config" / "course"),
                "PYTHONPATH": str(lab),
                "PYTHONDONTWRITEBYTECODE": "1",
                "OMP_NUM_THREADS": "1",
            },
            capture_output=True,
            text=True,
            timeout=GRADE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(arguments[:3])}:\n{done.stdout}\n{done.stderr}"
        return done
