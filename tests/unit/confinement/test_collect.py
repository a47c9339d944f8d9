"""Collecting reads what a person handed in, and nothing that they only point at."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from confinement.collect import Bounds, Collected, CollectRefused, Why, read_file, walk


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    (tmp_path / "secret").write_text("secret")
    return tmp_path / "work"


@pytest.fixture
def fd(work: Path) -> Iterator[int]:
    descriptor = os.open(work, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def why(call: Callable[[], object]) -> Why:
    with pytest.raises(CollectRefused) as caught:
        call()
    assert caught.value.message.code == caught.value.why.value
    return caught.value.why


def test_a_file_is_read_whole(work: Path, fd: int) -> None:
    (work / "data").mkdir()
    (work / "data" / "één.csv").write_bytes(b"x" * 3_000_000)
    assert read_file(fd, "data/één.csv", 3_000_000) == b"x" * 3_000_000


def test_a_folder_is_read_in_order_and_twice_the_same(work: Path, fd: int) -> None:
    for name in ("b.txt", "a/z.txt", "a/b/c.txt", ".hidden"):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(name)
    expected = [Collected(name, name.encode()) for name in (".hidden", "a/b/c.txt", "a/z.txt", "b.txt")]
    assert list(walk(fd, Bounds())) == expected
    assert list(walk(fd, Bounds())) == expected


@pytest.mark.attack
@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../secret"])
def test_a_name_never_leaves_the_folder(work: Path, fd: int, name: str) -> None:
    (work / "a").mkdir()
    assert why(lambda: read_file(fd, name, 100)) is Why.LINK
    # An open that only starts at the folder follows it out.
    os.close(os.open(name, os.O_RDONLY, dir_fd=fd))


@pytest.mark.attack
@pytest.mark.parametrize("target", ["../secret", "{tmp}/secret", "inside"])
def test_a_symbolic_link_is_refused_wherever_it_leads(work: Path, fd: int, tmp_path: Path, target: str) -> None:
    (work / "inside").write_text("mine")
    (work / "link").symlink_to(target.format(tmp=tmp_path))
    assert why(lambda: read_file(fd, "link", 100)) is Why.LINK
    assert why(lambda: list(walk(fd, Bounds()))) is Why.LINK
    os.close(os.open("link", os.O_RDONLY, dir_fd=fd))


@pytest.mark.attack
def test_a_folder_that_is_a_link_is_not_entered(work: Path, fd: int, tmp_path: Path) -> None:
    (work / "folder").symlink_to(tmp_path)
    assert why(lambda: read_file(fd, "folder/secret", 100)) is Why.LINK
    assert why(lambda: list(walk(fd, Bounds()))) is Why.LINK
    os.close(os.open("folder/secret", os.O_RDONLY, dir_fd=fd))


@pytest.mark.attack
def test_a_magic_link_in_proc_is_not_followed(fd: int) -> None:
    process = os.open("/proc/self", os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert why(lambda: read_file(process, "root/etc/passwd", 10**6)) is Why.LINK
        os.close(os.open("root/etc/passwd", os.O_RDONLY, dir_fd=process))
    finally:
        os.close(process)


@pytest.mark.attack
def test_a_hard_link_is_refused(work: Path, fd: int, tmp_path: Path) -> None:
    (work / "copy").hardlink_to(tmp_path / "secret")
    assert why(lambda: read_file(fd, "copy", 100)) is Why.HARD_LINK
    (tmp_path / "secret").unlink()
    assert read_file(fd, "copy", 100) == b"secret"


@pytest.mark.attack
def test_pipes_and_sockets_are_refused_without_waiting(work: Path, fd: int) -> None:
    os.mkfifo(work / "pipe")
    assert why(lambda: read_file(fd, "pipe", 100)) is Why.NOT_A_FILE
    (work / "pipe").unlink()
    here = Path.cwd()
    os.chdir(work)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("s")
    finally:
        os.chdir(here)
    assert why(lambda: list(walk(fd, Bounds()))) is Why.NOT_A_FILE
    (work / "s").unlink()
    (work / "s").write_text("a file")
    assert read_file(fd, "s", 100) == b"a file"


def test_a_folder_is_no_file_and_a_file_no_folder(work: Path, fd: int) -> None:
    (work / "folder").mkdir()
    (work / "file").write_text("x")
    assert why(lambda: read_file(fd, "folder", 100)) is Why.NOT_A_FILE
    assert why(lambda: read_file(fd, "file/x", 100)) is Why.MISSING
    assert why(lambda: read_file(fd, "nothing", 100)) is Why.MISSING


@pytest.mark.attack
def test_sizes_and_counts_are_bounded(work: Path, fd: int) -> None:
    for number in range(5):
        (work / f"{number}").write_bytes(b"x" * 100)
    (work / "a/b/c").mkdir(parents=True)
    assert why(lambda: read_file(fd, "0", 99)) is Why.FILE_TOO_LARGE
    assert why(lambda: list(walk(fd, Bounds(total=499)))) is Why.TOO_LARGE
    assert why(lambda: list(walk(fd, Bounds(files=7)))) is Why.TOO_MANY
    assert why(lambda: list(walk(fd, Bounds(depth=2)))) is Why.TOO_DEEP
    assert len(list(walk(fd, Bounds(files=8, total=500, depth=3)))) == 5


@pytest.mark.attack
def test_a_sparse_file_counts_its_full_size(work: Path, fd: int) -> None:
    with (work / "sparse").open("wb") as target:
        target.truncate(2**40)
    assert why(lambda: list(walk(fd, Bounds(total=2**20)))) is Why.TOO_LARGE
    assert (work / "sparse").stat().st_blocks == 0


@pytest.mark.parametrize("name", [b"new\nline", b"esc\x1b[2J", b"\xff\xfe"])
def test_names_that_would_deceive_are_refused(work: Path, fd: int, name: bytes) -> None:
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    assert why(lambda: list(walk(fd, Bounds()))) is Why.NAME


def test_no_descriptor_is_left_open(work: Path, fd: int) -> None:
    (work / "a").mkdir()
    (work / "a" / "x").write_text("x")
    (work / "link").symlink_to("a")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        why(lambda: list(walk(fd, Bounds())))
        why(lambda: read_file(fd, "a", 10))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_where_openat2_is_refused_nothing_passes_for_missing(
    work: Path, fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (work / "a.txt").write_text("a")
    # A number that no kernel has is answered as a filter of systemd answers openat2.
    monkeypatch.setattr("confinement.collect._OPENAT2", 9999)
    with pytest.raises(OSError, match=r"openat2\(2\) is refused"):
        read_file(fd, "a.txt", 10)
