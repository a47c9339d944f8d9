"""A process that has imported what a notebook imports, and forks a kernel of itself for each run.

Started as `python -m leerlab_lab.forked.zygote SOCKET MODULE...` with one end of a unix socket pair; it has one thread,
imports only packages of the environment, and never reads a course's files. One JSON object in one message asks for a
kernel, with three descriptors (commands, messages, what programs write): see `order`. The answer is `{"started": pid}`,
and later `{"ended": pid, "code", "memory"}`. The process of that number is the first one in the kernel's own wall
(`confinement.nested`): killed, it takes everything inside with it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import select
import signal
import socket
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

if __name__ == "__main__":
    # Where walls have the code of walls; behind everything else, so that nothing of the environment is hidden by it.
    sys.path.append("/run/wall")

from confinement import nested
from leerlab_lab.forked.kernel import PipeKernel, made, serve
from leerlab_lab.forked.order import LARGEST_ORDER, Order

# What a package imports only when it is first used: an optimizer takes a second for it, a picture a third of one.
_LATER = {
    "matplotlib": ("matplotlib.font_manager", "matplotlib.backends.backend_agg"),
    "torch": ("torch._dynamo",),
}


_NO_LIMITS = ("home", "folder", "environment", "walled")


def preload(modules: list[str]) -> None:
    """Import what the notebook imports; what cannot be imported fails again in the notebook, where it is seen."""
    packages = {name.partition(".")[0] for name in modules}
    later = [name for package in sorted(packages) for name in _LATER.get(package, ())]
    for name in (*later, *modules):
        # A package may raise anything while it is imported; the notebook's own import raises it again.
        with suppress(Exception):
            importlib.import_module(name)


def wait(line: socket.socket, kernel: PipeKernel, seccomp: bytes) -> None:
    """Fork kernels until the other end closes."""
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    gc.collect()
    gc.freeze()
    line.send(json.dumps({"ready": os.getpid()}).encode())
    while True:
        ready, _, _ = select.select([line, woken], [], [])
        if woken in ready:
            with suppress(BlockingIOError):
                woken.recv(256)
            _reap(line)
        if line in ready:
            asked, pipes, _, _ = socket.recv_fds(line, LARGEST_ORDER, 3)
            if not asked:
                return
            _start(Order(**json.loads(asked)), pipes, kernel, seccomp, line)


def _start(order: Order, pipes: list[int], kernel: PipeKernel, seccomp: bytes, line: socket.socket) -> None:
    limits = {name: value for name, value in asdict(order).items() if name not in _NO_LIMITS}
    nest = nested.Nest(Path(order.home), Path(order.folder), seccomp, **limits)
    child = nested.fork(nest, tuple(pipes)) if order.walled else nested.bare_fork(nest, tuple(pipes))
    if child == 0:
        _become(order, pipes, kernel)
    for pipe in pipes:
        os.close(pipe)
    line.send(json.dumps({"started": child}).encode())


def _reap(line: socket.socket) -> None:
    while True:
        try:
            child, status, used = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if child == 0:
            return
        code = os.waitstatus_to_exitcode(status)
        line.send(json.dumps({"ended": child, "code": code, "memory": used.ru_maxrss * 1024}).encode())


def _become(order: Order, pipes: list[int], kernel: PipeKernel) -> NoReturn:
    """In the child: be a kernel."""
    try:
        os.environ.update(order.environment)
        # The parent may have looked up where temporary files go: this process has a place of its own.
        tempfile.tempdir = None
        _fresh_chance()
        gc.unfreeze()
        serve(kernel, *pipes)
    except BaseException as error:  # noqa: BLE001 - nothing of the child may go on as its parent
        print(f"kernel: {type(error).__name__}: {error}", file=sys.__stderr__, flush=True)
        os._exit(1)
    os._exit(0)


def _fresh_chance() -> None:
    """A process of its own draws its own numbers: without this, unseeded work would come out the same in each run."""
    random.seed()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()


if __name__ == "__main__":
    # Nothing is imported from where this was started; a kernel looks in its own folder first, as every kernel does.
    del sys.path[0]
    mine = socket.socket(fileno=int(sys.argv[1]))
    first = made()
    preload(sys.argv[2:])
    filter_file = Path(nested.FILTER)
    # Without it no wall can be made, and every order that asks for one fails.
    wait(mine, first, filter_file.read_bytes() if filter_file.exists() else b"")
