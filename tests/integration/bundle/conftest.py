"""A very small clone, the bundle of it, and that bundle unpacked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# pytest's importlib mode puts no test folder on the path.
sys.path.insert(0, str(Path(__file__).parent))
from tiny_clone import TinyClone, make_clone


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> TinyClone:
    """One to make copies of."""
    return make_clone(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def archive(example: TinyClone) -> Path:
    """The bundle of it."""
    file = example.folder / "bundle.tar"
    made = example.bundle(file)
    assert made.returncode == 0, made.stderr
    return file


@pytest.fixture
def clone(tmp_path: Path) -> TinyClone:
    """A clone that the test may change, with sources of its own."""
    return make_clone(tmp_path)


@pytest.fixture
def unpacked(archive: Path, tmp_path: Path) -> Path:
    """The bundle's top folder, at a path with a space in it."""
    target = tmp_path / "un packed"
    target.mkdir()
    subprocess.run(["tar", "-xf", str(archive), "-C", str(target)], timeout=60, check=True)
    (top,) = target.iterdir()
    return top
