"""Run in a user and mount namespace of its own: an image is unpacked on a disk that is too small. Prints JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from images import unpack
from images.errors import ImageRefused
from images.manifest import ImageFiles
from images.unpack import unpack as unpacked

DISK = "160M"


def main() -> None:
    disk, shelf, key, seccomp = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    subprocess.run(
        ["/usr/bin/mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0700", "tmpfs", str(disk)], check=True, timeout=10
    )
    images, filler = disk / "images", disk / "others"
    images.mkdir()
    files = ImageFiles(shelf, "small-1")
    room = os.statvfs(disk)
    # What somebody else has put there: the copy of the image fits, what is in it does not.
    free = files.squashfs.stat().st_size + 12 * 2**20
    with filler.open("wb") as held:
        os.posix_fallocate(held.fileno(), 0, room.f_bavail * room.f_bsize - free)
    # The look at the room beforehand goes by what the manifest says: here it says too little.
    said = ""
    try:
        unpacked(images, files, key, seccomp)
    except ImageRefused as refused:
        said = str(refused)
    left = sorted(entry.name for entry in images.iterdir())
    filler.unlink()
    root = unpacked(images, files, key, seccomp)
    print(  # noqa: T201  # its answer
        json.dumps({"said": said, "left": left, "then": (root / "usr/bin/python3.11").exists(), "room": unpack._ROOM})
    )


if __name__ == "__main__":
    main()
