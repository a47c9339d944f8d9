"""A folder with its manifest as one tar file; the same folder gives the same bytes."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterator
from hashlib import file_digest, sha256
from pathlib import Path
from typing import IO

from base.errors import LeerlabError

MANIFEST = "SHA256SUMS"
EVERY = 64 * 2**20


class _Digested:
    """A file that is written, and its digest.

    Args:
        file: where it goes.
        each: told every 64 MiB how many bytes have been written.
    """

    def __init__(self, file: IO[bytes], each: Callable[[int], None]) -> None:
        self._file, self._each, self._written, self._told = file, each, 0, 0
        self.digest = sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self._written += len(data)
        if self._written - self._told >= EVERY:
            self._told = self._written
            self._each(self._written)
        return self._file.write(data)


def write_manifest(top: Path) -> None:
    """`SHA256SUMS` with every file and link below `top`, as `sha256sum --check` reads it.

    Raises:
        LeerlabError: a name that such a line cannot hold.
    """
    lines = []
    for path in sorted(_files(top)):
        name = str(path.relative_to(top))
        if not name.isprintable() or "\\" in name:
            raise LeerlabError(f"A file has a name that a manifest cannot hold: {name!r}.", do="Rename it.")
        with path.open("rb") as opened:
            lines.append(f"{file_digest(opened, 'sha256').hexdigest()}  {name}\n")
    (top / MANIFEST).write_text("".join(lines), encoding="utf-8")


def _files(top: Path) -> Iterator[Path]:
    return (path for path in top.rglob("*") if path.is_symlink() or not path.is_dir())


def write_archive(top: Path, file: Path, epoch: int, each: Callable[[int], None] = lambda written: None) -> str:
    """Write `top` and all in it; gives the archive's SHA-256.

    Args:
        top: the folder; its name becomes the only one at the archive's top.
        file: the archive, which must not exist.
        epoch: time of every entry, in seconds since 1970.
        each: told now and then how many bytes have been written.
    """

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        entry.mtime = epoch
        if not entry.issym():
            entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
        return entry

    with file.open("xb") as opened:
        digested = _Digested(opened, each)
        # tarfile only calls write().
        with tarfile.open(fileobj=digested, mode="w|", format=tarfile.GNU_FORMAT) as archive:  # type: ignore[call-overload]
            for path in [top, *sorted(top.rglob("*"))]:
                archive.add(path, str(path.relative_to(top.parent)), recursive=False, filter=plain)
        opened.flush()
        os.fsync(opened.fileno())
    return digested.digest.hexdigest()
