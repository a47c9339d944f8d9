"""What every check of a course needs: walls, the catalogue's shelf, and a course to check."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# pytest's importlib mode puts no test folder on the path.
sys.path.insert(0, str(Path(__file__).parent))

from small_course import Checker, SmallCourse

from base.paths import Installation, State
from catalogue.entries import Entry, entries
from catalogue.shelf import Shelf, Sources
from confinement.seccomp import write_filters
from confinement.settings import ConfinementSettings
from courses.toolkit.check import CourseReport, Wanted, check_course
from courses.toolkit.steps import Walls


@pytest.fixture(scope="session")
def every_entry() -> list[Entry]:
    return entries()


@pytest.fixture(scope="session")
def walls(every_entry: list[Entry]) -> Iterator[Walls]:
    place = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    state, installation = State(place), Installation.current()
    state.make()
    write_filters(state.generated)
    small = [entry for entry in every_entry if entry.card.id in {"elecdemand", "mnist-5000"}]
    Shelf(state.catalogue).prepare(small, Sources(installation.code, installation.packages), lambda _: None)
    yield Walls(state, installation, ConfinementSettings())
    # What lies on the shelf cannot be changed by anybody who is not careful.
    for path in (place, *place.rglob("*")):
        if path.is_dir():
            path.chmod(0o700)
    shutil.rmtree(place)


@pytest.fixture(scope="session")
def check(walls: Walls, every_entry: list[Entry]) -> Checker:
    """Check a course; `learners` are the imagined ones to run, all without it."""

    def check(folder: Path, *learners: str, jobs: int = 2, everybody: bool = False, **wanted: object) -> CourseReport:
        chosen = Wanted(learners=None if everybody else learners, **wanted)  # type: ignore[arg-type]
        return check_course(
            folder, walls=walls, entries=every_entry, jobs=jobs, wanted=chosen, progress=lambda *_: None
        )

    return check


@pytest.fixture
def course(tmp_path: Path) -> SmallCourse:
    """A small course that keeps every promise."""
    return SmallCourse(tmp_path / "klein").write()
