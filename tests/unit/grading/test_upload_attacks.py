"""Uploads made to do harm, each beside its control: the same payload works where the one named defence is missing."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from grading import names, receipt, tree
from grading.errors import GradingError, TooLarge, WrongTree
from grading.manifest import Manifest
from grading.store import Store
from grading.tree import TreeLimits

pytestmark = pytest.mark.attack
LIMITS = TreeLimits(total=10_000, files=5)
NOTHING_TOO_MUCH = TreeLimits(total=2**30, files=10**6)


def upload(*paths: str, size: int = 1) -> bytes:
    content = b"x" * size
    digest = hashlib.sha256(content).hexdigest()
    listed = [{"path": path, "size": size, "sha256": digest} for path in paths]
    return json.dumps({"files": listed}).encode() + b"\n" + content * len(paths)


def taken_in(root: Path, data: bytes, limits: TreeLimits = LIMITS) -> list[str]:
    """What a store has kept of an upload: the paths below its own folder and of what it wrote elsewhere."""
    store = Store(root / "exchange", limits)
    incoming = store.incoming()
    try:
        incoming.writer.feed(data)
        incoming.writer.finish()
    except BaseException:
        incoming.give_up()
        raise
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "file_path", str)


@pytest.mark.parametrize("path", ["../../../../../loot.txt", "a/../../../../../../loot.txt"])
def test_a_name_cannot_lead_out_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    root = tmp_path / "site"
    with pytest.raises(WrongTree):
        taken_in(root, upload(path))
    assert not list(tmp_path.rglob("loot.txt"))
    unchecked(monkeypatch)
    taken_in(root, upload(path))
    (loot,) = tmp_path.rglob("loot.txt")
    assert loot.parent == root


def deeper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "DEEPEST", 1000)


@pytest.mark.parametrize(
    ("data", "error", "without"),
    [
        (upload("werk.ipynb", size=10_001), TooLarge, None),
        (upload(*(f"f{number}" for number in range(6))), TooLarge, None),
        (upload("a/" * 12 + "x"), WrongTree, deeper),
    ],
    ids=["one huge file", "many small files", "deep folders"],
)
def test_what_is_too_much_is_refused_before_it_is_stored(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    data: bytes,
    error: type[GradingError],
    without: Callable[[pytest.MonkeyPatch], None] | None,
) -> None:
    with pytest.raises(error):
        taken_in(tmp_path / "one", data)
    assert not [path for path in (tmp_path / "one").rglob("*") if path.is_file()]
    if without is not None:
        without(monkeypatch)
    assert taken_in(tmp_path / "two", data, LIMITS if without else NOTHING_TOO_MUCH)


@pytest.mark.parametrize("kind", ["symbolic link", "pipe"])
def test_no_link_and_no_device_is_followed_or_kept(tmp_path: Path, kind: str) -> None:
    secret, source = tmp_path / "toets.txt", tmp_path / "bron"
    secret.write_text("het antwoord")
    source.mkdir()
    if kind == "symbolic link":
        (source / "werk.ipynb").symlink_to(secret)
        # The control: what copies a folder plainly takes along what the link names.
        shutil.copytree(source, tmp_path / "kopie")
        assert (tmp_path / "kopie" / "werk.ipynb").read_text() == "het antwoord"
    else:
        os.mkfifo(source / "werk.ipynb")
        with pytest.raises(shutil.Error):
            shutil.copytree(source, tmp_path / "kopie")
    store = Store(tmp_path / "exchange", LIMITS)
    with pytest.raises(WrongTree):
        store.incoming_copy(source)
    assert not [path for path in (tmp_path / "exchange").rglob("*") if path.is_file()]


def test_what_was_handed_in_does_not_change_with_a_hard_link_that_somebody_kept(tmp_path: Path) -> None:
    source, kept = tmp_path / "bron", tmp_path / "gehouden.ipynb"
    source.mkdir()
    (source / "werk.ipynb").write_text("voor de deadline")
    os.link(source / "werk.ipynb", kept)
    # The control: a copy by link, as some exchanges make to save room.
    shutil.copytree(source, tmp_path / "kopie", copy_function=os.link)
    store = Store(tmp_path / "exchange", LIMITS)
    store.release("alpha", "week-1", store.incoming_copy(source), by="docent")
    deposit = store.submit("alpha", "week-1", "anna", store.incoming_copy(source))
    kept.write_text("na de deadline")
    assert (deposit.files / "werk.ipynb").read_text() == "voor de deadline"
    assert (deposit.files / "werk.ipynb").stat().st_nlink == 1
    assert (tmp_path / "kopie" / "werk.ipynb").read_text() == "na de deadline"


def test_a_receipt_that_says_in_time_of_late_work_is_not_genuine(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = Manifest.model_validate({
        "kind": "submission", "course": "alpha", "assignment": "week-1", "student": "anna", "by": "anna",
        "stamp": "20260102T030405.000006Z", "time": "2026-01-02T03:04:05.000006Z", "late_seconds": 60,
        "percent_off": 10, "attempt": 1,
    })  # fmt: skip
    forged = receipt.receipt(manifest, b"k" * 32) | {"late_seconds": 0, "percent_off": 0}
    assert not receipt.genuine(forged, b"k" * 32)
    # The control: signed as the first receipts were, lateness could be changed at will.
    monkeypatch.setattr(receipt, "_SIGNED", receipt._FIRST)
    said = {name: forged[name] for name in receipt._FIRST}
    signature = receipt._signature(said, b"k" * 32)
    assert receipt.genuine(forged | {"signature": signature}, b"k" * 32)
