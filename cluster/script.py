"""The job script: one program and its arguments, quoted; no text of a person ever enters it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from cluster.errors import InvalidRequest


def job_script(argv: Sequence[str]) -> str:
    """A script that becomes the program, so that Slurm's signals reach it and not a shell that waits for it.

    Args:
        argv: the program as an absolute path, and its arguments. The script is kept by Slurm: no secrets.

    Raises:
        InvalidRequest: the program is not an absolute path, or a word has a control character.
    """
    if not argv or not argv[0].startswith("/"):
        raise InvalidRequest(
            f"Not a job script: {argv[0] if argv else 'nothing'!r} is no absolute path.", "Nothing was submitted."
        )
    for word in argv:
        # A line break would begin a new line, which sbatch may read as an option (#SBATCH).
        if not word.isprintable():
            raise InvalidRequest(f"Not a job script: control characters in {word[:80]!r}.", "Nothing was submitted.")
    return f"#!/bin/sh\nexec {shlex.join(argv)}\n"
