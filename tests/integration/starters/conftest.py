"""Sandboxes with the starter kit, made anew; the parts are in kit_sandbox.py."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from confinement import seccomp
from sandboxes.starters.starter import install, starters

# pytest's importlib mode puts no test folder on the path.
sys.path.insert(0, str(Path(__file__).parent))

from kit_sandbox import Sandbox


@pytest.fixture(scope="session")
def seccomp_filter() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    seccomp.write_filter(folder / "seccomp.bpf")
    yield folder / "seccomp.bpf"
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def new_sandbox(seccomp_filter: Path) -> Iterator[Callable[[str], Sandbox]]:
    made: list[Path] = []

    def make(language: str) -> Sandbox:
        home = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
        made.append(home)
        (home / "sandbox" / "incoming").mkdir(parents=True)
        (starter,) = (each for each in starters() if each.id == "maintenance")
        return Sandbox(home, install(starter, home / "sandbox", language), language, seccomp_filter)

    yield make
    for home in made:
        shutil.rmtree(home)
