"""Opens folders in which people have their way: one name at a time, never through a link, closed ones too."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PLACE = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def root_folder(folder: Path, rights: int = stat.S_IRWXU) -> int:
    """A descriptor of a folder that stands in one of our own; those below are opened from it.

    Args:
        folder: the folder.
        rights: as `folder_in`.

    Raises:
        FileNotFoundError: there is none.
    """
    above = os.open(folder.parent, _FOLDER)
    try:
        return folder_in(above, folder.name, rights)
    finally:
        os.close(above)


def folder_in(parent: int, name: str, rights: int = stat.S_IRWXU) -> int:
    """A descriptor of a folder in another; its owner gets the rights on it that are needed and were taken away.

    Args:
        parent: descriptor of the folder above.
        name: one name, without slashes.
        rights: bits of a mode (chmod(2)) that are needed: all, or those to look into it.

    Raises:
        FileNotFoundError, NotADirectoryError: it has just vanished, or is a link now.
        OSError: it belongs to somebody else, or cannot be opened for another reason.
    """
    try:
        found = os.open(name, _FOLDER, dir_fd=parent)
        mode = stat.S_IMODE(os.fstat(found).st_mode)
        if mode & rights != rights:  # such as readable, but nothing in it can be looked at (mode 0400)
            os.fchmod(found, mode | rights)
        return found
    except PermissionError:
        place = os.open(name, _PLACE, dir_fd=parent)
        try:
            # chmod(2) through the descriptor: a link that takes the name's place meanwhile is not followed.
            mode = stat.S_IMODE(os.fstat(place).st_mode)
            Path(f"/proc/self/fd/{place}").chmod(mode | rights)
        finally:
            os.close(place)
        return os.open(name, _FOLDER, dir_fd=parent)
