"""How much disk space a sandbox takes, measured without following any link."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

BLOCK = 512
"""Bytes of one unit of st_blocks (stat(2))."""


@dataclass(frozen=True)
class DiskUse:
    """What was found.

    Args:
        bytes: disk space taken, sparse files by what they really take.
        files: how many files and folders.
        complete: whether all was seen before the bound on files.
    """

    bytes: int
    files: int
    complete: bool


def disk_use(folder: Path, most_files: int = 1_000_000) -> DiskUse:
    """Add up a folder. What vanishes meanwhile does not count; what cannot be read counts by itself alone.

    Args:
        folder: where to begin.
        most_files: stop after so many.
    """
    total = count = 0
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            entries = os.scandir(here)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        with entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                count += 1
                # A file under two names takes its space once.
                if (key := (status.st_dev, status.st_ino)) not in seen:
                    if status.st_nlink > 1:
                        seen.add(key)
                    total += status.st_blocks * BLOCK
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                if count >= most_files:
                    return DiskUse(total, count, complete=False)
    return DiskUse(total, count, complete=True)
