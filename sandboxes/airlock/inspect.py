"""Has an untrusted file looked at behind a wall without any way out, and takes nothing from there but a code."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from base.errors import LeerlabError
from confinement.run import start
from confinement.wall import Bind, Limits, Wall

SECONDS = 120.0
RATIO, ENTRIES = 200, 10_000
"""Times its own size that an archive may unpack to, and how many entries it may have."""
PROGRAM = Path(__file__).parent / "examine.py"
REASONS = frozenset(
    ("type", "empty", "disguised", "two-types", "too-many", "overlapping", "encrypted", "link", "special",
     "leaves-folder", "nested", "macros", "bomb", "broken", "unreadable")
)  # fmt: skip
"""Codes of what is not let through; pages show `transfer.refused.<code>`."""
_INSIDE, _EXAMINE = Path("/srv/file"), Path("/opt/examine.py")
_ANSWER = 4096


def inspect(file: Path, name: str, *, unpacked: int, seccomp: Path) -> str | None:
    """Why a file may not pass; None when nothing was found.

    Args:
        file: the file, which nobody writes to any more.
        name: what it is to be called.
        unpacked: most bytes that an archive may unpack to.
        seccomp: the compiled system call filter.

    Raises:
        LeerlabError: the wall could not be built, so nothing was looked at.
    """
    limits = json.dumps({"unpacked": unpacked, "ratio": RATIO, "entries": ENTRIES})
    with tempfile.TemporaryDirectory(prefix="ll-look-") as home:
        walled = start(
            Wall(
                command=("/usr/bin/python3", "-I", str(_EXAMINE), str(_INSIDE), name, limits),
                home=Path(home),
                seccomp=seccomp,
                binds=(Bind(file, _INSIDE), Bind(PROGRAM, _EXAMINE)),
                limits=Limits(processes=16, open_files=64),
            ),
            output_limit=_ANSWER,
        )
        try:
            code = walled.wait(SECONDS)
        except TimeoutError:
            walled.terminate()
            return "bomb"
    try:
        refused = json.loads(walled.output)["refused"] if code == 0 else "unreadable"
    except (ValueError, KeyError, TypeError):
        refused = "unreadable"
    if refused is not None and (not isinstance(refused, str) or refused not in REASONS):
        raise LeerlabError("The look at a file gave an answer that means nothing.", "It stays in quarantine.")
    return refused
