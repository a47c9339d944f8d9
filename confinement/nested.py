"""A wall inside a wall, for a process that forks off one which has imported what takes long.

bubblewrap starts a program anew, so a warm process would lose what it is warm with. Here a fork of it goes into
namespaces of its own instead: other processes, folders, sockets and shared memory are no longer there, and no right is
left to come back. The wall around it has `nested=True`, which leaves its own processes the right to make namespaces;
inside the inner one nobody has it.

Runs inside the outer wall, in a process with one thread: standard library only. The layers are those of the outer wall:
namespaces(7), capabilities(7), seccomp(2), setrlimit(2).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import resource
import signal
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

HOME = "/home/nb"
FILTER = "/opt/wall/seccomp.bpf"
"""Where a nested wall finds the system call filter of every wall, inside the outer one."""
NOT_MADE = 125
"""Exit code of the first process where the wall could not be made."""
PYTHON = "/usr/bin/python3"
# The first process of the inner wall: it reaps, hands SIGINT on, and ends as the one process that counts does; the
# kernel then ends all others.
_FIRST = """
import os, signal, sys
inside = int(sys.argv[1])
signal.signal(signal.SIGINT, lambda *_: os.kill(inside, signal.SIGINT))
while True:
    ended, status = os.wait()
    if ended == inside:
        code = os.waitstatus_to_exitcode(status)
        os._exit(code if code >= 0 else 128 - code)
"""

# sched.h
_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
_NEWUSER, _NEWPID, _NEWNET = 0x10000000, 0x20000000, 0x40000000
_ALL = _NEWNS | _NEWCGROUP | _NEWUTS | _NEWIPC | _NEWUSER | _NEWPID | _NEWNET
# sys/mount.h
_NOSUID, _NODEV, _NOEXEC, _BIND, _REC, _PRIVATE = 0x2, 0x4, 0x8, 0x1000, 0x4000, 0x40000
# linux/prctl.h, linux/seccomp.h, linux/capability.h, bits/ioctls.h
_SET_PDEATHSIG, _SET_DUMPABLE, _SET_SECCOMP, _CAPBSET_DROP, _SET_CHILD_SUBREAPER, _SET_NO_NEW_PRIVS = (
    1,
    4,
    22,
    24,
    36,
    38,
)
_MODE_FILTER = 2
_CAPABILITIES = 64
_CAPABILITY_VERSION_3 = 0x20080522
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1
_INSTRUCTION = 8  # bytes of a struct sock_filter

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


@dataclass(frozen=True)
class Nest:
    """What one inner wall is.

    Args:
        home: folder inside the outer wall that is the writable home inside; what lies beside it is not there.
        folder: folder inside in which the process goes on.
        seccomp: bytes of the compiled system call filter.
        tmp, shm: sizes of /tmp and /dev/shm in bytes.
        processes, open_files, file_size: as `confinement.wall.Limits`.
        data: bytes of memory that a process may have for its data, beside what it was forked with (RLIMIT_DATA).
    """

    home: Path
    folder: Path
    seccomp: bytes
    tmp: int
    shm: int
    processes: int
    open_files: int
    file_size: int
    data: int


def fork(nest: Nest, kept: tuple[int, ...] = ()) -> int:
    """As fork(2), with the child inside.

    Between the two stands the first process of the inner wall, a small program whose number the parent gets. Killed, it
    takes everything inside with it; it hands SIGINT on to the child; and it ends when the child does, with the child's
    exit code, 128 and the signal's number where a signal ended it.

    Args:
        nest: the inner wall.
        kept: descriptors that stay open inside, beside the standard ones.

    Returns:
        0 in the child; in the parent the number of the first process, which is a child of its own. A wall that cannot
        be made is said on standard error by the first process, which then ends with `NOT_MADE`.

    Raises:
        OSError: not even the first process could be made.
    """
    _call(_libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "PR_SET_CHILD_SUBREAPER")
    (said, say), (alone, let) = os.pipe(), os.pipe()
    # Namespaces of processes hold for children only, so there is one more process in the middle for a moment. Not
    # clone(2) with namespaces: numeric libraries have threads, which they put away at a fork that libc knows of.
    middle = os.fork()
    if middle:
        for end in (say, alone):
            os.close(end)
        with os.fdopen(said, "rb") as told:
            first = told.read()
        os.waitpid(middle, 0)
        os.close(let)
        if not first:
            raise OSError("the inner wall could not be begun")
        return int(first)
    try:
        os.close(let)
        uid, gid = os.getuid(), os.getgid()
        _call(_libc.unshare(_ALL), "unshare")
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            Path("/proc/self", name).write_text(text, "ascii")
        child = os.fork()
        if child:
            os.write(say, str(child).encode())
            os._exit(0)
        os.close(say)
        # Until the one in the middle has gone, and the parent, whose death is this one's, is the process that called.
        os.read(alone, 1)
        _call(_libc.prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "PR_SET_PDEATHSIG")
        _furnish(nest)
        data = _data_of_now() + nest.data
        _give_up_rights(nest.seccomp)
        inside = os.fork()
        if inside:
            _stand_for(inside)
        # As of every ordinary process: without it, not even its own files in /proc are its own.
        _call(_libc.prctl(_SET_DUMPABLE, 1, 0, 0, 0), "PR_SET_DUMPABLE")
        _begin(nest, data, kept)
    except BaseException as error:  # noqa: BLE001 - nothing may go on in a wall that is not whole
        os.write(2, f"The inner wall could not be made: {error}\n".encode())
        os._exit(NOT_MADE)
    return 0


def bare_fork(nest: Nest, kept: tuple[int, ...] = ()) -> int:
    """As `fork`, without a wall: only with the limits of one; what it starts is in the child's own session.

    Args:
        nest: of which the folder and the limits count.
        kept: descriptors that stay open.
    """
    data = _data_of_now() + nest.data
    child = os.fork()
    if child == 0:
        try:
            _begin(nest, data, kept)
        except BaseException as error:  # noqa: BLE001 - nothing may go on as its parent
            os.write(2, f"The process could not begin: {error}\n".encode())
            os._exit(NOT_MADE)
    return child


def _begin(nest: Nest, data: int, kept: tuple[int, ...]) -> None:
    """In the process that counts: its descriptors, signals, limits and folder."""
    signal.set_wakeup_fd(-1)
    _only(kept)
    os.setsid()
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    # As in every Python: a pipe that nobody reads, or a file that grows too large, is an error that can be caught.
    for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)
    _limit(nest, data)
    os.chdir(nest.folder)


def _furnish(nest: Nest) -> None:
    """In the first process inside: folders, sockets and processes of its own."""
    home = os.open(nest.home, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    _mount("", "/", "", _REC | _PRIVATE)
    _mount("proc", "/proc", "proc", _NOSUID | _NODEV | _NOEXEC)
    _mount(f"/proc/self/fd/{home}", HOME, "", _BIND)
    os.close(home)
    for place, size in (("/tmp", nest.tmp), ("/dev/shm", nest.shm)):  # noqa: S108 - the wall's own
        _mount("tmpfs", place, "tmpfs", _NOSUID | _NODEV, f"size={size},mode=1777")
    # Terminals of others with the same number are the same user's.
    _mount("devpts", "/dev/pts", "devpts", _NOSUID | _NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
    # No namespaces below this one, as bubblewrap's --disable-userns; the filter refuses them as well.
    Path("/proc/sys/user/max_user_namespaces").write_text("0", "ascii")


def _give_up_rights(seccomp: bytes) -> None:
    """No capability, no way to get one, and the filter; all that this process forks has the same."""
    for number in range(_CAPABILITIES):
        if _libc.prctl(_CAPBSET_DROP, number, 0, 0, 0) != 0:
            break  # the kernel knows no more of them
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    _call(_libc.capset(header, bytes(24)), "capset")
    _call(_libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")
    instructions = ctypes.create_string_buffer(seccomp, len(seccomp))
    program = _Program(len(seccomp) // _INSTRUCTION, ctypes.addressof(instructions))
    _call(_libc.prctl(_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0), "PR_SET_SECCOMP")


def _limit(nest: Nest, data: int) -> None:
    # Counted in this user namespace alone (user_namespaces(7)).
    limits = (
        (resource.RLIMIT_NPROC, nest.processes), (resource.RLIMIT_NOFILE, nest.open_files),
        (resource.RLIMIT_FSIZE, nest.file_size), (resource.RLIMIT_DATA, data), (resource.RLIMIT_CORE, 0),
    )  # fmt: skip
    for kind, most in limits:
        # The outer wall's own limits hold as well, and cannot be raised.
        _, outer = resource.getrlimit(kind)
        held = most if outer == resource.RLIM_INFINITY else min(most, outer)
        resource.setrlimit(kind, (held, held))


def _data_of_now() -> int:
    """Bytes that RLIMIT_DATA counts of this process: what it was forked with costs it nothing."""
    found = re.search(r"^VmData:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii"), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _stand_for(inside: int) -> NoReturn:
    """Become a small program, so that what the warm process has in memory is not counted here once more."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _only(())
    os.execv(PYTHON, [PYTHON, "-I", "-S", "-c", _FIRST, str(inside)])  # noqa: S606 - a fixed program


def _only(kept: tuple[int, ...]) -> None:
    """Close all descriptors but the standard ones and those."""
    least = 3
    for descriptor in sorted(kept):
        os.closerange(least, descriptor)
        least = descriptor + 1
    os.closerange(least, os.sysconf("SC_OPEN_MAX"))


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    done = _libc.mount(
        source.encode() or None, target.encode(), kind.encode() or None, ctypes.c_ulong(flags), options.encode() or None
    )
    _call(done, f"mount {target}")


def _call(result: int, what: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), what)
