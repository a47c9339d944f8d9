"""Stops servers that nobody uses: jupyterhub-idle-culler as a daemon beside the hub, on the hub's own socket.

What counts as use is what a server itself tells the hub: somebody works in it, a kernel is busy, a program runs in a
terminal (leerlab_lab/working.py). That a browser still has it open does not count (`hub_config.app`).
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jupyterhub_idle_culler import IdleCuller
from tornado.netutil import Resolver

from base.paths import State
from hub_config.idle_token import TOKEN_FILE
from hub_config.run.keys import secret

MOST_SECONDS = 300
"""Between two looks; as often as a server tells what it does (JupyterHub's own interval)."""

LOOK_SECONDS = 2.0


class HubSocket(Resolver):
    """Leads every address to one unix socket: the culler goes nowhere but to the hub.

    Args:
        path: of the socket.
    """

    def initialize(self, path: str) -> None:
        """Take the socket."""
        self._path = path

    async def resolve(self, host: str, port: int, family: Any = socket.AF_UNSPEC) -> list[tuple[int, Any]]:
        """The socket, whatever is asked for."""
        return [(socket.AF_UNIX, self._path)]


def listens(path: Path) -> bool:
    """Whether somebody listens on a unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def arguments(idle_seconds: int) -> list[str]:
    """The culler's command line.

    Args:
        idle_seconds: after which a server that nobody uses is stopped.
    """
    every = min(MOST_SECONDS, idle_seconds // 2)
    # No URL of the hub's inner API: that one is for walled servers and answers none of this.
    return ["--url=http://hub/hub/api", f"--timeout={idle_seconds}", f"--cull-every={every}"]


def main(given: Sequence[str]) -> int:
    """Run until SIGTERM.

    Args:
        given: how many idle seconds end a server.
    """
    state = State(Path(os.environ["LEERLAB_STATE"]))
    # Only within this process: nothing outside sees it.
    os.environ["JUPYTERHUB_API_TOKEN"] = secret(state, TOKEN_FILE)
    hub = state.run / "hub.sock"
    while not listens(hub):  # The hub is still starting, and without it there is nothing to do.
        time.sleep(LOOK_SECONDS)
    Resolver.configure(HubSocket, path=str(hub))
    IdleCuller.launch_instance(arguments(int(given[0])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
