"""A process that has imported what a notebook imports, and forks a kernel of itself for each case.

Started as `python -m leerlab_lab.coursecheck.zygote SOCKET MODULE...` with one end of a socket pair; it has one
thread, imports only packages of the environment, and never reads a course's files. One JSON line asks for a kernel:
`{"argv", "folder", "environment", "data"}`; the answer is `{"started": pid}`, and later
`{"ended": pid, "code", "memory"}`.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import resource
import select
import signal
import socket
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import leerlab_lab
from leerlab_lab.coursecheck.confined import confine
from leerlab_lab.data import SHELF

# What a package imports only when it is first used: an optimizer takes a second for it, a picture a third of one.
_LATER = {
    "matplotlib": ("matplotlib.font_manager", "matplotlib.backends.backend_agg"),
    "torch": ("torch._dynamo",),
}
# What is imported in every kernel, by ipykernel itself.
_ALWAYS = ("ipykernel.kernelapp", "ipykernel.ipkernel", "IPython.core.interactiveshell", "asyncio", "zmq.asyncio")


def preload(modules: list[str]) -> None:
    """Import what the notebook imports; what cannot be imported fails again in the notebook, where it is seen."""
    packages = {name.partition(".")[0] for name in modules}
    later = [name for package in sorted(packages) for name in _LATER.get(package, ())]
    for name in (*_ALWAYS, *later, *modules):
        # A package may raise anything while it is imported; the notebook's own import raises it again.
        with suppress(Exception):
            importlib.import_module(name)


def serve(line: socket.socket) -> None:
    """Fork kernels until the other end closes."""
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    gc.collect()
    gc.freeze()
    waiting = b""
    while True:
        ready, _, _ = select.select([line, woken], [], [])
        if woken in ready:
            with suppress(BlockingIOError):
                woken.recv(256)
            _reap(line)
        if line in ready:
            piece = line.recv(2**16)
            if not piece:
                return
            *asked, waiting = (waiting + piece).split(b"\n")
            for each in asked:
                _start(json.loads(each), (line, woken, wake))


def _start(asked: dict[str, Any], ours: tuple[socket.socket, ...]) -> None:
    child = os.fork()
    if child == 0:
        _become(asked, ours)
    ours[0].sendall(json.dumps({"started": child}).encode() + b"\n")


def _reap(line: socket.socket) -> None:
    while True:
        try:
            child, status, used = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if child == 0:
            return
        code = os.waitstatus_to_exitcode(status)
        line.sendall(json.dumps({"ended": child, "code": code, "memory": used.ru_maxrss * 1024}).encode() + b"\n")


def _become(asked: dict[str, Any], ours: tuple[socket.socket, ...]) -> NoReturn:
    """In the child: give up what the parent has, and be a kernel."""
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for end in ours:
            end.close()
        os.environ.update(asked["environment"])
        os.chdir(asked["folder"])
        resource.setrlimit(resource.RLIMIT_DATA, (asked["data"],) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        confine(Path(asked["own"]), _readable())
        # The parent may have looked up where temporary files go: this process has a place of its own.
        tempfile.tempdir = None
        _fresh_chance()
        gc.unfreeze()
        # With a parent to watch, a kernel ends when the parent does, and has no need to tell how to end it.
        _kernel([*asked["argv"], f"--IPKernelApp.parent_handle={os.getppid()}", "--log-level=40"])
    except BaseException as error:  # noqa: BLE001 - nothing of the child may go on as its parent
        print(f"kernel: {error!r}", file=sys.stderr, flush=True)  # noqa: T201
        os._exit(1)
    os._exit(0)


def _readable() -> tuple[Path, ...]:
    """What a notebook may read beside its own folder: the environment, and the catalogue."""
    return Path(sys.prefix), Path(leerlab_lab.__file__).parents[1], SHELF


def _fresh_chance() -> None:
    """A process of its own draws its own numbers: without this, unseeded work would come out the same in each case."""
    random.seed()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()


def _kernel(argv: list[str]) -> None:
    from ipykernel.kernelapp import IPKernelApp  # noqa: PLC0415 - imported before the fork

    app = IPKernelApp.instance()
    app.initialize(argv)
    app.start()


if __name__ == "__main__":
    # Nothing is imported from where this was started; a kernel looks in its own folder first, as every kernel does.
    del sys.path[0]
    preload(sys.argv[2:])
    serve(socket.socket(fileno=int(sys.argv[1])))
