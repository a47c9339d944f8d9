"""How much disk space a folder of people's takes, measured without following any link."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from base.opened import folder_in, root_folder

BLOCK = 512
"""Bytes of one unit of st_blocks (stat(2))."""
TOLERATED = 1.1
"""Times its size that a home or a sandbox may take before its servers are stopped: room to finish and to clean up."""
GROWS = 16 * 2**20
"""Bytes by which what is above its size already may grow: a lab itself writes a little when it starts."""
MOST_DEEP = 200
"""Folders inside each other that are looked into: one descriptor is open for each."""
_LOOK = stat.S_IRUSR | stat.S_IXUSR


@dataclass(frozen=True)
class DiskUse:
    """What was found.

    Args:
        bytes: disk space taken, sparse files by what they really take.
        files: how many files and folders.
        complete: whether all was seen; not when there are very many files, or folders that cannot be looked into.
        deep: whether folders lie so deep inside each other that not all were looked into.
    """

    bytes: int
    files: int
    complete: bool
    deep: bool = False


def disk_use(folder: Path, most_files: float = 1_000_000) -> DiskUse:
    """Add up a folder in which people may be writing; what vanishes meanwhile does not count.

    Each folder is opened in the one above it and never through a link, so nobody can lead the measuring elsewhere by
    a swap at the right moment. A folder that was closed to hide what is in it is opened again, for its owner to look.

    Args:
        folder: where to begin.
        most_files: stop after so many.
    """
    return _Sum(most_files).of(folder)


class Allowance:
    """Whether a folder in which something runs takes more than it may; who comes to clean up is let in.

    Args:
        size: bytes that it may take.
        least: bytes that it took before anything ran in it; None: as many as at the first look.
    """

    def __init__(self, size: int, least: int | None = None) -> None:
        self._most = size * TOLERATED
        self._least = least

    def broken(self, used: DiskUse) -> bool:
        """Whether it is above its size and has grown since it was smallest, or cannot be told.

        Files can be hidden in folders too deep to look into; whoever comes to remove them is let in at the first look.

        Args:
            used: what the folder takes now; each call is one look later than the one before.
        """
        first, least = self._least is None, min(used.bytes, used.bytes if self._least is None else self._least)
        self._least = least
        return used.bytes > max(self._most, least + GROWS) or (used.deep and not first)


class _Sum:
    def __init__(self, most_files: float) -> None:
        self._most = most_files
        self._bytes = self._count = 0
        self._complete = True
        self._deep = False
        self._seen: set[tuple[int, int]] = set()

    def of(self, folder: Path) -> DiskUse:
        try:
            root = root_folder(folder, _LOOK)
        except FileNotFoundError:
            return DiskUse(0, 0, complete=True)
        self._add_folder(root, 1)
        return DiskUse(self._bytes, self._count, self._complete, self._deep)

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
            self._complete, self._deep = False, True
            return
        try:
            below = folder_in(parent, entry.name, _LOOK)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError:
            self._complete = False
            return
        self._add_folder(below, depth + 1)
