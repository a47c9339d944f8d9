"""Starts one wall and ends it: bubblewrap, the outside ends of the relays, and the output.

Used by job wrappers in a Slurm job and by the hub's side for single runs. When the process that called `start` ends, in
whatever way, everything inside ends: bubblewrap's --die-with-parent, and the control line that the first process inside
watches. A wall that cannot be built completely is refused, never built weaker.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from confinement import inner
from confinement.errors import WallRefused
from confinement.machine import PROGRAMS, bubblewrap, check_kernel, check_machine, read_filter
from confinement.relay import Address, Control, Listener, Loop, Pair, connect, control_line, listen, listen_at
from confinement.root import check_root
from confinement.wall import CODE, DEFAULT_ENVIRONMENT, Relay, Wall, bwrap_arguments, etc_files

__all__ = ["OUTPUT_LIMIT", "START_SECONDS", "Output", "Walled", "check_machine", "start"]

PYTHON = "/usr/bin/python3"
START_SECONDS = 30.0
OUTPUT_LIMIT = 16 * 2**20
# Longest time that ending a wall may take before the kernel is asked to end bubblewrap itself.
_END_SECONDS = 2.0
_CHUNK = 64 * 1024
# All that bubblewrap itself gets: /proc/1/environ could show it inside.
_ENVIRONMENT = {"PATH": PROGRAMS}

Output = int | Callable[[bytes], None]
"""A file descriptor to write to, or what to call with every piece."""


class Walled:
    """A running wall; made by `start`."""

    def __init__(self, wall: Wall, seccomp: bytes, publish_on: str, output: Output | None, output_limit: int) -> None:
        self._wall = wall
        self._seccomp = seccomp
        self._program = bubblewrap()
        self._deliver, self._kept = _delivery(output)
        self._room = output_limit
        self._lock = threading.Lock()
        self._control: Control | None = None
        self._listener: Listener | None = None
        self._pairs: set[Pair] = set()
        self._targets = {relay.port: (_resolve(relay), relay.ticket) for relay in wall.relays}
        self._code = inner.LOST
        self._running = threading.Event()
        self._asked = threading.Event()
        self._settled = threading.Event()
        self._ended = threading.Event()
        self._refusal = ""
        self._bwrap = -1
        self._process = -1
        self._published: tuple[str, int] | None = None
        self._public = self._bind(publish_on) if wall.publish is not None else None
        self._loop = Loop()
        # bubblewrap dies with the thread that started it (PR_SET_PDEATHSIG), so that thread lives as long as the wall.
        self._thread = threading.Thread(target=self._live, name="wall", daemon=True)
        self._reader: threading.Thread | None = None

    @property
    def published(self) -> tuple[str, int] | None:
        """The address and port outside that lead to the wall's `publish`; of a unix socket its address, and 0."""
        return self._published

    @property
    def output(self) -> bytes:
        """What the command has written so far, where `start` was given no other place for it."""
        return bytes(self._kept)

    @property
    def output_cut(self) -> bool:
        """Whether the command wrote more than the limit, so that the rest was dropped."""
        return self._room < 0

    @property
    def process(self) -> int:
        """Process id outside of bubblewrap, below which everything inside hangs; -1 before it runs."""
        return self._process

    @property
    def connections(self) -> int:
        """How many connections pass through the wall now."""
        return len(self._pairs)

    def wait_for_relay(self, timeout: float) -> bool:
        """Wait until something inside has used a relay, now or before: a sign that the command is well on its way.

        Args:
            timeout: longest wait in seconds.

        Returns:
            Whether it has.
        """
        return self._asked.wait(timeout)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until nothing is left inside.

        Args:
            timeout: longest wait in seconds.

        Returns:
            The command's exit code; 128 and the signal's number where a signal ended it.

        Raises:
            TimeoutError: still running after the timeout.
        """
        if not self._ended.wait(timeout):
            raise TimeoutError(f"Still running inside the wall after {timeout} seconds.")
        return self._code

    def signal(self, number: int) -> None:
        """Send a signal to the command itself, such as SIGINT; nothing happens when it has ended."""
        self._hand_over(lambda: self._send(inner.SIGNAL + b"%d" % number))

    def terminate(self, grace: float = 0.0) -> int:
        """End everything inside, whatever it does with signals.

        Args:
            grace: seconds that the command gets after SIGTERM to end by itself.

        Returns:
            The exit code, as `wait` does.
        """
        if grace > 0 and not self._ended.is_set():
            self.signal(signal.SIGTERM)
            self._ended.wait(grace)
        if not self._ended.is_set():
            self._hand_over(self._cut)
        if not self._ended.wait(_END_SECONDS):
            self._hand_over(self._kill)
        return self.wait(_END_SECONDS)

    def __enter__(self) -> Walled:
        return self

    def __exit__(self, *_error: object) -> None:
        self.terminate()

    def begin(self, timeout: float) -> None:
        """Start the wall and wait until the command runs.

        Raises:
            WallRefused: it could not be built within the timeout, in seconds.
        """
        self._thread.start()
        settled = self._settled.wait(timeout)
        if self._running.is_set():
            return
        if not settled:
            self.terminate()
        # What was said after that belongs to a wall that came up too late, and may be its command's.
        reason = self._refusal.strip() or "it gave no reason." if settled else f"not ready after {timeout} seconds."
        raise WallRefused(
            f"The wall could not be built: {reason}",
            "Nothing was started, because it would run without full protection.",
            "Check bubblewrap, user namespaces and the folders that the wall names: `leerlab doctor`.",
        )

    def _bind(self, place: str) -> socket.socket:
        kind, _, path = place.partition(":")
        try:
            if kind == "unix":
                public, self._published = listen_at(path), (place, 0)
            else:
                public = listen((place, 0))
                self._published = (place, public.getsockname()[1])
        except OSError as error:
            what = f"No socket could be made at {path}" if kind == "unix" else f"No port could be opened on {place}"
            raise WallRefused(f"{what}: {error.strerror}.") from error
        return public

    def _hand_over(self, call: Callable[[], None]) -> None:
        """Have something done in the wall's own thread; nothing is done once the wall has ended."""
        with self._lock:
            if not self._ended.is_set():
                self._loop.hand_over(call)

    def _live(self) -> None:
        """The wall's own thread: start bubblewrap, serve until it has ended, tidy up."""
        try:
            process = self._launch()
            self._process = process.pid
            self._bwrap = os.pidfd_open(process.pid)
            self._loop.watch(self._bwrap, 1, lambda _events: self._loop.stop())
            self._loop.run()
            code = process.wait()
            self._code = code if code >= 0 else 128 - code
        except OSError as error:
            self._refusal = str(error)
        finally:
            self._finish()

    def _finish(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._reader is not None:
            # The pipe ends with the last process inside; a delivery that hangs must not hold the end up.
            self._reader.join(_END_SECONDS)
        if self._listener is not None:
            self._listener.close()
        elif self._public is not None:
            self._public.close()
        for pair in list(self._pairs):
            pair.close()
        with self._lock:
            self._loop.close()
            if self._bwrap >= 0:
                os.close(self._bwrap)
            self._ended.set()
        self._settled.set()

    def _launch(self) -> subprocess.Popen[bytes]:
        """Start bubblewrap with the descriptors it needs and no others."""
        ours, theirs = control_line()
        opened = [theirs.detach()]
        try:
            seccomp = _memory("seccomp", self._seccomp)
            opened.append(seccomp)
            etc: dict[str, int] = {}
            for path, text in etc_files(self._wall.hostname).items():
                etc[path] = _memory("etc", text.encode())
                opened.append(etc[path])
            task = _memory("task", _task(self._wall))
            opened.append(task)
            code = Path(__file__).resolve().parent.parent
            options = bwrap_arguments(self._wall, code, etc, seccomp)
            arguments = _memory("arguments", b"".join(os.fsencode(option) + b"\0" for option in options))
            opened.append(arguments)
            first = (
                f"import sys; sys.path.append({CODE!r}); from confinement.inner import main; main({opened[0]}, {task})"
            )
            process = subprocess.Popen(
                [self._program, "--args", str(arguments), "--", PYTHON, "-I", "-S", "-B", "-c", first],
                env=_ENVIRONMENT, cwd="/", pass_fds=opened,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
        except BaseException:
            ours.close()
            raise
        finally:
            for descriptor in opened:
                os.close(descriptor)
        assert process.stdout is not None
        self._control = Control(self._loop, ours, self._received, lambda: None)
        if self._public is not None:
            self._listener = Listener(self._loop, self._public, self._publish)
        self._reader = threading.Thread(target=self._read, args=(process.stdout,), name="wall output", daemon=True)
        self._reader.start()
        return process

    def _send(self, message: bytes) -> None:
        if self._control is not None:
            self._control.send(message)

    def _cut(self) -> None:
        """End the control line: the first process inside ends, and with it all others, before bubblewrap does."""
        if self._control is not None:
            self._control.close()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._bwrap, signal.SIGKILL)

    def _received(self, message: bytes, descriptors: list[int]) -> None:
        for descriptor in descriptors:
            # The inside never sends any; whatever comes from there is not trusted.
            os.close(descriptor)
        if message[:1] == inner.RUNNING:
            self._running.set()
            self._settled.set()
        elif message[:1] == inner.OPEN:
            number, _, port = message[1:].partition(b" ")
            target = self._targets.get(int(port)) if port.isdigit() else None
            if target is None or not number.isdigit():
                return
            self._asked.set()
            self._open(number, *target)

    def _open(self, number: bytes, target: Address, ticket: str) -> None:
        """Give the inside a connection to a relay's address; it gets none when descriptors have run out here."""
        assert self._control is not None
        try:
            near, far = socket.socketpair()
        except OSError:
            self._control.send(inner.OPEN + number)
            return
        self._control.send(inner.OPEN + number, far)
        connect(self._loop, target, lambda there: self._join(near, _shown(there, ticket), lambda: None))

    def _publish(self, connection: socket.socket, ended: Callable[[], None]) -> None:
        assert self._control is not None
        try:
            near, far = socket.socketpair()
        except OSError:
            connection.close()
            ended()
            return
        self._control.send(inner.CONNECTION, far)
        self._join(connection, near, ended)

    def _join(self, near: socket.socket, far: socket.socket | None, ended: Callable[[], None]) -> None:
        if far is None:
            near.close()
            return

        def closed() -> None:
            self._pairs.discard(pair)
            ended()

        pair = Pair(self._loop, near, far, closed)
        self._pairs.add(pair)

    def _read(self, pipe: IO[bytes]) -> None:
        """The output's own thread, so that a slow place for output never slows the relays."""
        with pipe:
            while piece := os.read(pipe.fileno(), _CHUNK):
                if not self._running.is_set():
                    self._refusal += piece.decode(errors="replace")
                taken = piece[: max(0, self._room)]
                self._room -= len(piece)
                if taken:
                    self._hand_out(taken)

    def _hand_out(self, piece: bytes) -> None:
        try:
            self._deliver(piece)
        except OSError:
            # The place for output is gone (full disk, closed pipe): the command goes on, and `output_cut` tells.
            self._room = -1


def start(
    wall: Wall,
    *,
    publish_on: str = "127.0.0.1",
    output: Output | None = None,
    output_limit: int = OUTPUT_LIMIT,
    timeout: float = START_SECONDS,
) -> Walled:
    """Build a wall and run its command inside.

    Args:
        wall: what to build.
        publish_on: IP address outside on which `wall.publish` is offered, on a free port; or `unix:/path`.
        output: where the bytes of standard output and error go: a descriptor, which stays open, or a function, which
            is called in a thread of its own; None keeps them in `Walled.output`.
        output_limit: most bytes delivered; the rest is dropped.
        timeout: longest wait in seconds until the command runs.

    Raises:
        WallRefused: something that the wall needs is missing, so nothing was started.
    """
    check_kernel()
    if wall.root is not None:
        check_root(wall.root)
    walled = Walled(wall, read_filter(wall.seccomp), publish_on, output, output_limit)
    walled.begin(timeout)
    return walled


def _delivery(output: Output | None) -> tuple[Callable[[bytes], None], bytearray]:
    kept = bytearray()
    if output is None:
        return kept.extend, kept
    if callable(output):
        return output, kept
    return lambda piece: _write(output, piece), kept


def _write(descriptor: int, piece: bytes) -> None:
    while piece:
        piece = piece[os.write(descriptor, piece) :]


def _shown(there: socket.socket | None, ticket: str) -> socket.socket | None:
    """A new connection on which the ticket was said; None when that failed."""
    if there is not None and ticket:
        try:
            # Far less than the buffer of a new connection.
            there.send(ticket.encode("ascii") + b"\n")
        except OSError:
            there.close()
            return None
    return there


def _resolve(relay: Relay) -> Address:
    target = relay.target()
    if isinstance(target, str):
        return target
    try:
        found = socket.getaddrinfo(*target, type=socket.SOCK_STREAM)[0][4]
    except OSError as error:
        raise WallRefused(f"The relay's address {relay.address} is not known: {error.strerror}.") from error
    return str(found[0]), int(found[1])


def _memory(name: str, content: bytes) -> int:
    """A descriptor of an unnamed file in memory that holds the content."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    with os.fdopen(os.dup(descriptor), "wb") as target:
        target.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _cores() -> str:
    """As many threads as the job has cores. Numeric libraries else count those of the whole node, and some warn the
    person when /sys, which the wall hides, does not say which cores are real."""
    return os.environ.get("SLURM_CPUS_ON_NODE") or str(len(os.sched_getaffinity(0)))


def _task(wall: Wall) -> bytes:
    """What `confinement.inner` needs to know; it travels in memory, so that no /proc file shows the environment."""
    return json.dumps(
        {
            "command": wall.command,
            "environment": {**DEFAULT_ENVIRONMENT, "OMP_NUM_THREADS": _cores(), **wall.environment},
            "folder": str(wall.folder),
            "limits": {
                "processes": wall.limits.processes,
                "open_files": wall.limits.open_files,
                "file_size": wall.limits.file_size,
            },
            "publish": wall.publish,
            "relays": [relay.port for relay in wall.relays],
            "umask": wall.umask,
        }
    ).encode()
