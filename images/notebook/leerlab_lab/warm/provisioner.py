"""Gives the first kernel of a lab the process that waits for it, and starts every other one as usual."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import LocalProvisioner

NAME, GROUP = "leerlab-warm", "jupyter_client.kernel_provisioners"
ANSWER_SECONDS = 10.0
"""One import that is under way is waited for; PyTorch's takes a few seconds on a busy machine."""
_LAUNCHER = [sys.executable, "-m", "ipykernel_launcher"]
# Different for each kernel, and read when it starts, not when something is imported.
_OF_ONE_KERNEL = {"JPY_SESSION_NAME"}
# What ipykernel sets before a notebook can import matplotlib, which reads it then.
_PICTURES = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}


class Spare:
    """A process that waits to become a kernel.

    Args:
        modules: names of what it imports; those that are not installed are left out.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = [name for name in modules if importlib.util.find_spec(name.partition(".")[0])]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, as jupyter_client starts a kernel: in a session of its own, and ending with this process."""
        self._environment = {**os.environ, "JPY_PARENT_PID": str(os.getpid())}
        self._line, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "leerlab_lab.warm.waiting", str(theirs.fileno()), *self._modules],
                pass_fds=(theirs.fileno(),), cwd="/", env={**_PICTURES, **self._environment},
                stdin=subprocess.PIPE, start_new_session=True,
            )  # fmt: skip

    async def take(
        self, command: Sequence[str], folder: str, environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes] | None:
        """The process, which is a kernel now, or None where another one has to be started; it is given once.

        Args:
            command: of the kernel, as its kernelspec and jupyter_client have it.
            folder: where it starts.
            environment: all its variables.
        """
        if self._process is None or list(command[: len(_LAUNCHER)]) != _LAUNCHER or self._differs(environment):
            return None
        process, self._process = self._process, None
        order = {"argv": list(command[len(_LAUNCHER) :]), "folder": folder, "environment": dict(environment)}
        try:
            answer = await asyncio.wait_for(self._ask(order), ANSWER_SECONDS)
        except (OSError, TimeoutError):
            answer = b""
        finally:
            self._line.close()
        if answer != b"1\n":
            _kill(process)
            return None
        return process

    def _differs(self, environment: Mapping[str, str]) -> bool:
        names = {*environment, *self._environment} - _OF_ONE_KERNEL - {"JPY_PARENT_PID"}
        return any(environment.get(name) != self._environment.get(name) for name in names)

    async def _ask(self, order: Mapping[str, Any]) -> bytes:
        self._line.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self._line, json.dumps(order).encode() + b"\n")
        return await loop.sock_recv(self._line, 16)

    def end(self) -> None:
        """Nobody needs it any more."""
        if self._process is not None:
            self._line.close()
            _kill(self._process)
            self._process = None


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    process.wait()


class WarmProvisioner(LocalProvisioner):
    """A kernel on this machine: the spare one where it fits, else one that starts anew."""

    spare: ClassVar[Spare | None] = None

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Launch the kernel; arguments as jupyter_client gives them."""
        spare = type(self).spare
        environment = {**kwargs.get("env", os.environ), "JPY_PARENT_PID": str(os.getpid())}
        process = await spare.take(cmd, kwargs.get("cwd") or str(Path.cwd()), environment) if spare else None
        if process is None:
            return await super().launch_kernel(cmd, **kwargs)
        self.process = process
        self.pid = self.pgid = process.pid
        return self.connection_info
