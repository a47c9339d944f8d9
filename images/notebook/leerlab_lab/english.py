"""The English variant of an assignment: made beside the student version, and chosen when it is fetched.

A course folder may hold `english/<assignment>.ipynb`: the same cells as the assignment's own notebook, in other words.
nbgrader grades the one assignment; a release carries the English student version in `english/`.

`python -m leerlab_lab.english ASSIGNMENT` has nbgrader make the student version of an assignment of the course in the
current folder, and then the English one.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path, PurePosixPath

import nbformat

from leerlab_lab.coursecheck.source import differences

FOLDER = "english"
SECONDS = 120
_CONFIGURATION = """c = get_config()
c.CourseDirectory.course_id = "english"
c.ClearSolutions.code_stub = {"python": "# TYPE YOUR CODE HERE\\nraise NotImplementedError('Fill in this cell first.')"}
c.ClearSolutions.text_stub = "TYPE YOUR ANSWER HERE"
"""
log = logging.getLogger("leerlab.english")


class NotMade(RuntimeError):
    """nbgrader made no student version."""


def make(course: Path, assignment: str) -> bool:
    """Put the English student version into the release of an assignment, where the course has one that fits.

    Args:
        course: the course folder, with `source/`, `release/<assignment>/` and perhaps `english/`.
        assignment: its id.

    Returns:
        Whether the release has an English version. It has none when a teacher changed the one and not the other.

    Raises:
        NotMade: nbgrader does not accept the English notebook.
    """
    name = f"{assignment}.ipynb"
    release = course / "release" / assignment / FOLDER
    shutil.rmtree(release, ignore_errors=True)
    own, words = course / "source" / assignment / name, course / FOLDER / name
    if not words.is_file() or not own.is_file():
        return False
    unlike = [finding.code for finding in differences(_read(own), _read(words), f"{FOLDER}/{name}")]
    if unlike:
        log.warning("%s is not released in English, for its cells are not those in Dutch: %s", assignment, unlike[0])
        return False
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        (place / "source" / assignment).mkdir(parents=True)
        shutil.copyfile(words, place / "source" / assignment / name)
        (place / "nbgrader_config.py").write_text(_CONFIGURATION, encoding="utf-8")
        _generate(place, assignment, "--no-db")
        release.mkdir()
        shutil.copyfile(place / "release" / assignment / name, release / name)
    return True


def choose(folder: Path, language: str) -> None:
    """Leave the notebooks of one language in a fetched assignment.

    Args:
        folder: the fetched release.
        language: `en` takes the English ones where there are any; any other those of the assignment itself.
    """
    english = folder / FOLDER
    if english.is_dir():
        if language == "en":
            for notebook in english.glob("*.ipynb"):
                notebook.replace(folder / notebook.name)
        shutil.rmtree(english)


def is_variant(path: str) -> bool:
    """Whether a file of a release is only there to be chosen."""
    return PurePosixPath(path).parts[0] == FOLDER


def wanted() -> str:
    """The language in which this lab was started: `nl` or `en`."""
    return os.environ.get("LEERLAB_LANGUAGE", "nl")


def _read(file: Path) -> nbformat.NotebookNode:
    return nbformat.read(file, as_version=4)  # type: ignore[no-untyped-call]


def _generate(course: Path, assignment: str, *options: str) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "nbgrader", "generate_assignment", assignment, "--force", *options],
        cwd=course, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    sys.stderr.write(made.stderr)
    if made.returncode:
        raise NotMade(f"nbgrader ended with {made.returncode}:\n{made.stderr[-2000:]}")


if __name__ == "__main__":
    try:
        _generate(Path.cwd(), sys.argv[1])
        make(Path.cwd(), sys.argv[1])
    except NotMade as error:
        sys.exit(str(error))
