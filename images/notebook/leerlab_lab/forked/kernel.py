"""IPython's kernel without sockets and threads, as a fork of one that was made before.

Cells come one by one over a pipe as JSON lines, `{"cell": number, "code": text}`; what they show goes out over another,
as `frames`: `{"cell", "type", "content"}`, with the content of Jupyter's own
messages (https://jupyter-client.readthedocs.io/en/stable/messaging.html), and at a cell's end the type `done` with the
content of an execute_reply. What programs write to descriptors 1 and 2 goes to a third pipe. Nothing here is trusted by
whoever reads: the code of the cells can write to the pipes itself.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ipykernel import zmqshell
from ipykernel.eventloops import enable_gui
from ipykernel.ipkernel import IPythonKernel
from ipykernel.jsonutil import json_clean
from IPython.core.error import UsageError
from jupyter_client.session import Session
from tornado.ioloop import IOLoop
from traitlets import Any as AnyTrait
from traitlets import Type, default

from leerlab_lab.forked.frames import framed

_PIECE = 2**16
# A cell that shows very much is cut by whoever reads; a stream is handed over when it has so much.
_STREAM_CHARACTERS = 2**14
# The file by which a lab's kernel is reached; there is none here.
_CONNECTION = "kernel.json"
_PACKAGES = ("site-packages", "dist-packages")


class Line:
    """Where messages go: nowhere before the fork, to a pipe after it, and from that process alone."""

    def __init__(self) -> None:
        self.descriptor = -1
        self.owner = os.getpid()
        self._lock = threading.Lock()

    @property
    def elsewhere(self) -> bool:
        """Whether this is a process that the kernel's code has forked: two that write would mix their frames."""
        return os.getpid() != self.owner

    def begin(self, descriptor: int) -> None:
        """In the fork: send from here on."""
        self.descriptor, self.owner = descriptor, os.getpid()

    def send(self, cell: int | None, kind: str, content: Any) -> None:
        """Send one frame, whole; none from another process, as in a lab (`jupyter_client.session.Session.send`)."""
        if self.descriptor < 0 or self.elsewhere:
            return
        frame = framed({"cell": cell, "type": kind, "content": content})
        with self._lock:
            _write(self.descriptor, frame)


class PipeSession(Session):
    """A session whose messages go over a line, whatever socket they are meant for."""

    line = AnyTrait()

    def send(self, stream: Any, msg_or_type: Any, content: Any = None, parent: Any = None, *_: Any, **__: Any) -> Any:
        """As `Session.send`, without its signature, its buffers and its sockets."""
        if isinstance(msg_or_type, dict):
            kind, content = msg_or_type["msg_type"], msg_or_type["content"]
            parent = msg_or_type.get("parent_header", parent)
        else:
            kind = msg_or_type
        self.line.send(_cell_of(parent), kind, json_clean(content or {}))


class Stream(io.TextIOBase):
    """sys.stdout or sys.stderr of a kernel: text goes out in pieces, in the order in which it was written.

    Args:
        kernel: whose cell is running.
        name: `stdout` or `stderr`.
        descriptor: what a program that wants a real file gets.
    """

    encoding = "UTF-8"
    errors = "strict"

    def __init__(self, kernel: PipeKernel, name: str, descriptor: int) -> None:
        self.name = f"<{name}>"
        self._kernel, self._kind, self._descriptor = kernel, name, descriptor
        self._pieces: list[str] = []
        self._held = 0
        self._lock = threading.RLock()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text)}")
        with self._lock:
            self._pieces.append(text)
            self._held += len(text)
            if self._held >= _STREAM_CHARACTERS or (self._kernel.line.elsewhere and text.endswith("\n")):
                self.flush()
        return len(text)

    def flush(self) -> None:
        with self._lock:
            text, self._pieces, self._held = "".join(self._pieces), [], 0
            if text and self._kernel.line.elsewhere:
                _write(self._descriptor, text.encode("utf-8", "replace"))
            elif text:
                self._kernel.line.send(self._kernel.cell, "stream", {"name": self._kind, "text": text})

    def forked(self) -> None:
        """In a process that a cell has forked: what is held here is the kernel's to show, its lock nobody's."""
        self._pieces, self._held, self._lock = [], 0, threading.RLock()


class ZMQInteractiveShell(zmqshell.ZMQInteractiveShell):
    """The shell of a lab's kernel, without what needs its application. Code tells a notebook by this class's name."""

    def ask_exit(self) -> None:
        """In a lab, `exit` stops the kernel a moment later. Here that would end whatever cell runs by then."""

    def enable_gui(self, gui: str | None = None) -> None:
        """As in a lab, where the application knows the kernel: `%matplotlib inline` comes here too."""
        try:
            enable_gui(gui, self.kernel)
        except ValueError as error:
            raise UsageError(str(error)) from error
        self.active_eventloop = gui


class PipeKernel(IPythonKernel):
    """IPython's kernel, made before the fork, with everything that it sends going over a line."""

    shell_class = Type(ZMQInteractiveShell)
    line = AnyTrait()
    cell: int | None = None
    streams: tuple[Stream, ...] = ()

    @default("session")
    def _default_session(self) -> PipeSession:
        return PipeSession(parent=self, line=self.line)

    async def run(self, cell: int, code: str) -> None:
        """Run one cell, as ipykernel answers an execute_request; its end is said as `done`."""
        self.cell = cell
        parent = {"header": {"msg_id": str(cell), "msg_type": "execute_request", "session": self.session.session}}
        self.set_parent([], parent)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            reply = await self.do_execute(code, silent=False, store_history=True, allow_stdin=False)
        except KeyboardInterrupt:
            reply = {"status": "error", "ename": "KeyboardInterrupt", "evalue": "", "traceback": []}
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        if self.line.elsewhere:
            os._exit(0)  # A fork that the cell made and did not end; the kernel goes on with the next cell.
        # Code may have put something else in the place of sys.stdout, or nothing.
        for stream in self.streams:
            stream.flush()
        said = {name: reply.get(name) for name in ("status", "ename", "evalue", "execution_count")}
        self.line.send(cell, "done", json_clean(said))


def made() -> PipeKernel:
    """The kernel of this process and of all that it forks; made once, before what looks for one is imported."""
    from traitlets.config import Config  # noqa: PLC0415

    settings = Config()
    settings.HistoryManager.hist_file = ":memory:"
    # By this, code tells a notebook from a terminal: tqdm.auto, for one.
    settings.IPKernelApp.connection_file = _CONNECTION
    # What the kernel itself has to say is not for who runs code in it, however that code sets up logging.
    log = logging.getLogger("leerlab.kernel")
    log.propagate = False
    log.addHandler(logging.NullHandler())
    kernel: PipeKernel = PipeKernel.instance(line=Line(), config=settings, log=log)
    kernel.shell_channel_thread = SimpleNamespace(parent_thread=threading.main_thread())
    # As every kernel has it (`InteractiveShellApp.default_extensions`).
    kernel.shell.extension_manager.load_extension("storemagic")
    return kernel


def serve(kernel: PipeKernel, commands: int, messages: int, shown: int) -> None:
    """In the fork: take cells until the other side closes.

    Args:
        kernel: made before the fork.
        commands: descriptor on which cells come.
        messages: descriptor for what they show.
        shown: descriptor for what programs write.
    """
    os.dup2(shown, 1)
    os.dup2(shown, 2)
    os.close(shown)
    kernel.line.begin(messages)
    # Modules beside the notebook come after Python's own and before packages, as in every kernel
    # (`IPython.core.shellapp.InteractiveShellApp.init_path`).
    packages = (place for place, path in enumerate(sys.path) if Path(path).name in _PACKAGES)
    sys.path.insert(next(packages, len(sys.path)), "")
    # As of every kernel: nothing of what the process was started with, and what argparse meets in a notebook.
    sys.argv = ["ipykernel_launcher.py", "-f", _CONNECTION]
    sys.stdout, sys.stderr = kernel.streams = Stream(kernel, "stdout", 1), Stream(kernel, "stderr", 2)
    for stream in kernel.streams:
        os.register_at_fork(after_in_child=stream.forked)
    asyncio.run(_serve(kernel, commands))


async def _serve(kernel: PipeKernel, commands: int) -> None:
    kernel.io_loop = IOLoop.current()
    loop = asyncio.get_running_loop()
    os.set_blocking(commands, False)
    waiting = b""
    while True:
        *asked, waiting = waiting.split(b"\n")
        for each in asked:
            order = json.loads(each)
            await kernel.run(order["cell"], order["code"])
        if not (piece := await _some(loop, commands)):
            return
        waiting += piece


async def _some(loop: asyncio.AbstractEventLoop, descriptor: int) -> bytes:
    """What has come; nothing when the other side has closed."""
    there = loop.create_future()
    loop.add_reader(descriptor, lambda: there.done() or there.set_result(None))
    try:
        await there
    finally:
        loop.remove_reader(descriptor)
    return os.read(descriptor, _PIECE)


def _write(descriptor: int, what: bytes) -> None:
    rest = memoryview(what)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _cell_of(parent: Any) -> int | None:
    """The number of the cell that a message belongs to; None when it tells none."""
    header = parent.get("header", parent) if isinstance(parent, dict) else {}
    number = str(header.get("msg_id", ""))
    return int(number) if number.isdigit() else None
