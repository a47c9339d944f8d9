"""A home that is kept to its size: who grows is ended, who cleans up is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from base.disk_use import MOST_DEEP
from confinement import home_size
from confinement.home_size import HomeSize

MEBIBYTE = 2**20
SIZE = 20 * MEBIBYTE


def fill(path: Path, mebibytes: int) -> None:
    path.write_bytes(b"x" * (mebibytes * MEBIBYTE))


class Keeping:
    """A home under a keeper that counts its looks, so that a test waits for looks and not for time."""

    def __init__(self, home: Path, size: int | None) -> None:
        self.full = threading.Event()
        self.looks = 0
        self.keeper = HomeSize(home, size, self.full.set, pause=0.02)
        look = self.keeper._look

        def counted() -> object:
            found = look()
            self.looks += 1
            return found

        self.keeper._look = counted  # type: ignore[method-assign,assignment]

    def look_twice(self) -> None:
        """Wait until a whole look has begun and ended after this moment."""
        until, most = self.looks + 2, time.monotonic() + 30
        while self.looks < until and not self.full.is_set():
            assert time.monotonic() < most
            time.sleep(0.01)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    made.mkdir()
    return made


@pytest.fixture
def keep(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Keeping]]:
    monkeypatch.setattr(home_size, "SPARED", 0.0)
    kept: list[Keeping] = []

    def keep(size: int | None = SIZE) -> Keeping:
        made = Keeping(home, size)
        made.keeper.__enter__()
        kept.append(made)
        return made

    yield keep
    for one in kept:
        one.keeper.__exit__()


def test_a_home_that_grows_above_its_size_is_ended_once(keep: Callable[..., Keeping], home: Path) -> None:
    fill(home / "data", 19)
    keeping = keep()
    keeping.look_twice()
    assert not keeping.full.is_set()
    fill(home / "more", 19)
    assert keeping.full.wait(30)
    found = keeping.keeper.overrun
    assert found is not None and found.bytes > 36 * MEBIBYTE and found.files == 2


def test_a_tenth_more_is_no_reason(keep: Callable[..., Keeping], home: Path) -> None:
    fill(home / "data", 21)
    keeping = keep()
    keeping.look_twice()
    assert not keeping.full.is_set()


def test_who_comes_to_clean_up_is_let_in_and_may_not_fill_again(keep: Callable[..., Keeping], home: Path) -> None:
    for number in range(3):
        fill(home / f"data{number}", 20)
    keeping = keep()
    keeping.look_twice()
    # A lab writes its own files when it starts.
    fill(home / "history", 2)
    keeping.look_twice()
    assert not keeping.full.is_set()
    (home / "data0").unlink()
    keeping.look_twice()
    assert not keeping.full.is_set()
    # As much as when it began, and more than since then.
    fill(home / "data0", 20)
    assert keeping.full.wait(30)


def test_files_hidden_deep_do_not_count_for_nothing(keep: Callable[..., Keeping], home: Path) -> None:
    keeping = keep()
    keeping.look_twice()
    deep = home
    for _ in range(MOST_DEEP + 1):
        deep /= "d"
        deep.mkdir()
    assert keeping.full.wait(30)


def test_a_home_without_a_size_is_not_looked_at(keep: Callable[..., Keeping], home: Path) -> None:
    fill(home / "data", 40)
    keeping = keep(None)
    time.sleep(0.2)
    assert keeping.looks == 0


def test_a_folder_that_a_person_made_read_only_stays_so(keep: Callable[..., Keeping], home: Path) -> None:
    keeping = keep()
    keeping.look_twice()
    kept, closed = home / "kept", home / "closed"
    for folder in (kept, closed):
        folder.mkdir()
    kept.chmod(0o555)
    closed.chmod(0o300)
    fill(closed / "data", 30)
    assert keeping.full.wait(30)
    assert kept.stat().st_mode & 0o777 == 0o555
