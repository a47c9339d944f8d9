"""Gateways of these tests: the process that a site runs, a hub that answers what it asks, and models' servers."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# pytest's importlib mode puts no test folder on the path.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "grading")]

from gateway_alone import Alone, TestModel, running_gateway  # noqa: E402


@pytest.fixture
def folder() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def one_model() -> Iterator[TestModel]:
    made = TestModel()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def model(one_model: TestModel) -> Iterator[TestModel]:
    """The models' server, which does what it does at first."""
    one_model.forget()
    yield one_model
    one_model.forget()


@pytest.fixture(scope="module")
def gateway(one_model: TestModel) -> Iterator[Alone]:
    """A gateway with one remote chat model and one for embeddings, both the test's own server."""
    place = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    with running_gateway(place, one_model) as made:
        yield made
    shutil.rmtree(place, ignore_errors=True)
