"""The first process inside the wall: inside ends of the relays, then the command; exits with the command's code.

It is process 1 of its namespace, so when it ends, the kernel ends everything inside. It marks itself undumpable first:
processes inside have the same user id, and would otherwise read or change it through /proc/1.
Imports the standard library and `confinement.relay` only; starts with `-I -S`.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

from confinement.relay import Control, Listener, Loop, Pair, connect, listen

RUNNING, OPEN, CONNECTION, SIGNAL = b"R", b"O", b"C", b"S"
"""First byte of a control message: all runs; open relay N for port P; a published connection; send signal N."""

LOST = 125
_DRAIN_SECONDS = 0.5
_PR_SET_DUMPABLE = 4
_LOOPBACK = "127.0.0.1"


def main(control: int, description: int) -> NoReturn:
    """Set up, run the command, end.

    Args:
        control: descriptor of the control line.
        description: descriptor of the JSON that `confinement.run` wrote: what to run, with what, behind which ports.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        _fail(f"The first process could not be protected: {os.strerror(ctypes.get_errno())}.")
    os.set_inheritable(control, False)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with os.fdopen(description, "rb") as source:
        task = json.load(source)
    inside = _Inside(task, socket.socket(fileno=control))
    try:
        inside.open_ports()
    except OSError as error:
        _fail(f"A relay's port could not be opened inside: {error.strerror}.")
    inside.start()
    inside.loop.run()
    inside.drain()
    os._exit(inside.code)


class _Inside:
    """The running inside: one command, its relays, its signals."""

    def __init__(self, task: dict[str, Any], line: socket.socket) -> None:
        self.loop = Loop()
        self.code = LOST
        self._task = task
        self._command = 0
        self._listeners: list[Listener] = []
        self._pairs: set[Pair] = set()
        self._opening: dict[int, tuple[socket.socket, Callable[[], None]]] = {}
        self._opened = 0
        # Whoever started the wall is gone: so is its reason to run.
        self._control = Control(self.loop, line, self._received, lambda: os._exit(128 + signal.SIGTERM))

    def open_ports(self) -> None:
        for port in self._task["relays"]:
            self._listeners.append(Listener(self.loop, listen((_LOOPBACK, port)), self._asker(port)))

    def start(self) -> None:
        """Start the command and watch for its end."""
        woken, wake = socket.socketpair()
        for each in (woken, wake):
            each.setblocking(False)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        self._wake = (woken, wake)
        self.loop.watch(woken, 1, self._reap)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._forward)
        self._control.send(RUNNING)
        self._command = os.fork()
        if self._command == 0:
            _become(self._task)

    def drain(self) -> None:
        """Let the last bytes of the command reach the outside, for at most half a second."""
        for listener in self._listeners:
            listener.close()
        self.loop.resume(_DRAIN_SECONDS, lambda: all(pair.drained for pair in self._pairs))

    def _asker(self, port: int) -> Callable[[socket.socket, Callable[[], None]], None]:
        def ask(connection: socket.socket, ended: Callable[[], None]) -> None:
            self._opened += 1
            self._opening[self._opened] = (connection, ended)
            self._control.send(OPEN + b"%d %d" % (self._opened, port))

        return ask

    def _received(self, message: bytes, descriptors: list[int]) -> None:
        ends = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        if message[:1] == OPEN:
            connection, ended = self._opening.pop(int(message[1:]))
            if ends:
                self._join(connection, ends[0], ended)
            else:
                connection.close()
                ended()
        elif message[:1] == CONNECTION and ends:
            connect(self.loop, (_LOOPBACK, self._task["publish"]), lambda server: self._publish(server, ends[0]))
        elif message[:1] == SIGNAL:
            self._signal(int(message[1:]))

    def _publish(self, server: socket.socket | None, end: socket.socket) -> None:
        if server is None:
            end.close()
        else:
            self._join(server, end, lambda: None)

    def _join(self, near: socket.socket, far: socket.socket, ended: Callable[[], None]) -> None:
        def closed() -> None:
            self._pairs.discard(pair)
            ended()

        pair = Pair(self.loop, near, far, closed)
        self._pairs.add(pair)

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        self._signal(number)

    def _signal(self, number: int) -> None:
        if self._command:
            with suppress(ProcessLookupError):
                os.kill(self._command, number)

    def _reap(self, _events: int) -> None:
        with suppress(BlockingIOError):
            self._wake[0].recv(256)
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if process == 0:
                return
            if process == self._command:
                self._command = 0
                code = os.waitstatus_to_exitcode(status)
                self.code = code if code >= 0 else 128 - code
                self.loop.stop()


def _become(task: dict[str, Any]) -> NoReturn:
    """In the forked child: take on the limits and become the command."""
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        limits = task["limits"]
        # Counted in this user namespace alone since Linux 5.14, because it is set inside (user_namespaces(7)).
        resource.setrlimit(resource.RLIMIT_NPROC, (limits["processes"],) * 2)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limits["open_files"],) * 2)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limits["file_size"],) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.umask(task["umask"])
        os.dup2(os.open("/dev/null", os.O_RDWR), 0)
        os.chdir(task["folder"])
        os.execvpe(task["command"][0], task["command"], task["environment"])  # noqa: S606 - this is the job of the wall
    except OSError as error:
        os.write(2, f"The command could not be started inside the wall: {error}.\n".encode())
    os._exit(127)


def _fail(sentence: str) -> NoReturn:
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()
    os._exit(LOST)
