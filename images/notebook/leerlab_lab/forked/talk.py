"""One side of the talk with a forked kernel: hands it a cell, and waits for its end. Nothing that comes is trusted."""

from __future__ import annotations

import asyncio
import codecs
import json
import os
import signal
from collections.abc import Callable, Mapping
from typing import Any

from leerlab_lab.forked.frames import Frames, NotAFrame
from leerlab_lab.forked.zygotes import Kernel

INTERRUPT_SECONDS = 3.0
"""How long an interrupted cell may still take to end by itself."""
LARGEST_TALK = 256 * 2**20
"""Bytes that one kernel may send in all; no more of it is kept than what a cell may show."""
_PIECE = 2**16

_OF_MARKS = {"done", "error", "execute_result"}

Take = Callable[[int, str, Mapping[str, Any]], None]
"""Takes in what a cell shows: its number, the kind of message, and the message's content."""


class KernelDied(Exception):
    """The kernel has ended, or does not speak as it should."""


class TookTooMuch(KernelDied):
    """It was ended, because it took too much memory."""


class Talk:
    """The talk with one kernel; `close` ends both.

    Args:
        kernel: just forked.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._frames = Frames()
        # What programs write, in pieces that may end in the middle of a letter.
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._heard = 0
        self._cell = -1
        self.strange: set[int] = set()
        """Cells of which something came that marks depend on, before their turn or after their end."""
        self._take: Take = _ignored
        self._reply: asyncio.Future[Mapping[str, Any]] | None = None
        self._loop = asyncio.get_running_loop()
        self._closed = False
        for descriptor, heard in ((kernel.messages, self._message), (kernel.shown, self._written)):
            os.set_blocking(descriptor, False)
            self._loop.add_reader(descriptor, heard)
        os.set_blocking(kernel.commands, False)
        kernel.ended.add_done_callback(lambda _: self._broken())

    async def run(self, cell: int, code: str, seconds: float, take: Take) -> Mapping[str, Any]:
        """Have a cell run.

        Args:
            cell: its number, another one than of any cell before.
            code: its source.
            seconds: most time that it gets.
            take: is given what it shows.

        Returns:
            What the kernel says of its end: the content of an execute_reply.

        Raises:
            TimeoutError: it still runs.
            KernelDied: the kernel has ended.
        """
        self._cell, self._take, self._reply = cell, take, self._loop.create_future()
        if self._closed or self._kernel.ended.done():
            self._broken()
        async with asyncio.timeout(seconds):
            await self._send(json.dumps({"cell": cell, "code": code}).encode() + b"\n")
            return await asyncio.shield(self._reply)

    async def interrupted(self) -> bool:
        """Interrupt the cell that runs; whether it has ended then.

        Raises:
            KernelDied: the kernel has ended.
        """
        assert self._reply is not None
        self._kernel.signal(signal.SIGINT)
        try:
            async with asyncio.timeout(INTERRUPT_SECONDS):
                await asyncio.shield(self._reply)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """End the kernel and everything behind its wall."""
        if self._reply is not None:
            self._reply.cancel()
        self._kernel.signal(signal.SIGKILL)
        await asyncio.shield(self._kernel.ended)
        self._closed = True
        for descriptor in (self._kernel.messages, self._kernel.shown):
            self._loop.remove_reader(descriptor)
        self._loop.remove_writer(self._kernel.commands)
        for descriptor in (self._kernel.messages, self._kernel.shown, self._kernel.commands):
            os.close(descriptor)

    async def _send(self, order: bytes) -> None:
        """Write to a kernel that may not read."""
        rest = memoryview(order)
        while rest:
            try:
                rest = rest[os.write(self._kernel.commands, rest) :]
            except BlockingIOError:
                await self._writable()
            except BrokenPipeError:
                raise KernelDied from None

    async def _writable(self) -> None:
        there = self._loop.create_future()
        self._loop.add_writer(self._kernel.commands, lambda: there.done() or there.set_result(None))
        try:
            await there
        finally:
            self._loop.remove_writer(self._kernel.commands)

    def _message(self) -> None:
        piece = self._some(self._kernel.messages)
        try:
            for message in self._frames.whole(piece):
                kind, content = message.get("type"), message.get("content")
                cell = message.get("cell")
                over = self._reply is None or self._reply.done()
                if kind in _OF_MARKS and isinstance(cell, int) and (cell != self._cell or over):
                    self.strange.add(cell)
                if cell != self._cell or not isinstance(kind, str) or not isinstance(content, dict):
                    continue
                if kind == "done":
                    # What programs wrote before the cell's end is the cell's.
                    self._written()
                    if self._reply is not None and not self._reply.done():
                        self._reply.set_result(content)
                else:
                    self._take(self._cell, kind, content)
        except NotAFrame:
            self._kernel.signal(signal.SIGKILL)

    def _written(self) -> None:
        while piece := self._some(self._kernel.shown):
            text = self._text.decode(piece)
            if text:
                self._take(self._cell, "stream", {"name": "stdout", "text": text})

    def _some(self, descriptor: int) -> bytes:
        """What has come; nothing when there is nothing."""
        try:
            piece = os.read(descriptor, _PIECE)
        except BlockingIOError:
            return b""
        if not piece:
            # Nobody can write here any more.
            self._loop.remove_reader(descriptor)
        self._heard += len(piece)
        if self._heard > LARGEST_TALK:
            self._kernel.signal(signal.SIGKILL)
            return b""
        return piece

    def _broken(self) -> None:
        if self._reply is not None and not self._reply.done():
            if not self._closed:
                self._message()
                self._written()
            if not self._reply.done():
                self._reply.set_exception(TookTooMuch() if self._kernel.overdrawn else KernelDied())


def _ignored(_cell: int, _kind: str, _content: Mapping[str, Any]) -> None:
    """Nothing runs that could show anything."""
