"""The site's own secrets: made once, kept in files that only the service account can read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from base.paths import State


def secret(state: State, name: str) -> str:
    """The secret of that name, 64 hexadecimal digits; made when it does not exist yet.

    Args:
        state: the site's state folder.
        name: file name below `secrets/`.
    """
    path: Path = state.secrets / name
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32) + "\n")
    return path.read_text().strip()
