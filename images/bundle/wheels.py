"""The wheels that the locks name, and no other file."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from hashlib import file_digest
from pathlib import Path

from base.errors import LeerlabError
from images.bundle.fetching import fetched

# The launcher looks here too, where no configured source has the build without CUDA.
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
DEVELOPMENT = "development"


class Torch(StrEnum):
    """Which build of torch the notebooks get: 190 MB without CUDA, several GB with it."""

    CPU = "cpu"
    CUDA = "cuda"


def locks_for(folder: Path, torch: Torch, *, development: bool) -> list[Path]:
    """The locks of a bundle: every environment, one build of torch, and on request the tests' own."""
    others = [lock for lock in sorted(folder.glob("*.txt")) if not lock.name.startswith("torch-")]
    return [lock for lock in others if development or lock.stem != DEVELOPMENT] + [folder / f"torch-{torch}.txt"]


def add_wheels(target: Path, locks: Sequence[Path], step: Callable[[str], None]) -> None:
    """Fetch what the locks name, by digest.

    Args:
        target: an empty folder.
        locks: pip's hashed requirement files.
        step: told what is being done.

    Raises:
        LeerlabError: something has no wheel for this machine, or a file came that no lock names.
    """
    for lock in locks:
        _download(target, lock, step)
    named = {digest for lock in locks for digest in re.findall(r"--hash=sha256:([0-9a-f]{64})", lock.read_text())}
    for wheel in sorted(target.iterdir()):
        with wheel.open("rb") as opened:
            if file_digest(opened, "sha256").hexdigest() not in named:
                raise LeerlabError(f"No lock names {wheel.name} as it came.", do="Look at the sources of pip.")


def _download(target: Path, lock: Path, step: Callable[[str], None]) -> None:
    count = sum("==" in line for line in lock.read_text().splitlines())
    done = 0

    def follow(line: str) -> None:
        nonlocal done
        if line.startswith("Collecting "):
            done += 1
            step(f"Python packages of {lock.stem}, {done} of {count}")

    argv = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary", ":all:",
        "--disable-pip-version-check", "--progress-bar", "off", "--dest", str(target), "-r", str(lock),
    ]  # fmt: skip
    what = f"The Python packages of {lock.name}"
    try:
        fetched(argv, what, each=follow)
    except LeerlabError:
        if lock.stem != "torch-cpu":
            raise
        done = 0
        fetched([*argv, "--extra-index-url", TORCH_INDEX], what, each=follow)
