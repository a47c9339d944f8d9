"""Unpacks the image small-1; told by its arguments where. Says `unpacking` as soon as unsquashfs is about to run."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from images import unpack
from images.manifest import ImageFiles

real = unpack.unsquash


def slowly(copy: Path, home: Path, label: str, seccomp: Path) -> Path:
    """Unpack, then wait to be killed before the image gets its name."""
    tree = real(copy, home, label, seccomp)
    sys.stdout.write("unpacking\n")
    sys.stdout.flush()
    time.sleep(60)
    return tree


unpack.unsquash = slowly
unpack.unpack(Path(sys.argv[1]), ImageFiles(Path(sys.argv[2]), "small-1"), sys.argv[3], Path(sys.argv[4]))
