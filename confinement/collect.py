"""Reads files out of a folder that an untrusted person controls, without ever leaving it or following anything.

Every name is opened with openat2(2) and RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS and RESOLVE_NO_MAGICLINKS, so a symbolic
link, `..` or a folder swapped at the wrong moment ends in an error, never in somebody else's file. Only regular files
with one name that belong to the folder's owner are read.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from base.errors import LeerlabError
from base.messages import Message

# asm-generic/unistd.h: the same number on every architecture that Leerlab runs on.
_OPENAT2 = 437
# linux/openat2.h
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 0x02, 0x04, 0x08
_RESOLVE = _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS
# O_NONBLOCK: opening a FIFO must not wait for somebody to write to it.
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_LONGEST_NAME = 1024
# openat2 answers EAGAIN when something was renamed while it looked (openat2(2)).
_TRIES = 8

_libc = ctypes.CDLL(None, use_errno=True)


class Why(StrEnum):
    """Why something is not collected; the value is the code of the message for the person."""

    MISSING = "collect.missing"
    LINK = "collect.link"
    HARD_LINK = "collect.hard_link"
    NOT_A_FILE = "collect.not_a_file"
    NAME = "collect.name"
    OWNER = "collect.owner"
    FILE_TOO_LARGE = "collect.file_too_large"
    TOO_LARGE = "collect.too_large"
    TOO_MANY = "collect.too_many"
    TOO_DEEP = "collect.too_deep"
    UNREADABLE = "collect.unreadable"


class CollectRefused(LeerlabError):
    """Something in a person's folder cannot be collected.

    Args:
        why: the reason.
        name: path of the offending file or folder below the collected folder.
        limit: the limit that was passed, in bytes or files; 0 where there is none.
    """

    def __init__(self, why: Why, name: str, limit: int = 0) -> None:
        self.why = why
        self.name = name
        self.message = Message(why.value, {"name": name, "limit": limit})
        super().__init__(f"{name!r} cannot be collected ({why.value}).")


@dataclass(frozen=True)
class Bounds:
    """How much may be collected.

    Args:
        files: most files and folders together.
        total: most bytes of all files together.
        depth: most folders inside each other.
    """

    files: int = 1000
    total: int = 100 * 2**20
    depth: int = 16


@dataclass(frozen=True)
class Collected:
    """One file: its path below the folder, with slashes, and its content."""

    name: str
    content: bytes


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def read_file(folder_fd: int, name: str, limit: int) -> bytes:
    """The content of one file.

    Args:
        folder_fd: descriptor of the folder.
        name: path below the folder.
        limit: most bytes.

    Raises:
        CollectRefused: no such file, or not one that may be collected.
    """
    with open_file(folder_fd, name) as descriptor:
        return _content(descriptor, name, limit)


@contextmanager
def open_file(folder_fd: int, name: str) -> Iterator[int]:
    """A descriptor to read one file from, closed at the end of the block.

    Args:
        folder_fd: descriptor of the folder.
        name: path below the folder.

    Raises:
        CollectRefused: no such file, or not one that may be collected.
    """
    descriptor = _open(folder_fd, name, _FILE)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise CollectRefused(Why.NOT_A_FILE, name)
        if found.st_uid != os.fstat(folder_fd).st_uid:
            raise CollectRefused(Why.OWNER, name)
        if found.st_nlink != 1:
            # A second name may lie outside, and the file may be somebody else's.
            raise CollectRefused(Why.HARD_LINK, name)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def open_folder(folder_fd: int, name: str) -> Iterator[int]:
    """A descriptor of a folder below a folder, closed at the end of the block; no link is followed on the way.

    Args:
        folder_fd: descriptor of the folder.
        name: path below the folder.

    Raises:
        CollectRefused: no such folder, or a link in its place.
    """
    descriptor = _open(folder_fd, name, _FOLDER)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def walk(folder_fd: int, bounds: Bounds) -> Iterator[Collected]:
    """Every file below a folder, in order of name; stops with an error at the first thing that is not allowed.

    Args:
        folder_fd: descriptor of the folder.
        bounds: how much may be collected.

    Raises:
        CollectRefused: a link, a special file, a name that is no text, or more than the bounds.
    """
    room = bounds.total
    for name in _names(folder_fd, bounds):
        with open_file(folder_fd, name) as descriptor:
            try:
                content = _content(descriptor, name, room)
            except CollectRefused as error:
                if error.why is Why.FILE_TOO_LARGE:
                    raise CollectRefused(Why.TOO_LARGE, name, bounds.total) from error
                raise
        room -= len(content)
        yield Collected(name, content)


def _names(folder_fd: int, bounds: Bounds) -> list[str]:
    """Paths of all that is no folder, sorted; every entry counts, so that a million empty folders end early."""
    names: list[str] = []
    waiting = [("", 0)]
    count = 0
    while waiting:
        prefix, depth = waiting.pop()
        descriptor = _open(folder_fd, prefix, _FOLDER) if prefix else os.dup(folder_fd)
        try:
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    name = f"{prefix}/{entry.name}" if prefix else entry.name
                    count += 1
                    if count > bounds.files:
                        raise CollectRefused(Why.TOO_MANY, name, bounds.files)
                    if not entry.is_dir(follow_symlinks=False):
                        names.append(name)
                    elif depth + 1 > bounds.depth:
                        raise CollectRefused(Why.TOO_DEEP, name, bounds.depth)
                    else:
                        waiting.append((name, depth + 1))
        finally:
            os.close(descriptor)
    return sorted(names)


def _content(descriptor: int, name: str, limit: int) -> bytes:
    """At most `limit` bytes; what grows while it is read counts as it was read."""
    pieces: list[bytes] = []
    room = limit
    while piece := os.read(descriptor, min(2**20, room + 1)):
        room -= len(piece)
        if room < 0:
            raise CollectRefused(Why.FILE_TOO_LARGE, name, limit)
        pieces.append(piece)
    return b"".join(pieces)


def _open(folder_fd: int, name: str, flags: int) -> int:
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise CollectRefused(Why.NAME, ascii(name))
    how = _OpenHow(flags=flags, mode=0, resolve=_RESOLVE)
    for _ in range(_TRIES):
        descriptor = _libc.syscall(
            ctypes.c_long(_OPENAT2), ctypes.c_int(folder_fd), os.fsencode(name), ctypes.byref(how),
            ctypes.c_size_t(ctypes.sizeof(how)),
        )  # fmt: skip
        if descriptor >= 0:
            return int(descriptor)
        number = ctypes.get_errno()
        if number not in (errno.EAGAIN, errno.EINTR):
            break
    if number == errno.ENOSYS:
        # Not the file's fault, and not its owner's: nothing at all can be collected here.
        raise OSError(number, "openat2(2) is refused: does systemd's RestrictSUIDSGID hold for this service?", name)
    raise CollectRefused(_REASONS.get(number, Why.UNREADABLE), name)


_REASONS = {
    errno.ENOENT: Why.MISSING,
    errno.ENOTDIR: Why.MISSING,
    errno.ELOOP: Why.LINK,
    # RESOLVE_BENEATH: the name would leave the folder.
    errno.EXDEV: Why.LINK,
    errno.ENXIO: Why.NOT_A_FILE,
}
