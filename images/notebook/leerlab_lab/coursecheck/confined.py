"""Narrows the calling process to its own folder, for good: what one case writes or reads is no other case's business.

Landlock (landlock(7)): an ordinary process gives up rights that it and its children never get back. Beside files it
takes away signals to, and the tracing of, processes outside, where the kernel knows how (6.12 for signals).
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

# asm-generic/unistd.h: the same numbers on every architecture.
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38
# linux/landlock.h
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1}
_TRUNCATE = 1 << 14
_SCOPE_ABSTRACT, _SCOPE_SIGNAL = 1 << 0, 1 << 1
_FIRST_SCOPED = 6
READABLE = ("/usr", "/opt", "/etc", "/lib", "/lib64", "/bin", "/sbin", "/proc", "/sys")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - only semaphores and the memory of a case's own workers are there

_libc = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def abi() -> int:
    """Which Landlock the kernel has; 0 where it has none."""
    return max(0, int(_libc.syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG))))


def confine(own: Path, readable: tuple[Path, ...] = ()) -> None:
    """Keep this process and its children to one folder, what all may read, and the devices that hold nothing.

    Args:
        own: the folder that it may read and change.
        readable: further folders and files that it may read.

    Raises:
        OSError: the kernel lacks Landlock, or refuses; nothing should run then.
    """
    version = abi()
    if not version:
        raise OSError("this kernel has no Landlock")
    rights = _FILE_RIGHTS[min(version, 3)]
    scoped = _SCOPE_ABSTRACT | _SCOPE_SIGNAL if version >= _FIRST_SCOPED else 0
    wanted = _Ruleset(rights, 0, scoped)
    size = ctypes.sizeof(_Ruleset) if scoped else ctypes.sizeof(ctypes.c_uint64)
    ruleset = _call(_CREATE, ctypes.byref(wanted), ctypes.c_size_t(size), ctypes.c_uint32(0))
    look = _READ_FILE | _READ_DIR | _EXECUTE
    use = _READ_FILE | _WRITE_FILE | (_TRUNCATE & rights)
    for place in (*map(Path, READABLE), *readable):
        _allow(ruleset, place, look if place.is_dir() else look & ~_READ_DIR)
    for place in map(Path, DEVICES):
        _allow(ruleset, place, use)
    for place in (own, Path(SHARED_MEMORY)):
        _allow(ruleset, place, rights)
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs was refused")
    _call(_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    os.close(ruleset)


def _allow(ruleset: int, place: Path, rights: int) -> None:
    try:
        descriptor = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        rule = _Beneath(rights, descriptor)
        _call(_ADD, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), ctypes.byref(rule), ctypes.c_uint32(0))
    finally:
        os.close(descriptor)


def _call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock: {os.strerror(ctypes.get_errno())}")
    return result
