"""Fixtures of grading's integration tests; the parts are in grading_site.py."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from base.paths import Installation

# pytest's importlib mode puts no test folder on the path.
sys.path.insert(0, str(Path(__file__).parent))

from grading_assignment import write_source
from grading_scripts import API
from grading_site import Site, make_site
from grading_slurm import RunningSlurm, running_slurm


@pytest.fixture(scope="session")
def installation() -> Installation:
    return Installation.current()


@pytest.fixture(scope="session")
def slurm() -> Iterator[RunningSlurm]:
    root = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    with running_slurm(root) as running:
        yield running
    shutil.rmtree(root)


@pytest.fixture
def folder() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    yield place
    shutil.rmtree(place)


def end(made: Site) -> None:
    made.service.stop()
    assert made.hub.server is not None
    made.hub.server.stop()


@pytest.fixture
def site(folder: Path, installation: Installation, slurm: RunningSlurm) -> Iterator[Site]:
    made = make_site(folder, installation, slurm.conf)
    yield made
    end(made)


@pytest.fixture(scope="session")
def week_1(installation: Installation, slurm: RunningSlurm) -> Iterator[Path]:
    """What a course and its exchange hold once a teacher has released week-1: made once, by nbgrader itself."""
    place = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    made = make_site(place, installation, slurm.conf)
    try:
        write_source(made.state.courses / "alpha")
        made.course("alpha", API + "act('generate_assignment'); act('release_assignment')")
        shutil.copytree(made.state.courses / "alpha", place / "course")
        shutil.copytree(made.state.exchange / "alpha", place / "exchange")
    finally:
        end(made)
    yield place
    shutil.rmtree(place)


@pytest.fixture
def released_site(site: Site, week_1: Path) -> Site:
    """A site whose course alpha has released week-1."""
    shutil.copytree(week_1 / "course", site.state.courses / "alpha", dirs_exist_ok=True)
    shutil.copytree(week_1 / "exchange", site.state.exchange / "alpha")
    return site


@pytest.fixture(autouse=True)
def not_root() -> None:
    assert os.getuid() != 0, "these tests run as an ordinary account"
