"""The last lines that a job wrote: untrusted text for a failure's message."""

from __future__ import annotations

import os
from pathlib import Path

from base.log import redact

LINES, LINE_LENGTH, TAIL = 12, 240, 16 * 1024


def last_lines(folder: Path, names: tuple[str, ...]) -> str:
    """The last lines of the first of these files that has any, without control characters and with secrets hidden.

    Args:
        folder: the job's folder.
        names: files in it, the most telling first; links are not followed.
    """
    for name in names:
        if lines := _tail(folder / name):
            return "\n".join(lines)
    return ""


def _tail(path: Path) -> list[str]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return []
    with os.fdopen(descriptor, "rb") as source:
        size = source.seek(0, os.SEEK_END)
        source.seek(max(0, size - TAIL))
        text = source.read(TAIL).decode(errors="replace")
    lines = ("".join(each for each in line if each.isprintable() or each == "\t") for line in text.splitlines())
    return [redact(line)[:LINE_LENGTH] for line in lines if line.strip()][-LINES:]
