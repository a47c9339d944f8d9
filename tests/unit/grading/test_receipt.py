"""Receipts can be checked, and a changed one is found out."""

from __future__ import annotations

import hashlib
import hmac
import json
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from grading.manifest import Manifest
from grading.receipt import genuine, key_from, receipt

MANIFEST = Manifest(
    kind="submission", course="alpha", assignment="week-1", student="anna", by="anna",
    stamp="20260102T030405.000006Z", time=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), sha256="ab", size=3,
)  # fmt: skip


def test_a_receipt_says_what_when_and_who_and_is_genuine(tmp_path: Path) -> None:
    key = key_from(tmp_path / "key")
    said = receipt(MANIFEST, key)
    assert said["timestamp"] == "2026-01-02 03:04:05.000006 UTC" and said["student"] == "anna"
    assert genuine(said, key)
    assert key_from(tmp_path / "key") == key
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


@pytest.mark.attack
@pytest.mark.parametrize(
    "change",
    [{"timestamp": "2026-01-01 00:00:00.000000 UTC"}, {"student": "bram"}, {"sha256": "ac"}, {"signature": None}],
)
def test_a_changed_receipt_is_not_genuine(tmp_path: Path, change: dict[str, object]) -> None:
    key = key_from(tmp_path / "key")
    assert not genuine(receipt(MANIFEST, key) | change, key)


LATE = {"due": datetime(2026, 1, 1, tzinfo=UTC), "late_seconds": 90.4, "percent_off": 10, "attempt": 2, "attempts": 3}


@pytest.mark.attack
@pytest.mark.parametrize("name", ["due", "late_seconds", "percent_off", "attempt", "attempts"])
def test_a_receipt_says_how_late_the_work_was_and_that_cannot_be_changed_or_left_out(tmp_path: Path, name: str) -> None:
    key = key_from(tmp_path / "key")
    said = receipt(MANIFEST.model_copy(update=LATE), key)
    assert (said["late_seconds"], said["percent_off"], said["attempt"], said["attempts"]) == (90, 10, 2, 3)
    assert said["due"] == "2026-01-01T00:00:00+00:00" and genuine(said, key)
    assert not genuine(said | {name: None}, key)
    assert not genuine({other: value for other, value in said.items() if other != name}, key)
    # As if it were one of the first receipts, which said nothing of lateness.
    first = {other: value for other, value in said.items() if other not in LATE}
    assert not genuine(first, key)


def test_the_first_receipts_stay_genuine(tmp_path: Path) -> None:
    key = key_from(tmp_path / "key")
    said: dict[str, object] = {
        "course": "alpha", "assignment": "week-1", "student": "anna", "submission": MANIFEST.stamp,
        "timestamp": MANIFEST.timestamp, "sha256": "ab", "size": 3, "files": 0,
    }  # fmt: skip
    canonical = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
    assert genuine({**said, "signature": hmac.new(key, canonical, hashlib.sha256).hexdigest()}, key)
