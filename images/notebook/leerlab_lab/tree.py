"""Trees of plain files, sent to and taken from the grading service; no link is followed, no special file opened.

The format is that of the service (`application/vnd.leerlab.tree`): one JSON line that lists path, size and SHA-256 of
every file, then their bytes in that order.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

MEDIA_TYPE = "application/vnd.leerlab.tree"
BLOCK = 2**16
_LONGEST_LIST = 2**24


class TreeError(Exception):
    """A tree that cannot be sent or that arrived damaged."""


@dataclass(frozen=True)
class PlainFile:
    """One file to send.

    Args:
        path: its name in the tree, with slashes, in Unicode's composed form.
        local: where it is on this machine.
    """

    path: str
    local: Path


@dataclass
class Collected:
    """What was found below a folder, and what was left out because it is no plain file."""

    files: list[PlainFile] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def collect(folder: Path, ignored: Callable[[str, list[str]], Iterable[str]] | None = None) -> Collected:
    """Find the plain files below a folder.

    Args:
        folder: where to look.
        ignored: given a folder and the names in it, the names to leave out, as `shutil.copytree` has it.
    """
    found = Collected()
    _collect(folder, "", ignored, found)
    found.files.sort(key=lambda item: item.path)
    return found


def _collect(
    folder: Path, prefix: str, ignored: Callable[[str, list[str]], Iterable[str]] | None, found: Collected
) -> None:
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    skip = set(ignored(str(folder), [entry.name for entry in entries])) if ignored else set()
    for entry in entries:
        path = unicodedata.normalize("NFC", prefix + entry.name)
        if entry.name in skip:
            continue
        if entry.is_dir(follow_symlinks=False):
            _collect(Path(entry.path), path + "/", ignored, found)
        elif entry.is_file(follow_symlinks=False):
            found.files.append(PlainFile(path, Path(entry.path)))
        else:
            found.left_out.append(path)


def encode(files: list[PlainFile]) -> Iterator[bytes]:
    """The tree as bytes, block by block.

    Raises:
        TreeError: a file is a link or was removed or replaced meanwhile.
    """
    listed = []
    for file in files:
        size, hashed = 0, hashlib.sha256()
        for block in _blocks(file):
            size += len(block)
            hashed.update(block)
        listed.append({"path": file.path, "size": size, "sha256": hashed.hexdigest()})
    yield json.dumps({"files": listed}).encode() + b"\n"
    for file in files:
        yield from _blocks(file)


def _blocks(file: PlainFile) -> Iterator[bytes]:
    try:
        # O_NONBLOCK: opening a FIFO that took the file's place must not wait for a writer.
        descriptor = os.open(file.local, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise TreeError(f"{file.path} cannot be read: {error.strerror}.") from error
    with os.fdopen(descriptor, "rb") as opened:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise TreeError(f"{file.path} is not a plain file.")
        while block := opened.read(BLOCK):
            yield block


def decode(pieces: Iterable[bytes], folder: Path) -> list[str]:
    """Write a tree below a folder that exists and is empty, and return the paths of its files.

    Raises:
        TreeError: it is no tree, a path would lead out of the folder, or it did not arrive complete and undamaged.
    """
    source = _Source(iter(pieces))
    try:
        listed = json.loads(source.line())["files"]
        files = [(_inside(str(item["path"])), int(item["size"]), str(item["sha256"])) for item in listed]
    except (KeyError, TypeError, ValueError) as error:
        raise TreeError("The list of files cannot be read.") from error
    for path, size, sha256 in files:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        hashed = hashlib.sha256()
        with target.open("xb") as file:
            for block in source.take(size):
                file.write(block)
                hashed.update(block)
        if hashed.hexdigest() != sha256:
            raise TreeError(f"{path} was damaged on the way.")
    return [path for path, _, _ in files]


def _inside(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\0" in path:
        raise TreeError(f"{path!r} would lie outside its folder.")
    return path


class _Source:
    """Pieces of any length, read as one line and then as counted bytes."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def line(self) -> bytes:
        while b"\n" not in self._rest:
            if len(self._rest) > _LONGEST_LIST:
                raise TreeError("The list of files is too long.")
            self._rest += self._next()
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def take(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self._rest or self._next()
            self._rest = piece[size:]
            yield piece[:size]
            size -= min(size, len(piece))

    def _next(self) -> bytes:
        for piece in self._pieces:
            if piece:
                return piece
        raise TreeError("The files did not arrive completely.")
