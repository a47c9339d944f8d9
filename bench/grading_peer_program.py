"""Run in the peers' environment: grades a class with otter-grader or with grader-service's converter, in one process.

Started as `python grading_peer_program.py SIDE FOLDER --cell-time SECONDS`; FOLDER is nbgrader's of the course.
`prepare-otter` and `prepare-grader-service` do once what a teacher does when the assignment is made, and what no
grading pays for. `otter` and `grader-service` grade `submitted/`; the last line is the marks in JSON, by student and
check.
"""

# Run in an environment of notebooks, whose packages are not there where this is checked.
# mypy: disable-error-code="import-not-found, no-untyped-call"

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import nbconvert.preprocessors
import nbformat
from nbconvert.preprocessors import ExecutePreprocessor
from traitlets import Bool, Integer, Unicode
from traitlets.config import Config

Marks = dict[str, dict[str, "float | None"]]

# Not otter's older form, a doctest, in which what a student's code prints makes a check fail.
_TEST = """OK_FORMAT = False
from otter.test_files import test_case
name, points = {name!r}, 1

@test_case()
def check(env):
    exec({code!r}, env)
"""


def _notebooks(folder: Path) -> list[Path]:
    return sorted((folder / "submitted").glob("*/*/*.ipynb"))


def _check_of(cell: Any) -> str:
    about = cell.metadata.get("nbgrader", {})
    return str(about["grade_id"]) if about.get("grade") and cell.cell_type == "code" else ""


def prepare_otter(folder: Path) -> None:
    """Make otter's archive of the checks, and of every submission the version that otter would have handed out."""
    place = folder / "otter"
    (place / "tests").mkdir(parents=True)
    (source,) = (folder / "source").glob("*/*.ipynb")
    for cell in nbformat.read(source, 4).cells:
        if name := _check_of(cell).replace("-", "_"):
            text = _TEST.format(name=name, code=cell.source)
            (place / "tests" / f"{name}.py").write_text(text, "utf-8")
    with zipfile.ZipFile(place / "autograder.zip", "w") as archive:
        for test in sorted((place / "tests").iterdir()):
            archive.write(test, f"tests/{test.name}")
        archive.writestr("otter_config.json", json.dumps({"lang": "python"}))
    for file in _notebooks(folder):
        notebook = nbformat.read(file, 4)
        for cell in notebook.cells:
            if name := _check_of(cell).replace("-", "_"):
                cell.source = f'grader.check("{name}")'
        begin = f'import otter\ngrader = otter.Notebook("{file.name}")'
        notebook.cells.insert(0, nbformat.v4.new_code_cell(begin, id="otter"))
        goal = place / "work" / file.parent.parent.name / file.name
        goal.parent.mkdir(parents=True)
        nbformat.write(notebook, goal)


def otter(folder: Path, cell_seconds: int) -> Marks:
    """Grade everybody with `otter.api.grade_submission`, which is otter without a container."""

    class Bounded(ExecutePreprocessor):  # type: ignore[misc]
        """nbclient with the limit that otter has no setting for, and its fastest way to end a kernel."""

        timeout = Integer(cell_seconds).tag(config=True)
        interrupt_on_timeout = Bool(True).tag(config=True)
        shutdown_kernel = Unicode("immediate").tag(config=True)

    nbconvert.preprocessors.ExecutePreprocessor = Bounded
    from otter.api import grade_submission  # noqa: PLC0415

    marks: Marks = {}
    for file in sorted((folder / "otter" / "work").glob("*/*.ipynb")):
        student = file.parent.name
        try:
            results = grade_submission(str(file), str(folder / "otter" / "autograder.zip"), quiet=True)
            found = {name.replace("_", "-"): float(one.score) for name, one in results.results.items()}
        except Exception as error:  # noqa: BLE001  otter raises what the notebook's kernel came to
            sys.stderr.write(f"otter, {student}: {error!r}\n")
            found = {}
        marks[student] = dict(found)
    return marks


def prepare_grader_service(folder: Path) -> None:
    """Make the student version and its gradebook."""
    from grader_service.api.models.assignment_settings import AssignmentSettings  # noqa: PLC0415
    from grader_service.convert.converters.generate_assignment import GenerateAssignment  # noqa: PLC0415

    (source,) = (folder / "source").glob("*")
    place = folder / "grader-service" / "release"
    place.mkdir(parents=True)
    GenerateAssignment(str(source), str(place), "*.ipynb", AssignmentSettings()).start()


def grader_service(folder: Path, cell_seconds: int) -> Marks:
    """Grade everybody with the converter that grader-service's own executor calls."""
    from grader_service.api.models.assignment_settings import AssignmentSettings  # noqa: PLC0415
    from grader_service.convert.converters.autograde import Autograde  # noqa: PLC0415
    from grader_service.convert.gradebook.gradebook import Gradebook  # noqa: PLC0415

    config = Config()
    config.Execute.timeout = cell_seconds
    config.Execute.shutdown_kernel = "immediate"
    marks: Marks = {}
    for file in _notebooks(folder):
        student = file.parent.parent.name
        place = folder / "grader-service" / "graded" / student
        place.mkdir(parents=True)
        shutil.copy(folder / "grader-service" / "release" / "gradebook.json", place)
        found: dict[str, float | None] = {}
        try:
            Autograde(str(file.parent), str(place), "*.ipynb", AssignmentSettings(), config=config).start()
            with Gradebook(str(place / "gradebook.json")) as book:
                for grade in book.find_notebook(file.stem).grades:
                    found[grade.id] = None if grade.auto_score is None else float(grade.auto_score)
        except Exception as error:  # noqa: BLE001  a dead kernel, as otter's
            sys.stderr.write(f"grader-service, {student}: {error!r}\n")
        marks[student] = found
    return marks


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=("prepare-otter", "prepare-grader-service", "otter", "grader-service"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cell-time", type=int, default=30)
    given = parser.parse_args()
    folder = given.folder.resolve()
    os.chdir(folder)
    if given.side == "prepare-otter":
        prepare_otter(folder)
    elif given.side == "prepare-grader-service":
        prepare_grader_service(folder)
    else:
        grade = otter if given.side == "otter" else grader_service
        print(json.dumps(grade(folder, given.cell_time)))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
