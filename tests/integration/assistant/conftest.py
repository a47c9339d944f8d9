"""Fixtures of the gateway's tests; the parts are in gateway_site.py."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# pytest's importlib mode puts no test folder on the path; the Slurm of one node is that of grading's tests.
sys.path.insert(0, str(Path(__file__).parents[1] / "grading"))
sys.path.insert(0, str(Path(__file__).parent))

from gateway_site import BODY, SILENCE, Gate, put_models, running_gate
from grading_slurm import RunningSlurm, running_slurm

from confinement.seccomp import write_filter
from grading.plans import seccomp_of


@pytest.fixture(scope="session")
def slurm() -> Iterator[RunningSlurm]:
    root = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    with running_slurm(root) as running:
        yield running
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def far_gate() -> Iterator[Gate]:
    """A gateway of which only the model behind an address is asked, so that it needs no Slurm."""
    folder = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    with running_gate(folder, folder / "no-slurm.conf", silence=SILENCE, body_seconds=BODY) as gate:
        yield gate
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def gate(slurm: RunningSlurm) -> Iterator[Gate]:
    """A gateway whose small models run as Slurm jobs."""
    folder = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    with running_gate(folder, slurm.conf, start=False) as made:
        put_models(made.state)
        write_filter(seccomp_of(made.state))
        made.start()
        yield made
        made.end()
        made.end_jobs(slurm)
    shutil.rmtree(folder)
