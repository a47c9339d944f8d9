"""A tree of plain files on the wire and on disk: one JSON line that lists the files, then their bytes in that order.

The format (`application/vnd.leerlab.tree`) can only say plain files: links, devices, modes and owners have no way to be
written down, compression does not exist, and count and size are known before the first byte of content is stored.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from grading.errors import DiskFull, TooLarge, WrongTree
from grading.names import file_path

MEDIA_TYPE = "application/vnd.leerlab.tree"
BLOCK = 2**16
# A listed file takes at most the longest path, escaped, and some 120 bytes of JSON around it.
_LIST_BYTES_A_FILE = 2048
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class FileEntry(BaseModel):
    """One file of a tree: its path, its size in bytes and the SHA-256 of its content in hexadecimal."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    path: str
    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class FileList(BaseModel):
    """The first line of a tree."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    files: list[FileEntry]


@dataclass(frozen=True)
class TreeLimits:
    """How much one tree may hold.

    Args:
        total: most bytes of all files together.
        files: most files.
    """

    total: int
    files: int


def digest(entries: Sequence[FileEntry]) -> str:
    """SHA-256, in hexadecimal, of the whole tree: of the sorted list of paths, sizes and digests as canonical JSON."""
    listed = [[entry.path, entry.size, entry.sha256] for entry in sorted(entries, key=lambda entry: entry.path)]
    return hashlib.sha256(json.dumps(listed, separators=(",", ":")).encode()).hexdigest()


@contextlib.contextmanager
def full_disk_said_clearly() -> Iterator[None]:
    """Turn the operating system's "no space left" into an error for people.

    Raises:
        DiskFull: there was no space left.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFull(
            "There is no space left to keep these files.",
            "Nothing was kept; what was handed in before is safe.",
            "Try again later, and tell your teacher or the operators.",
        ) from error


class TreeWriter:
    """Takes a tree in pieces of any length and writes it below a fresh folder that nobody else writes to.

    Args:
        folder: where the files go; must not exist yet.
        limits: how much is accepted.
    """

    def __init__(self, folder: Path, limits: TreeLimits) -> None:
        self.folder = folder
        self._limits = limits
        self._head = bytearray()
        self._entries: list[FileEntry] | None = None
        self._index = 0
        self._left = 0
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()
        folder.mkdir(mode=0o700)

    def feed(self, data: bytes) -> None:
        """Take the next piece.

        Raises:
            WrongTree: not a tree as described above.
            TooLarge: more bytes or files than the limits.
            DiskFull: no space left.
        """
        view = memoryview(data)
        if self._entries is None:
            end = data.find(b"\n")
            self._head += data if end < 0 else data[:end]
            if len(self._head) > _LIST_BYTES_A_FILE * (self._limits.files + 1):
                raise TooLarge("The list of files is too long.", f"At most {self._limits.files} files are taken in.")
            if end < 0:
                return
            self._entries = self._checked(bytes(self._head))
            view = view[end + 1 :]
            with full_disk_said_clearly():
                self._open_next()
        with full_disk_said_clearly():
            self._write(view)

    def finish(self) -> list[FileEntry]:
        """Say that no more comes; every file is complete and on disk (fsync) when this returns.

        Raises:
            WrongTree: the tree ended too early.
        """
        if self._entries is None or self._index < len(self._entries):
            raise WrongTree("The files did not arrive completely.", "Nothing was kept.", "Send them again.")
        with full_disk_said_clearly():
            sync_folders(self.folder)
        return self._entries

    def close(self) -> None:
        """Close the file that is being written, if any; needed only when the tree is given up."""
        if self._file is not None:
            # What was not written yet is thrown away; on a full disk it could not be written either.
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _checked(self, head: bytes) -> list[FileEntry]:
        try:
            entries = FileList.model_validate_json(head).files
        except ValidationError as error:
            raise WrongTree("The list of files cannot be read.") from error
        if len(entries) > self._limits.files:
            raise TooLarge(
                f"There are {len(entries)} files.",
                f"At most {self._limits.files} files are taken in.",
                "Remove files that do not belong to the assignment.",
            )
        total = sum(entry.size for entry in entries)
        if total > self._limits.total:
            raise TooLarge(
                f"The files take {total:,} bytes together.",
                f"At most {self._limits.total:,} bytes are taken in.",
                "Remove large files that do not belong to the assignment, such as data sets.",
            )
        paths = {file_path(entry.path) for entry in entries}
        if len(paths) != len(entries):
            raise WrongTree("The list of files names one file twice.")
        for path in paths:
            if any(path[:at] in paths for at, character in enumerate(path) if character == "/"):
                raise WrongTree(f"{path!r:.120} lies in something that is a file itself.")
        return entries

    def _open_next(self) -> None:
        """Start the next file that has content; empty files are made on the way."""
        entries = self._entries or []
        while self._index < len(entries):
            entry = entries[self._index]
            target = self.folder / entry.path
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            self._file = os.fdopen(descriptor, "wb")
            self._left = entry.size
            self._hash = hashlib.sha256()
            if self._left:
                return
            self._end_file()

    def _end_file(self) -> None:
        file, entries = self._file, self._entries
        if file is None or entries is None:
            raise AssertionError("no file is open")
        file.flush()
        os.fsync(file.fileno())
        file.close()
        self._file = None
        entry = entries[self._index]
        self._index += 1
        if self._hash.hexdigest() != entry.sha256:
            raise WrongTree(f"{entry.path!r:.120} was damaged on the way.", "Nothing was kept.", "Send it again.")

    def _write(self, view: memoryview) -> None:
        while view:
            if self._file is None:
                raise WrongTree("More bytes arrived than the list of files says.")
            piece = view[: self._left]
            self._file.write(piece)
            self._hash.update(piece)
            self._left -= len(piece)
            view = view[len(piece) :]
            if not self._left:
                self._end_file()
                self._open_next()


def sync_folders(folder: Path) -> None:
    """fsync a folder and every folder below it, so that the names in them survive a crash."""
    for place, _, _ in os.walk(folder):
        sync_folder(Path(place))


def sync_folder(folder: Path) -> None:
    """fsync one folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def describe(folder: Path) -> list[FileEntry]:
    """The list of a folder's plain files, sorted by path.

    Raises:
        WrongTree: something in it is no plain file or folder, or has a name that may not travel.
    """
    entries = []
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                raise WrongTree(f"{path} is a link or a special file.", "", "Replace it by a plain file.")
        for name in files:
            path = Path(place, name)
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            relative = file_path(path.relative_to(folder).as_posix())
            entries.append(FileEntry(path=relative, size=path.stat().st_size, sha256=sha256))
    return sorted(entries, key=lambda entry: entry.path)


def stream(folder: Path, entries: Sequence[FileEntry]) -> Iterator[bytes]:
    """The tree as bytes, block by block.

    Args:
        folder: a folder that nobody changes meanwhile.
        entries: the files to send, as `describe` or a manifest lists them.
    """
    yield FileList(files=list(entries)).model_dump_json().encode() + b"\n"
    for entry in entries:
        with (folder / entry.path).open("rb") as file:
            while block := file.read(BLOCK):
                yield block


def remove(folder: Path) -> None:
    """Remove a folder and all in it; what is already gone is fine."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)
