"""Files with a secret that an operator wrote: of an identity provider's client, or the key to a remote model."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from base.errors import InputError

LONGEST_SECRET = 4096


def client_secret(path: Path) -> str:
    """The secret in a file that nobody but its owner can read.

    Args:
        path: the file.

    Raises:
        InputError: it cannot be read, others can read it, or it holds no secret.
    """
    why = why_unusable(path)
    if why:
        raise InputError(f"The client secret {path} {why}.", "Nobody could log in.", "Mend the file and start again.")
    return path.read_text().strip()


def why_unusable(path: Path) -> str:
    """What is wrong with a file of a client secret; empty when nothing is. Its content is told to nobody."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return "is not a file"
        if found.st_mode & 0o077:
            return f"can be read by others than its owner (mode {found.st_mode & 0o777:03o}, not 600)"
        content = os.read(descriptor, LONGEST_SECRET + 1)
    finally:
        os.close(descriptor)
    text = content.strip()
    if not text or len(content) > LONGEST_SECRET or not text.isascii() or not text.decode().isprintable():
        return "does not hold one line of printable characters"
    return ""
