"""The shelf holds complete entries whose files are what their cards say, whatever happens while it is made."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from base.errors import LeerlabError
from catalogue import shelf as shelves
from catalogue.entries import CATALOGUE, Entry, entries, entry_of
from catalogue.shelf import NotThatFile, Shelf, Sources

CODE = CATALOGUE.parent


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    """A dataset with its file beside its card, in a folder of its own."""
    folder = tmp_path / "elecdemand"
    shutil.copytree(CATALOGUE / "datasets" / "elecdemand", folder)
    return replace(entry_of(entries(), "elecdemand"), folder=folder)


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources(CODE, tmp_path / "packages")


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    (tmp_path / "shelf").mkdir()
    return Shelf(tmp_path / "shelf")


def content(shelf: Shelf, entry: Entry) -> bytes:
    return (shelf.folder(entry) / "elecdemand.csv").read_bytes()


def nothing_half(shelf: Shelf) -> bool:
    return not list(shelf.root.glob(".new-*"))


def test_an_entry_is_put_there_once_and_nobody_can_write_it(shelf: Shelf, entry: Entry, sources: Sources) -> None:
    assert shelf.prepare([entry], sources) == ["elecdemand"]
    assert shelf.prepare([entry], sources) == [] and shelf.problems(entry) == [] and nothing_half(shelf)
    with pytest.raises(PermissionError):
        (shelf.folder(entry) / "elecdemand.csv").open("a")


@pytest.mark.attack
def test_a_changed_byte_is_found_and_put_right(shelf: Shelf, entry: Entry, sources: Sources) -> None:
    shelf.prepare([entry], sources)
    before, file = content(shelf, entry), shelf.folder(entry) / "elecdemand.csv"
    file.chmod(0o600)
    file.write_bytes(before.replace(b"3.91464713", b"4.91464713"))
    # Control: size and name alone do not tell.
    assert file.stat().st_size == entry.card.files[0].size
    assert [problem.what for problem in shelf.problems(entry)] == ["has other contents"]
    assert shelf.prepare([entry], sources) == ["elecdemand"] and content(shelf, entry) == before


@pytest.mark.attack
def test_a_changed_source_is_refused_and_what_stands_there_stays(
    shelf: Shelf, entry: Entry, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.prepare([entry], sources)
    before = content(shelf, entry)
    beside = entry.folder / "elecdemand.csv"
    beside.write_bytes(before.replace(b"3.91464713", b"4.91464713"))
    newer = replace(entry, card=entry.card.model_copy(update={"version": "2"}))
    with pytest.raises(NotThatFile, match="is not the file that the card describes"):
        shelf.prepare([newer], sources)
    assert content(shelf, entry) == before and not shelf.folder(newer).exists() and nothing_half(shelf)
    # Control: with the digest that the changed file has, it would stand there.
    digest = hashlib.sha256(beside.read_bytes()).hexdigest()
    files = (newer.card.files[0].model_copy(update={"sha256": digest}),)
    shelf.prepare([replace(newer, card=newer.card.model_copy(update={"files": files}))], sources)
    assert shelf.folder(newer).exists()


@pytest.mark.attack
def test_a_link_in_a_files_place_is_neither_taken_nor_believed(
    shelf: Shelf, entry: Entry, sources: Sources, tmp_path: Path
) -> None:
    shelf.prepare([entry], sources)
    file = shelf.folder(entry) / "elecdemand.csv"
    good = tmp_path / "good.csv"
    shutil.copyfile(file, good)
    file.parent.chmod(0o700)
    file.unlink()
    file.symlink_to(good)
    # Control: through the link the contents are right, until whoever owns the other file changes it.
    assert hashlib.sha256(file.read_bytes()).hexdigest() == entry.card.files[0].sha256
    assert [problem.what for problem in shelf.problems(entry)] == ["is a link"]
    beside = entry.folder / "elecdemand.csv"
    beside.unlink()
    beside.symlink_to(good)
    with pytest.raises(LeerlabError):
        shelf.prepare([entry], sources)


@pytest.mark.attack
def test_an_endless_source_costs_no_more_than_its_card_says(shelf: Shelf, entry: Entry, sources: Sources) -> None:
    beside = entry.folder / "elecdemand.csv"
    with beside.open("ab") as opened:
        opened.truncate(2**40)  # a hole: no room is taken, and reading it would never end
    began = time.monotonic()
    with pytest.raises(NotThatFile):
        shelf.prepare([entry], sources)
    assert time.monotonic() - began < 60 and nothing_half(shelf)
    # Control: the file does go on that far.
    assert beside.stat().st_size == 2**40


@pytest.mark.fault
def test_a_missing_package_is_named_and_other_entries_are_not_lost(
    shelf: Shelf, entry: Entry, sources: Sources
) -> None:
    mnist = entry_of(entries(), "mnist-5000")
    with pytest.raises(NotThatFile, match=r"mnist-5000: .*mnist_5k\.csv\.gz is missing"):
        shelf.prepare([entry, mnist], sources)
    assert content(shelf, entry) and not shelf.folder(mnist).exists()


@pytest.mark.fault
def test_on_a_full_disk_an_entry_is_there_whole_or_not_at_all(shelf: Shelf, entry: Entry, sources: Sources) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    # The kernel's limit on a file's size plays the full disk: the same refused write.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(LeerlabError, match="cannot be made ready") as full:
            shelf.prepare([entry], sources)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert "Make room" in full.value.do and isinstance(full.value.__cause__, OSError)
    assert full.value.__cause__.errno == errno.EFBIG
    assert not shelf.folder(entry).exists() and nothing_half(shelf)
    shelf.prepare([entry], sources)
    assert shelf.problems(entry) == []


@pytest.mark.fault
def test_killed_in_the_middle_nothing_half_is_seen_and_the_next_time_finishes_it(
    shelf: Shelf, entry: Entry, sources: Sources
) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from catalogue import shelf\n"
        "from catalogue.entries import entries, entry_of\n"
        "shelf.json.dumps = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)\n"  # after the files, before the name
        "root = Path(sys.argv[1])\n"
        "shelf.Shelf(root).prepare([entry_of(entries(), 'elecdemand')], shelf.Sources(Path(sys.argv[2]), root))\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program, str(shelf.root), str(CODE)], timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(CODE)},
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL and list(shelf.root.glob(".new-*/elecdemand.csv"))
    assert not shelf.folder(entry).exists()
    shelf.prepare([entry], sources)
    assert shelf.problems(entry) == [] and nothing_half(shelf)


@pytest.mark.fault
def test_two_at_once_make_one_shelf(
    shelf: Shelf, entry: Entry, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shelves._copy

    def slow(*arguments: object) -> None:
        time.sleep(0.2)
        copy(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(shelves, "_copy", slow)
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda _: shelf.prepare([entry], sources), range(4)))
    assert sorted(done) == [[], [], [], ["elecdemand"]] and shelf.problems(entry) == [] and nothing_half(shelf)
