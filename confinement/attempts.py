"""What the proof of a wall tries: the same program, started once behind the wall and once without it.

Started as `python3 -I -B attempts.py [nested]` with what it is to reach in `$LEERLAB_TARGETS`, as JSON; prints a JSON
object of attempt and whether it worked. With `nested` it tries from a wall of its own inside the one that it is in.
Nothing here does harm: what is reached was put there for it. Standard library only.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

VARIABLE = "LEERLAB_TARGETS"
PROCESSES = 100
"""How many the attempt at too many processes starts."""
BYTES = 4 * 2**20
"""How much the attempts at too large files write."""
_SECONDS = 5.0
_NEW_USER, _NEW_MOUNTS = 0x10000000, 0x00020000
_ATTACH, _DETACH = 16, 17
_IO_URING_SETUP = 425
_ADD_KEY = {"x86_64": 248, "aarch64": 217}
_PROCESS_KEYRING = -2
_GET_NO_NEW_PRIVS = 39
_PIECE = b"x" * 2**18
_libc = ctypes.CDLL(None, use_errno=True)


def _called(result: int) -> int:
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _in_a_child(tried: Callable[[], object]) -> bool:
    """Whether it worked, tried in a process that ends afterwards."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            tried()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


def _file(targets: dict[str, Any]) -> bool:
    return Path(targets["file"]).read_text() == str(targets["token"])


def _folder(targets: dict[str, Any]) -> bool:
    made = Path(targets["folder"], f"reached-{os.getpid()}")
    made.touch()
    made.unlink()
    return True


def _port(targets: dict[str, Any]) -> bool:
    socket.create_connection(("127.0.0.1", targets["port"]), _SECONDS).close()
    return True


def _unix(address: str) -> bool:
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(address)
    return True


def _socket_file(targets: dict[str, Any]) -> bool:
    return _unix(targets["socket"])


def _abstract_socket(targets: dict[str, Any]) -> bool:
    return _unix("\0" + targets["abstract"])


def _processes_of_others(targets: dict[str, Any]) -> bool:
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if targets["argument"].encode() in command.read_bytes():
                return True
    return False


def _signal(targets: dict[str, Any]) -> bool:
    # Whether it arrived is seen by who started that process: inside, the same number may be somebody else's.
    os.kill(targets["process"], signal.SIGUSR1)
    return True


def _shared_memory(targets: dict[str, Any]) -> bool:
    _called(_libc.shmget(targets["memory"], 0, 0))
    return True


def _user_namespace(_targets: dict[str, Any]) -> bool:
    return _in_a_child(lambda: _called(_libc.unshare(_NEW_USER)))


def _mount(_targets: dict[str, Any]) -> bool:
    def mount() -> None:
        _called(_libc.unshare(_NEW_USER | _NEW_MOUNTS))
        _called(_libc.mount(b"none", b"/", None, ctypes.c_ulong(0x44000), None))  # MS_REC | MS_PRIVATE
        _called(_libc.mount(b"tmpfs", b"/tmp", b"tmpfs", ctypes.c_ulong(0), None))

    return _in_a_child(mount)


def _trace(_targets: dict[str, Any]) -> bool:
    child = os.fork()
    if child == 0:
        time.sleep(_SECONDS)
        os._exit(0)
    try:
        _called(_libc.ptrace(_ATTACH, child, None, None))
        os.waitpid(child, 0)
        _called(_libc.ptrace(_DETACH, child, None, None))
    finally:
        os.kill(child, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(child, 0)
    return True


def _keyring(_targets: dict[str, Any]) -> bool:
    number = _ADD_KEY.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, "not known for this processor")
    _called(_libc.syscall(number, b"user", b"leerlab-doctor", b"x", ctypes.c_size_t(1), _PROCESS_KEYRING))
    return True


def _io_uring(_targets: dict[str, Any]) -> bool:
    # Without its parameters it cannot be set up: that the kernel looks for them is enough.
    _libc.syscall(_IO_URING_SETUP, 1, None)
    return ctypes.get_errno() == errno.EFAULT


def _socket_family(_targets: dict[str, Any]) -> bool:
    socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()
    return True


def _new_rights(_targets: dict[str, Any]) -> bool:
    return _called(_libc.prctl(_GET_NO_NEW_PRIVS, 0, 0, 0, 0)) == 0


def _too_many_processes(_targets: dict[str, Any]) -> bool:
    children: list[int] = []
    try:
        for _ in range(PROCESSES):
            child = os.fork()
            if child == 0:
                signal.pause()
            children.append(child)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return True


def _too_large_file(_targets: dict[str, Any]) -> bool:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with tempfile.TemporaryFile(dir=".") as file:
        for _ in range(BYTES // len(_PIECE)):
            file.write(_PIECE)
            file.flush()
    return True


def _too_much_in_tmp(_targets: dict[str, Any]) -> bool:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        for number in range(BYTES // len(_PIECE)):
            Path(folder, str(number)).write_bytes(_PIECE)
    return True


ATTEMPTS: dict[str, tuple[str, Callable[[dict[str, Any]], bool]]] = {
    "file": ("read a file outside", _file),
    "folder": ("write outside", _folder),
    "port": ("reach a port of the machine", _port),
    "socket": ("reach a socket file outside", _socket_file),
    "abstract": ("reach an abstract socket of the machine", _abstract_socket),
    "processes": ("see other processes", _processes_of_others),
    "signal": ("signal another process", _signal),
    "memory": ("reach shared memory of the machine", _shared_memory),
    "namespace": ("make a user namespace", _user_namespace),
    "mount": ("mount something", _mount),
    "trace": ("trace a process", _trace),
    "keyring": ("use a kernel keyring", _keyring),
    "io_uring": ("set up io_uring", _io_uring),
    "family": ("open a socket that crosses namespaces", _socket_family),
    "rights": ("gain rights from a set-uid program", _new_rights),
    "many": ("start more processes than it may", _too_many_processes),
    "large": ("write a larger file than it may", _too_large_file),
    "tmp": ("put more into /tmp than it holds", _too_much_in_tmp),
}
"""What each attempt tries to do, and how. One that raises OSError was held."""


def nested() -> int:
    """Try everything from a wall inside this one."""
    sys.path.append(str(Path(__file__).resolve().parent.parent))
    from confinement.nested import FILTER, HOME, Nest, fork  # noqa: PLC0415  not on the path before

    inner = Path(HOME, "inner")
    inner.mkdir()
    few = 2**20
    nest = Nest(
        inner, Path(HOME), Path(FILTER).read_bytes(), tmp=few, shm=few, processes=32, open_files=1024, file_size=few,
        data=2**32,
    )  # fmt: skip
    child = fork(nest)
    if child == 0:
        os._exit(main())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> int:
    """Try everything and print what worked."""
    targets = json.loads(os.environ[VARIABLE])
    reached = {}
    for name, (_, attempt) in ATTEMPTS.items():
        try:
            reached[name] = attempt(targets)
        except OSError:
            reached[name] = False
    sys.stdout.write(json.dumps(reached) + "\n")
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(nested() if sys.argv[1:] == ["nested"] else main())
