"""Receipts can be checked, and a changed one is found out."""

from __future__ import annotations

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
