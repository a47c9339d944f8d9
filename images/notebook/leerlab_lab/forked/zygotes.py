"""The zygote as seen by those who run notebooks: forks kernels, signals them, and tells when they have ended."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from leerlab_lab.forked.order import LARGEST_ORDER, Order

START_SECONDS = 60.0


class Lost(Exception):
    """The zygote is gone."""


@dataclass
class Kernel:
    """One forked kernel.

    Args:
        pid: the first process in its wall, which stands for it.
        commands, messages, shown: our ends of its three pipes.
        walled: whether it is behind a wall of its own.
    """

    pid: int
    commands: int
    messages: int
    shown: int
    walled: bool = True
    ended: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    memory: int = 0
    """Most memory that one of its processes had, in bytes, once it has ended."""
    overdrawn: bool = False
    """Whether it was ended because it took too much memory."""

    def signal(self, number: int) -> None:
        """SIGINT reaches the kernel, SIGKILL ends it and everything in its wall."""
        if not self.ended.done():
            with suppress(ProcessLookupError):
                # Without a wall it leads a session of its own, and what it has started is to end with it.
                (os.kill if self.walled else os.killpg)(self.pid, number)


class Zygote:
    """One zygote, started when this is entered and gone when it is left.

    Args:
        modules: names of the modules that it imports.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = modules
        self._kernels: dict[int, Kernel] = {}
        self._asking = asyncio.Lock()

    async def __aenter__(self) -> Zygote:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "leerlab_lab.forked.zygote", str(theirs.fileno()), *self._modules,
                pass_fds=(theirs.fileno(),), cwd="/",
                env={**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"},
            )  # fmt: skip
        self._line = ours
        self._said: asyncio.Queue[int] = asyncio.Queue()
        self._warm = asyncio.Event()
        self._listener = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_error: object) -> None:
        for kernel in self._kernels.values():
            kernel.signal(signal.SIGKILL)
        with suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)
        try:
            await asyncio.wait_for(self._process.wait(), 5)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._listener
        self._line.close()

    async def warm(self) -> None:
        """Wait until it has imported everything; a kernel that is asked for before that waits as long.

        Raises:
            Lost: it ended before it was.
        """
        await self._warm.wait()
        if self._listener.done():
            raise Lost("The process that forks kernels has ended.")

    async def fork(self, order: Order) -> Kernel:
        """A new kernel; whoever asks closes its pipes.

        Raises:
            Lost: there is no zygote any more.
        """
        (their_commands, commands), (messages, their_messages), (shown, their_shown) = (os.pipe() for _ in range(3))
        theirs = (their_commands, their_messages, their_shown)
        try:
            async with self._asking:
                socket.send_fds(self._line, [order.to_json()], theirs)
                pid = await asyncio.wait_for(self._said.get(), START_SECONDS)
            if pid < 0:
                raise Lost("The process that forks kernels has ended.")
        except BaseException as error:
            for pipe in (commands, messages, shown):
                os.close(pipe)
            if isinstance(error, OSError):
                raise Lost("The process that forks kernels does not answer.") from error
            raise
        finally:
            for pipe in theirs:
                os.close(pipe)
        kernel = self._kernels[pid]
        kernel.commands, kernel.messages, kernel.shown = commands, messages, shown
        kernel.walled = order.walled
        return kernel

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while said := await loop.sock_recv(self._line, LARGEST_ORDER):
                note: dict[str, Any] = json.loads(said)
                if "ready" in note:
                    self._warm.set()
                elif "started" in note:
                    self._kernels[note["started"]] = Kernel(note["started"], -1, -1, -1)
                    self._said.put_nowait(note["started"])
                elif (kernel := self._kernels.pop(note.get("ended", -1), None)) is not None:
                    kernel.memory = note["memory"]
                    kernel.ended.set_result(note["code"])
        self._said.put_nowait(-1)
        self._warm.set()
        for kernel in self._kernels.values():
            kernel.ended.set_result(-signal.SIGKILL)
        self._kernels.clear()
