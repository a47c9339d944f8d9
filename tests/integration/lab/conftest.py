"""Labs behind their wall, without a hub and without an assistant's model."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from base.paths import State
from confinement import seccomp
from grading.plans import seccomp_of

# pytest's importlib mode puts no test folder on the path.
sys.path.insert(0, str(Path(__file__).parents[1] / "lab_assistant"))

from walled_lab import Lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    root = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    state = State(root / "s")
    state.make()
    seccomp.write_filter(seccomp_of(state))
    yield Lab(state, "tcp:127.0.0.1:1")
    shutil.rmtree(root)
