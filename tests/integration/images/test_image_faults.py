"""What breaks while an image is unpacked: a full disk, a process that is killed. Nothing half is ever used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Place
from small_image import MARK

pytestmark = [pytest.mark.fault, pytest.mark.integration, pytest.mark.slow]
HERE = Path(__file__).parent
CODE = HERE.parents[2]


def told(place: Place) -> list[str]:
    return [str(place.shelf), place.source.key.public, str(place.source.seccomp)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(CODE)}


def test_a_disk_that_is_full_keeps_nothing_half_and_takes_the_image_once_there_is_room(place: Place) -> None:
    """A real small disk of the test's own, in a user and mount namespace."""
    place.sealed()
    disk = place.shelf.parent / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["/usr/bin/unshare", "--user", "--map-root-user", "--mount", "--",
         sys.executable, str(HERE / "small_disk.py"), str(disk), *told(place)],
        env=environment(), capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert "No space left on device" in found["said"] and "MiB of room" in found["said"], found["said"]
    assert found["left"] == []
    assert found["then"], "with room it is unpacked"


def test_an_up_that_is_killed_while_it_unpacks_leaves_no_image_and_the_next_one_clears_up(place: Place) -> None:
    files = place.sealed()
    with subprocess.Popen(
        [sys.executable, str(HERE / "half_way.py"), str(place.unpacked), *told(place)], env=environment(),
        stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stdout.readline() == b"unpacking\n"
        process.kill()
    left = place.left()
    assert len(left) == 1 and left[0].startswith(".new-"), "what there is has no image's name"
    root = place.unpack(files)
    assert place.left() == [root.name]
    assert (root / MARK).read_text() == "of the image\n"
