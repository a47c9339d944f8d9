"""A very small clone, the bundle of it, and that bundle unpacked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# pytest's importlib mode puts no test folder on the path.
sys.path.insert(0, str(Path(__file__).parent))
from tiny_clone import TinyClone, make_clone


@pytest.fixture
def clone(tmp_path: Path) -> TinyClone:
    return make_clone(tmp_path)


@pytest.fixture
def unpacked(clone: TinyClone) -> Path:
    """The bundle's top folder, at a path with a space in it."""
    file = clone.folder / "bundle.tar"
    made = clone.bundle(file)
    assert made.returncode == 0, made.stderr
    target = clone.folder / "un packed"
    target.mkdir()
    subprocess.run(["tar", "-xf", str(file), "-C", str(target)], timeout=60, check=True)
    (top,) = target.iterdir()
    return top
