"""A lab's first kernel, got ready while the page loads: the imports that nearly every notebook begins with are done.

A lab starts one process beside itself (`waiting`), which imports them and then waits; the first notebook that is opened
gets it as its kernel (`provisioner`). It is the learner's own process in the learner's own wall and memory, and nobody
else's. Where anything could come out differently than in a kernel that starts anew, an ordinary kernel starts.
"""

from __future__ import annotations

import asyncio
import os
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

from jupyter_client.provisioning import KernelProvisionerFactory

from leerlab_lab.warm.provisioner import GROUP, NAME, Spare, WarmProvisioner

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

MODULES = ("numpy", "pandas", "matplotlib.pyplot", "torch")
"""What is imported beforehand, of what the environment has; in this order."""
LEAST_MEMORY = 1536 * 1024**2
"""With less memory than this, in bytes, a learner has better use for what a waiting kernel takes (about 330 MB)."""
KEPT_SECONDS = 600.0
"""Who opens no notebook for so long does not want one now, and gets the memory back."""


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Jupyter Server's way to find the extension."""
    return [{"module": "leerlab_lab.warm"}]


def _load_jupyter_server_extension(server: ServerApp) -> None:
    """Let this server's kernels come from `WarmProvisioner`, where their kernelspec names no other."""
    factory = KernelProvisionerFactory.instance(parent=server)
    factory.provisioners[NAME] = EntryPoint(
        NAME, f"{WarmProvisioner.__module__}:{WarmProvisioner.__name__}", GROUP
    )  # fmt: skip
    factory.default_provisioner_name = NAME


async def _start_jupyter_server_extension(server: ServerApp) -> None:
    """Start the waiting process: the server answers already, and the browser has the page to load."""
    if int(os.environ.get("MEM_LIMIT") or LEAST_MEMORY) < LEAST_MEMORY:
        server.log.info("no kernel is kept ready: this server has less than %d bytes of memory", LEAST_MEMORY)
        return
    spare = Spare(MODULES)
    spare.start()
    WarmProvisioner.spare = spare
    asyncio.get_running_loop().call_later(KEPT_SECONDS, spare.end)
