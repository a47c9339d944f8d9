"""The command `leerlab image` as people type it: verify, list, diff, and what build says before it begins."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Place
from small_image import MARK, pack

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]
CODE = Path(__file__).resolve().parents[3]


def image(*arguments: object, code: int = 0, cwd: Path = CODE) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "cli", "image", *map(str, arguments)], cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(CODE), "LEERLAB_IMAGE_ENV": "/nowhere", "LEERLAB_DATA": str(cwd)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stdout + done.stderr


def test_images_are_verified_and_listed(place: Place) -> None:
    files = place.sealed()
    place.sealed("2", key=place.source.other_key)
    where = ("--folder", place.shelf, "--public-key")
    assert "small-1 is what was signed" in image("verify", "small-1", *where, place.source.key.public)
    # The key may stand in its file.
    pub = place.source.key.secret.with_suffix(".pub")
    assert json.loads(image("verify", "small-1", *where, pub, "--json"))["label"] == "small-1"
    listed = json.loads(image("list", *where, pub, "--json"))
    assert [(each["label"], bool(each["problem"])) for each in listed] == [("small-1", False), ("small-2", True)]
    with files.squashfs.open("r+b") as opened:
        opened.seek(1000)
        opened.write(b"?")
    assert "not the file that was signed" in image("verify", "small-1", *where, pub, code=1)
    assert "Which images, and signed by whom?" in image("verify", "small-1", code=2)


def test_two_images_that_differ_name_the_files_and_the_bytes(place: Place) -> None:
    one = place.sealed()
    assert "The same, byte for byte." in image("diff", one.squashfs, one.squashfs)
    tree = place.shelf.parent / "other"
    shutil.copytree(place.source.tree, tree, symlinks=True)
    (tree / MARK).write_text("of the imagE\n")
    (tree / "usr/share/more").touch()
    (tree / "usr/bin/sh").chmod(0o700)
    other = place.sealed("2", pack(tree, place.shelf.parent / "other.squashfs"))
    said = image("diff", one.squashfs, other.squashfs, code=1)
    assert f"/{MARK}: byte 11 is 0x65 and 0x45" in said, said
    assert "/usr/share/more: only in the second" in said and "/usr/bin/sh: mode -rwxr-xr-x and -rwx------" in said
    assert "Both were made of the same" in said
    other.manifest.write_text(other.manifest.read_text().replace('"epoch": 0', '"epoch": 9'))
    assert "setting epoch: 0 and 9" in image("diff", one.squashfs, other.squashfs, code=1)


def test_a_build_says_what_is_wrong_before_it_begins(place: Place) -> None:
    place.sealed()
    key = place.source.key.secret
    out = ("--out", place.shelf, "--key", key)
    assert "There is no recipe nothing" in image("build", "nothing", "--version", "1", *out, code=2)
    assert "is no image's name" in image("build", "--version", "x", *out, code=1)
    recipe = place.shelf / "small.toml"
    recipe.write_text(
        'name = "small"\nsuite = "bookworm"\ndebian = "small.json"\npython = []\npackages = ["python3"]\n'
    )
    assert "small-1.squashfs is there already" in image("build", recipe, "--version", "1", *out, code=1)
    assert "leerlab image lock small" in image("build", recipe, "--version", "2", *out, code=1)
    assert sorted(path.name for path in place.shelf.iterdir()) == [
        "small-1.json", "small-1.json.minisig", "small-1.squashfs", "small.toml",
    ]  # fmt: skip
