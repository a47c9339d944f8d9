"""Where the templates and static files are, and the version that lets browsers keep a static file for good."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path

_HERE = Path(__file__).parent
TEMPLATES = _HERE / "templates"
HUB_TEMPLATES = _HERE / "hub_templates"
STATIC = _HERE / "static"


@cache
def version() -> str:
    """Twelve hexadecimal digits that change when any static file changes."""
    digest = sha256()
    for path in sorted(STATIC.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]
