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


@pytest.fixture
def site(folder: Path, installation: Installation, slurm: RunningSlurm) -> Iterator[Site]:
    made = make_site(folder, installation, slurm.conf)
    yield made
    made.service.stop()
    assert made.hub.server is not None
    made.hub.server.stop()


@pytest.fixture(autouse=True)
def not_root() -> None:
    assert os.getuid() != 0, "these tests run as an ordinary account"
