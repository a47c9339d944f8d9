"""A small signed image, the keys it is signed with, and a place where it is unpacked."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from confinement.seccomp import write_filter
from images.manifest import ImageFiles
from images.unpack import unpack

sys.path.insert(0, str(Path(__file__).parent))

from small_image import Key, pack, seal, small_tree


@dataclass(frozen=True)
class Source:
    """What images of the tests are made from, once for all."""

    tree: Path
    squashfs: Path
    key: Key
    other_key: Key
    seccomp: Path


@dataclass(frozen=True)
class Place:
    """One test's images: where they lie, and where they are unpacked."""

    source: Source
    shelf: Path
    unpacked: Path

    def sealed(self, version: str = "1", squashfs: Path | None = None, key: Key | None = None) -> ImageFiles:
        return seal(self.shelf, squashfs or self.source.squashfs, version, key or self.source.key)

    def unpack(self, files: ImageFiles) -> Path:
        return unpack(self.unpacked, files, self.source.key.public, self.source.seccomp)

    def left(self) -> list[str]:
        return sorted(entry.name for entry in self.unpacked.iterdir())


@pytest.fixture(scope="session")
def source() -> Iterator[Source]:
    folder = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    tree = small_tree(folder / "tree")
    write_filter(folder / "seccomp.bpf")
    yield Source(
        tree,
        pack(tree, folder / "small.squashfs"),
        Key.make(folder, "ours"),
        Key.make(folder, "other"),
        folder / "seccomp.bpf",
    )
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def no_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits until all that others write is on the disk: no power is cut here."""
    monkeypatch.setattr("images.unpack.os.sync", lambda: None)


@pytest.fixture
def place(source: Source) -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    for name in ("shelf", "unpacked"):
        (folder / name).mkdir()
    yield Place(source, folder / "shelf", folder / "unpacked")
    shutil.rmtree(folder)
