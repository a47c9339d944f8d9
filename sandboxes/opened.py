"""Opens folders that a sandbox's members control: one name at a time, never through a link, closed ones too."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PLACE = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def root_folder(folder: Path) -> int:
    """A descriptor of a folder that stands in one of our own; those below are opened from it.

    Raises:
        FileNotFoundError: there is none.
    """
    above = os.open(folder.parent, _FOLDER)
    try:
        return folder_in(above, folder.name)
    finally:
        os.close(above)


def folder_in(parent: int, name: str) -> int:
    """A descriptor of a folder in another; its owner gets all rights on it when they were taken away.

    Args:
        parent: descriptor of the folder above.
        name: one name, without slashes.

    Raises:
        FileNotFoundError, NotADirectoryError: it has just vanished, or is a link now.
        OSError: it belongs to somebody else, or cannot be opened for another reason.
    """
    try:
        found = os.open(name, _FOLDER, dir_fd=parent)
        mode = stat.S_IMODE(os.fstat(found).st_mode)
        if mode & stat.S_IRWXU != stat.S_IRWXU:  # readable, but nothing in it can be looked at (mode 0400)
            os.fchmod(found, mode | stat.S_IRWXU)
        return found
    except PermissionError:
        place = os.open(name, _PLACE, dir_fd=parent)
        try:
            # chmod(2) through the descriptor: a link that takes the name's place meanwhile is not followed.
            mode = stat.S_IMODE(os.fstat(place).st_mode)
            Path(f"/proc/self/fd/{place}").chmod(mode | stat.S_IRWXU)
        finally:
            os.close(place)
        return os.open(name, _FOLDER, dir_fd=parent)
