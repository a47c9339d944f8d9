"""How much disk space a sandbox takes, measured without following any link."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from sandboxes.opened import folder_in, root_folder

BLOCK = 512
"""Bytes of one unit of st_blocks (stat(2))."""
TOLERATED = 1.1
"""Times its size that a sandbox may take before its servers are stopped: room to finish and to clean up."""
MOST_DEEP = 200
"""Folders inside each other that are looked into: one descriptor is open for each."""


@dataclass(frozen=True)
class DiskUse:
    """What was found.

    Args:
        bytes: disk space taken, sparse files by what they really take.
        files: how many files and folders.
        complete: whether all was seen; not when there are very many files, or folders that cannot be looked into.
    """

    bytes: int
    files: int
    complete: bool


def disk_use(folder: Path, most_files: int = 1_000_000) -> DiskUse:
    """Add up a folder in which people may be writing; what vanishes meanwhile does not count.

    Each folder is opened in the one above it and never through a link, so nobody can lead the measuring elsewhere by
    a swap at the right moment. A folder that was closed to hide what is in it is opened again.

    Args:
        folder: where to begin.
        most_files: stop after so many.
    """
    return _Sum(most_files).of(folder)


class _Sum:
    def __init__(self, most_files: int) -> None:
        self._most = most_files
        self._bytes = self._count = 0
        self._complete = True
        self._seen: set[tuple[int, int]] = set()

    def of(self, folder: Path) -> DiskUse:
        try:
            root = root_folder(folder)
        except FileNotFoundError:
            return DiskUse(0, 0, complete=True)
        self._add_folder(root, 1)
        return DiskUse(self._bytes, self._count, self._complete)

    def _add_folder(self, descriptor: int, depth: int) -> None:
        try:
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    if self._count >= self._most:
                        self._complete = False
                        return
                    self._add(entry, descriptor, depth)
        finally:
            os.close(descriptor)

    def _add(self, entry: os.DirEntry[str], parent: int, depth: int) -> None:
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return
        except OSError:
            self._complete = False
            return
        self._count += 1
        # A file under two names takes its space once.
        if (key := (status.st_dev, status.st_ino)) not in self._seen:
            if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                self._seen.add(key)
            self._bytes += status.st_blocks * BLOCK
        if not stat.S_ISDIR(status.st_mode):
            return
        if depth >= MOST_DEEP:
            self._complete = False
            return
        try:
            below = folder_in(parent, entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError:
            self._complete = False
            return
        self._add_folder(below, depth + 1)
