"""Names of files that come in or go out: shown to people, used on disk, never trusted."""

from __future__ import annotations

import unicodedata

LONGEST = 120
"""Bytes of a name in UTF-8: room for a number, and below every file system's 255."""
_FORBIDDEN = frozenset('/\\:*?"<>|')


def is_fit(name: str) -> bool:
    """Whether a file may have this name.

    Args:
        name: as the browser or the member gave it.
    """
    return (
        0 < len(name.encode("utf-8", "surrogatepass")) <= LONGEST
        and name == unicodedata.normalize("NFC", name)
        and name.isprintable()
        and name[0] not in ".- "
        and name[-1] not in ". "
        and not _FORBIDDEN & set(name)
    )


def numbered(name: str, number: int) -> str:
    """The name for the second, third and so on file of that name: `a.csv`, `a (2).csv`."""
    if number < 2:
        return name
    stem, dot, extension = name.rpartition(".")
    return f"{stem} ({number}){dot}{extension}" if stem else f"{name} ({number})"
