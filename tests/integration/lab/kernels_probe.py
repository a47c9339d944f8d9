"""Run by the notebook environment's Python: starts kernels as a lab does, and prints what they say, as JSON.

Its argument is a list of steps as JSON. `{"do": "start", "folder", "environment"}` starts a kernel and runs PORTRAIT in
it; the others act on that kernel, or on the one that waits (`ready`, `lose`, `end`, `install`).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import site
import sys
import time
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import KernelProvisionerFactory
from leerlab_lab.warm import MODULES
from leerlab_lab.warm.provisioner import GROUP, NAME, Spare, WarmProvisioner

# What a learner's code can see of the kernel that it runs in, beside which modules are imported already.
PORTRAIT = """
import json as _json, os as _os, sys as _sys, warnings as _warnings
_before = {name for name in ("numpy", "pandas", "torch") if name in _sys.modules}
import matplotlib.pyplot as _plt
print(_json.dumps({
    "imported": sorted(_before), "folder": _os.getcwd(), "arguments": [_sys.argv[0], *_sys.argv[3:]],
    "path": _sys.path, "backend": _plt.get_backend(), "name": __name__, "main": _sys.modules["__main__"].__name__,
    "environment": {k: v for k, v in _os.environ.items() if k != "JPY_PARENT_PID"},
    "parent": _os.environ["JPY_PARENT_PID"] == str(_os.getppid()), "leads": _os.getsid(0) == _os.getpid(),
    "shell": type(get_ipython()).__name__, "names": sorted(name for name in dir() if not name.startswith("_")),
    "open": sorted(_os.readlink(f"/proc/self/fd/{n}").partition(":")[0] for n in (0, 1, 2)),
}))
"""
SECONDS = 60


class Kernel:
    def __init__(self) -> None:
        self.manager = AsyncKernelManager(kernel_name="python3")

    async def start(self, folder: str, environment: dict[str, str]) -> None:
        await self.manager.start_kernel(cwd=folder, env={**os.environ, **environment})
        await self.connect()

    async def connect(self) -> None:
        self.client = self.manager.client()
        self.client.start_channels()
        await self.client.wait_for_ready(timeout=SECONDS)

    async def run(self, code: str, heard: asyncio.Event | None = None) -> tuple[str, str]:
        """What it printed, and the name of the error that it ended with; `heard` is set when it prints."""
        said: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            if message["msg_type"] == "stream":
                said.append(message["content"]["text"])
                if heard is not None:
                    heard.set()

        reply = await self.client.execute_interactive(code, output_hook=hear, timeout=SECONDS)
        return "".join(said), reply["content"].get("ename", "")

    async def end(self) -> None:
        self.client.stop_channels()
        await self.manager.shutdown_kernel(now=True)


async def ready(spare: Spare) -> None:
    """Until the process has imported everything: it sleeps then."""
    process = spare._process
    assert process is not None
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        folder = Path("/proc", str(process.pid))
        loaded = "libtorch_python" in (folder / "maps").read_text()
        # proc_pid_stat(5): its state is the first word behind the name in brackets.
        if loaded and (folder / "stat").read_text().rpartition(")")[2].split()[0] == "S":
            # It sleeps now and then while it imports, too.
            await asyncio.sleep(0.5)
            return
        await asyncio.sleep(0.1)
    raise AssertionError("it does not get ready")


def install() -> int:
    """As `pip install --user` does it."""
    return Path(site.getusersitepackages(), "lately.py").write_text("")


async def step(spare: Spare, kernels: list[Kernel], asked: dict[str, Any]) -> object:
    do = asked["do"]
    if do == "ready":
        return await ready(spare)
    if do == "lose":
        assert spare._process is not None
        return spare._process.kill()
    if do == "end":
        return spare.end()
    if do == "install":
        return install()
    if do == "start":
        kernels.append(Kernel())
        await kernels[-1].start(asked["folder"], asked.get("environment", {}))
        return json.loads((await kernels[-1].run(PORTRAIT))[0].splitlines()[-1])
    kernel = kernels[-1]
    if do == "run":
        return await kernel.run(asked["code"])
    if do == "interrupt":
        heard = asyncio.Event()
        running = asyncio.create_task(kernel.run("import time\nprint('here', flush=True)\ntime.sleep(50)", heard))
        # Before its code runs, a kernel takes no notice of an interruption.
        await asyncio.wait_for(heard.wait(), SECONDS)
        await kernel.manager.interrupt_kernel()
        return (await running)[1]
    if do == "restart":
        await kernel.manager.restart_kernel(now=True)
        kernel.client.stop_channels()
        await kernel.connect()
        return (await kernel.run("print('again')"))[0]
    assert do == "kill"
    os.kill(kernel.manager.provisioner.pid, signal.SIGKILL)
    end = time.monotonic() + SECONDS
    while await kernel.manager.is_alive():
        assert time.monotonic() < end
        await asyncio.sleep(0.05)
    return "noticed"


async def main(steps: list[dict[str, Any]]) -> list[object]:
    factory = KernelProvisionerFactory.instance()
    factory.provisioners[NAME] = EntryPoint(NAME, f"{WarmProvisioner.__module__}:{WarmProvisioner.__name__}", GROUP)
    factory.default_provisioner_name = NAME
    WarmProvisioner.spare = spare = Spare(MODULES)
    spare.start()
    kernels: list[Kernel] = []
    said = [await step(spare, kernels, each) for each in steps]
    for kernel in kernels:
        if await kernel.manager.is_alive():
            await kernel.end()
    spare.end()
    return said


if __name__ == "__main__":
    print("\n" + json.dumps(asyncio.run(main(json.loads(sys.argv[1])))))  # noqa: T201
