"""Unpacks a course's package: a program of its own, run behind a wall, that trusts nothing in the archive.

`python3 unpack.py ARCHIVE FOLDER LIMITS`: writes plain files and folders below FOLDER, and says in one line of JSON
what it refused, if anything. Formats: tar, plain or with gzip (POSIX.1-2001, section pax), and zip (APPNOTE 6.3).
Whoever reads FOLDER afterwards looks again, as at any folder of somebody else's.
"""

from __future__ import annotations

import gzip
import io
import json
import stat
import sys
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

BLOCK = 2**16
DEEPEST = 12
LONGEST = 600
# A tar's own headers beside the files: a block for each, and some for long names.
_HEADERS = 4096
_BROKEN = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError,
)  # fmt: skip
_OWN = tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE


class Refused(Exception):
    """Something that no package of a course holds.

    Args:
        why: a code.
        name: of the entry, or nothing.
    """

    def __init__(self, why: str, name: str = "") -> None:
        super().__init__(why)
        self.why, self.name = why, name


class Bounded(io.RawIOBase):
    """A stream that ends with a refusal after so many bytes, whatever its length is said to be."""

    def __init__(self, source: IO[bytes], most: int) -> None:
        super().__init__()
        self._source, self._room = source, most

    def readable(self) -> bool:
        """It is there to be read."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fill the buffer."""
        view = memoryview(buffer)  # type: ignore[arg-type]
        piece = self._source.read(min(len(view), BLOCK))
        self._room -= len(piece)
        if self._room < 0:
            raise Refused("bomb")
        view[: len(piece)] = piece
        return len(piece)


def checked(name: str) -> str:
    """The entry's path, if it stays inside and can be shown."""
    parts = name.rstrip("/").split("/")
    if not name.rstrip("/") or name.startswith("/") or ".." in parts or "\\" in name:
        raise Refused("leaves-folder", name)
    hidden = any(unicodedata.category(each)[0] in "CZ" and each != " " for each in name)
    if hidden or any(part in ("", ".") for part in parts):
        raise Refused("name", name)
    if len(parts) > DEEPEST or len(name.encode("utf-8", "surrogateescape")) > LONGEST:
        raise Refused("name", name)
    return "/".join(parts)


def entries_of_tar(archive: IO[bytes], most: int, files: int) -> Iterator[tuple[str, IO[bytes] | None, int]]:
    """Path, content and size of each entry; no content for a folder."""
    start = archive.read(2)
    archive.seek(0)
    plain: Any = gzip.GzipFile(fileobj=archive) if start == b"\x1f\x8b" else archive
    bounded = io.BufferedReader(Bounded(plain, most + (files + 16) * _HEADERS), BLOCK)
    with tarfile.open(fileobj=bounded, mode="r|", errorlevel=2) as tar:
        for count, entry in enumerate(tar):
            if count > files:
                raise Refused("too-many")
            if entry.issym() or entry.islnk():
                raise Refused("link", entry.name)
            if entry.isdir():
                yield checked(entry.name), None, 0
            elif entry.type in _OWN and not entry.issparse():
                yield checked(entry.name), tar.extractfile(entry), entry.size
            else:
                raise Refused("special", entry.name)


def entries_of_zip(archive: IO[bytes], files: int) -> Iterator[tuple[str, IO[bytes] | None, int]]:
    """As `entries_of_tar`."""
    with zipfile.ZipFile(archive) as zipped:
        listed = zipped.infolist()
        if len(listed) > files:
            raise Refused("too-many")
        for entry in listed:
            # zipfile cuts a name at a NUL byte.
            if entry.orig_filename != entry.filename:
                raise Refused("name", entry.orig_filename)
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind == stat.S_IFLNK:
                raise Refused("link", entry.filename)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise Refused("special", entry.filename)
            if entry.flag_bits & 0x1:
                raise Refused("encrypted", entry.filename)
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise Refused("type", entry.filename)
            if entry.is_dir():
                yield checked(entry.filename), None, 0
            else:
                with zipped.open(entry) as content:
                    yield checked(entry.filename), content, entry.file_size


def unpack(package: Path, folder: Path, most: int, files: int) -> None:
    """Write the package's files below a folder.

    Args:
        most: bytes that all files may take together.
        files: entries that there may be.

    Raises:
        Refused: it holds something that no course has.
    """
    names = Names()
    room = most
    with package.open("rb") as archive:
        zipped = zipfile.is_zipfile(archive) and _begins(archive, b"PK")
        archive.seek(0)
        found = entries_of_zip(archive, files) if zipped else entries_of_tar(archive, most, files)
        for name, content, size in found:
            names.add(name, folder=content is None)
            target = folder / name
            if content is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            if size > room:
                raise Refused("bomb", name)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                while piece := content.read(BLOCK):
                    room -= len(piece)
                    if room < 0:
                        raise Refused("bomb", name)
                    file.write(piece)


class Names:
    """The names of a package so far, each of which is one name on every machine."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}
        self._files: set[str] = set()

    def add(self, name: str, *, folder: bool) -> None:
        """Take a name.

        Raises:
            Refused: there is that name already, in other capitals or in another Unicode form, or a file as a folder.
        """
        parts = name.split("/")
        for end in range(1, len(parts) + (1 if folder else 0)):
            path = "/".join(parts[:end])
            key = _key(path)
            if key in self._files or self._folders.setdefault(key, path) != path:
                raise Refused("double", name)
        if not folder:
            if _key(name) in self._files or _key(name) in self._folders:
                raise Refused("double", name)
            self._files.add(_key(name))


def _key(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def _begins(archive: IO[bytes], with_: bytes) -> bool:
    archive.seek(0)
    return archive.read(len(with_)) == with_


def main() -> int:
    """Unpack what the command line names."""
    package, folder, limits = sys.argv[1:]
    bounds = json.loads(limits)
    answer = {"refused": "", "name": ""}
    try:
        unpack(Path(package), Path(folder), bounds["total"], bounds["files"])
    except Refused as refused:
        answer = {"refused": refused.why, "name": ascii(refused.name)[:200]}
    except _BROKEN as error:
        answer = {"refused": "broken", "name": ascii(str(error))[:200]}
    sys.stdout.write(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
