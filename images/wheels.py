"""The Python wheels of an image: pip fetches what the locks name, by digest, and keeps it between builds."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from images.errors import BuildFailed
from images.manifest import Wheel

TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
_SECONDS = 3600.0


def fetch(locks: Sequence[Path], store: Path, into: Path, *, offline: bool) -> tuple[Wheel, ...]:
    """The wheels that locks name, in one folder.

    Args:
        locks: files of pinned requirements with digests.
        store: folder of wheels that are kept between builds.
        into: an empty folder for the wheels of this image.
        offline: only the store is looked at.

    Returns:
        The wheels, by name.

    Raises:
        BuildFailed: one cannot be had as a wheel with a locked digest.
    """
    store.mkdir(parents=True, exist_ok=True)
    for lock in locks:
        if _pip(lock, into, "--no-index", f"--find-links={store}"):
            continue
        said = "it is not in the folder given with --from"
        if not offline:
            ways: tuple[tuple[str, ...], ...] = ((f"--find-links={store}",),)
            if lock.name.startswith("torch"):
                ways = (*ways, (f"--find-links={store}", f"--extra-index-url={TORCH_INDEX}"))
            if any(_pip(lock, into, *way) for way in ways):
                _keep(into, store)
                continue
            said = _why(into)
        raise BuildFailed(
            f"Not every package of {lock} could be had as a wheel with a locked digest: {said}.",
            "Nothing was built.",
            "See that this machine reaches the package index that pip is set to, or give the wheels with --from.",
        )
    (into / "log").unlink(missing_ok=True)
    return tuple(
        Wheel(file=file.name, sha256=_digest(file)) for file in sorted(into.glob("*.whl"), key=lambda each: each.name)
    )


def _pip(lock: Path, into: Path, *options: str) -> bool:
    """Let pip fetch; only wheels, and only with digests that the lock has: nothing of a package runs."""
    with (into / "log").open("wb") as log:
        done = subprocess.run(
            [
                sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--require-hashes", "--only-binary=:all:",
                "--disable-pip-version-check", "--no-cache-dir", "--dest", str(into), *options, "-r", str(lock),
            ],
            env={**os.environ, "PYTHONPATH": ""}, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            timeout=_SECONDS, check=False,
        )  # fmt: skip
    return done.returncode == 0


def _why(into: Path) -> str:
    lines = [line for line in (into / "log").read_text(errors="replace").split("\n") if line.startswith("ERROR")]
    return lines[-1].removeprefix("ERROR: ") if lines else "pip gave no reason"


def _keep(into: Path, store: Path) -> None:
    for file in into.glob("*.whl"):
        if not (store / file.name).exists():
            new = store / f".new-{os.getpid()}"
            shutil.copyfile(file, new)
            new.rename(store / file.name)


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
