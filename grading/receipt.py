"""Receipts: what a student keeps as proof of what was handed in and when, signed by the service."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from datetime import UTC
from pathlib import Path
from typing import Any

from grading.manifest import Manifest

_FIRST = ("course", "assignment", "student", "submission", "timestamp", "sha256", "size", "files")
_SIGNED = (*_FIRST, "due", "late_seconds", "percent_off", "attempt", "attempts")


def key_from(path: Path) -> bytes:
    """The site's key for receipts, made on first use, readable by its owner only."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return bytes.fromhex(path.read_text("ascii"))
    key = secrets.token_bytes(32)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(key.hex())
        file.flush()
        os.fsync(file.fileno())
    return key


def receipt(manifest: Manifest, key: bytes) -> dict[str, Any]:
    """The receipt for a submission.

    Returns:
        course, assignment, student; `submission`, its stamp; `timestamp`, the server's time; `sha256`, `size` in bytes
        and `files`, a count, of the whole tree; `due`, the deadline that held, `late_seconds` after it, `percent_off`
        of the points earned, `attempt` of `attempts`, as they were at that moment; `signature`, HMAC-SHA-256
        (RFC 2104) over these as canonical JSON.
    """
    said: dict[str, Any] = {
        "course": manifest.course,
        "assignment": manifest.assignment,
        "student": manifest.student,
        "submission": manifest.stamp,
        "timestamp": manifest.timestamp,
        "sha256": manifest.sha256,
        "size": manifest.size,
        "files": len(manifest.files),
        "due": manifest.due.astimezone(UTC).isoformat() if manifest.due else None,
        "late_seconds": round(manifest.late_seconds),
        "percent_off": manifest.percent_off,
        "attempt": manifest.attempt,
        "attempts": manifest.attempts,
    }
    return {**said, "signature": _signature(said, key)}


def genuine(said: dict[str, Any], key: bytes) -> bool:
    """Whether a receipt that somebody shows was given by this site and says now what it said then."""
    signature = said.get("signature")
    # The first receipts said less; what one says beside that it must have said then.
    names = _SIGNED if said.keys() - {*_FIRST, "signature"} else _FIRST
    return isinstance(signature, str) and hmac.compare_digest(
        signature.encode(), _signature({name: said.get(name) for name in names}, key).encode()
    )


def _signature(said: dict[str, Any], key: bytes) -> str:
    canonical = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
    return hmac.new(key, canonical, hashlib.sha256).hexdigest()
