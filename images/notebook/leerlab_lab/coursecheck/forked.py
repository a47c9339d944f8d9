"""The zygote as seen by those who run notebooks: kernels by jupyter_client, forked instead of started."""

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
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import KernelProvisionerBase

from leerlab_lab.execute import TRANSPORT

START_SECONDS = 60.0
# Imported when the kernel has a shell, because they look for it (see zygote.py).
_LOOKS_FOR_A_SHELL = {"ipywidgets", "jupyter_ai", "jupyter_ai_magics", "leerlab_lab", "IPython", "ipykernel"}


class Lost(Exception):
    """The zygote is gone."""


@dataclass
class _Kernel:
    """One forked process: `ended` holds its exit code once it is known."""

    pid: int
    ended: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    memory: int = 0


class Zygote:
    """One zygote, started when this is entered and gone when it is left.

    Args:
        modules: names of the modules that it imports.
        data: most bytes of memory that one kernel may take for its data.
    """

    def __init__(self, modules: Sequence[str], data: int) -> None:
        self._modules = [name for name in modules if name.partition(".")[0] not in _LOOKS_FOR_A_SHELL]
        self._data = data
        self._kernels: dict[int, _Kernel] = {}
        self._asking = asyncio.Lock()

    async def __aenter__(self) -> Zygote:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "leerlab_lab.coursecheck.zygote", str(theirs.fileno()), *self._modules,
                pass_fds=(theirs.fileno(),), cwd="/",
                env={**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"},
            )  # fmt: skip
        self._reader, self._writer = await asyncio.open_connection(sock=ours)
        self._started: asyncio.Queue[int] = asyncio.Queue()
        self._listener = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._writer.close()
        for kernel in self._kernels.values():
            if not kernel.ended.done():
                _signal(kernel.pid, signal.SIGKILL)
        try:
            await asyncio.wait_for(self._process.wait(), 5)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._listener

    async def fork(self, argv: list[str], folder: Path, own: Path, environment: dict[str, str]) -> _Kernel:
        """A new kernel.

        Args:
            argv: its arguments, as ipykernel takes them.
            folder: where it starts.
            own: the folder that it may change, which holds `folder`.
            environment: variables beside those that all kernels have.

        Raises:
            Lost: there is no zygote any more.
        """
        asked = {
            "argv": argv, "folder": str(folder), "own": str(own), "environment": environment, "data": self._data,
        }  # fmt: skip
        async with self._asking:
            try:
                self._writer.write(json.dumps(asked).encode() + b"\n")
                await self._writer.drain()
                pid = await asyncio.wait_for(self._started.get(), START_SECONDS)
            except (OSError, TimeoutError) as error:
                raise Lost("The process that forks kernels does not answer.") from error
        if pid < 0:
            raise Lost("The process that forks kernels has ended.")
        return self._kernels[pid]

    async def _listen(self) -> None:
        with suppress(ConnectionError):
            while said := await self._reader.readline():
                note: dict[str, Any] = json.loads(said)
                if "started" in note:
                    self._kernels[note["started"]] = _Kernel(note["started"])
                    self._started.put_nowait(note["started"])
                elif (kernel := self._kernels.get(note["ended"])) is not None:
                    kernel.memory = note["memory"]
                    kernel.ended.set_result(note["code"])
        self._started.put_nowait(-1)
        for kernel in self._kernels.values():
            if not kernel.ended.done():
                kernel.ended.set_result(-signal.SIGKILL)


class ForkProvisioner(KernelProvisionerBase):
    """One kernel's process; made by `manager`."""

    zygote: Zygote
    folder: Path
    own: Path
    environment: dict[str, str]
    kernel: _Kernel | None = None
    connection: KernelConnectionInfo

    @property
    def has_process(self) -> bool:
        return self.kernel is not None

    async def poll(self) -> int | None:
        if self.kernel is None:
            return 0
        return self.kernel.ended.result() if self.kernel.ended.done() else None

    async def wait(self) -> int | None:
        return await asyncio.shield(self.kernel.ended) if self.kernel is not None else 0

    async def send_signal(self, signum: int) -> None:
        if self.kernel is not None and not self.kernel.ended.done():
            _signal(self.kernel.pid, signum)

    async def kill(self, restart: bool = False) -> None:
        await self.send_signal(signal.SIGKILL)

    async def terminate(self, restart: bool = False) -> None:
        await self.send_signal(signal.SIGTERM)

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        manager = self.parent
        manager.write_connection_file()
        self.connection = manager.get_connection_info()
        arguments = manager.format_kernel_cmd(extra_arguments=kwargs.pop("extra_arguments", []))
        return await super().pre_launch(cmd=arguments, **kwargs)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        argv = cmd[cmd.index("ipykernel_launcher") + 1 :]
        self.kernel = await self.zygote.fork(argv, self.folder, self.own, self.environment)
        return self.connection

    async def cleanup(self, restart: bool = False) -> None:
        return None


def _signal(pid: int, number: int) -> None:
    """To the kernel's whole session: it leads a group of its own, as one that jupyter_client starts."""
    with suppress(ProcessLookupError):
        os.killpg(pid, number)


def manager(
    zygote: Zygote, folder: Path, own: Path, environment: dict[str, str]
) -> tuple[AsyncKernelManager, ForkProvisioner]:
    """A kernel manager whose kernel is a fork of the zygote."""
    made = AsyncKernelManager(kernel_name="python3", transport=TRANSPORT, connection_file=str(own / "kernel.json"))
    provisioner = ForkProvisioner(parent=made, kernel_id="forked", kernel_spec=made.kernel_spec)
    provisioner.zygote, provisioner.folder, provisioner.own = zygote, folder, own
    provisioner.environment = environment
    made.provisioner = provisioner
    return made, provisioner
