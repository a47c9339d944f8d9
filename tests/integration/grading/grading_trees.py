"""Trees as a program of one's own would send them, right or wrong."""

from __future__ import annotations

import hashlib
import json
from typing import Any

MEDIA = "application/vnd.leerlab.tree"


def entry(path: str, content: bytes = b"x", **changes: Any) -> dict[str, Any]:
    return {"path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()} | changes


def tree(*entries: dict[str, Any], content: bytes = b"x") -> bytes:
    return json.dumps({"files": list(entries)}).encode() + b"\n" + content * len(entries)


NOTEBOOK = tree(entry("werk.ipynb"))
