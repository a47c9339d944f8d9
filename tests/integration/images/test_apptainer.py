"""What the definition for Apptainer makes: exactly the files of the signed image beside it, or nothing."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from conftest import Place
from small_image import pack

from images.apptainer import definition
from images.difference import compare
from images.manifest import ImageFiles

pytestmark = pytest.mark.integration


def set_up(files: ImageFiles, sha256: str, root: Path) -> subprocess.CompletedProcess[str]:
    """Run the definition's %setup as Apptainer does: with sh, where the image lies, told of an empty root."""
    script = definition("small", "1", sha256, {"small.json": "0" * 64}).split("%setup\n")[1].split("\n%")[0]
    root.mkdir()
    return subprocess.run(
        ["/bin/sh", "-c", script], cwd=files.folder, env={"PATH": "/usr/bin:/bin", "APPTAINER_ROOTFS": str(root)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_the_definition_makes_exactly_the_files_of_the_image(place: Place) -> None:
    files = place.sealed()
    root = place.shelf.parent / "apptainer"
    done = set_up(files, hashlib.sha256(files.squashfs.read_bytes()).hexdigest(), root)
    assert done.returncode == 0, done.stderr
    made = pack(root, place.shelf.parent / "apptainer.squashfs")
    assert compare(files.squashfs, made, place.source.seccomp).files == ()


def test_the_definition_takes_no_other_file_than_the_one_it_was_written_for(place: Place) -> None:
    files = place.sealed()
    signed = hashlib.sha256(files.squashfs.read_bytes()).hexdigest()
    with files.squashfs.open("r+b") as opened:
        opened.seek(1000)
        opened.write(b"?")
    root = place.shelf.parent / "apptainer"
    done = set_up(files, signed, root)
    assert done.returncode != 0 and "FAILED" in done.stdout, done.stdout + done.stderr
    assert list(root.iterdir()) == []
