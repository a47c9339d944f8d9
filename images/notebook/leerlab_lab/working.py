"""Tells Jupyter Server that it is used while something still computes, so that the hub does not stop it as idle.

Jupyter Server knows when a kernel last said something and when somebody last typed. A cell that trains for three hours
without a word, and a program in a terminal whose page is closed, would be idle to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tornado.ioloop import PeriodicCallback

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

LOOK_SECONDS = 60.0
NAME = "leerlab_working"


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Jupyter Server's way to find the extension."""
    return [{"module": "leerlab_lab.working"}]


def _load_jupyter_server_extension(server: ServerApp) -> None:
    """Look at kernels and terminals once a minute."""

    def look() -> None:
        if works(server):
            server.web_app.settings["last_activity_times"][NAME] = datetime.now(UTC)

    callback = PeriodicCallback(look, LOOK_SECONDS * 1000)
    callback.start()
    # Kept where the server keeps what it needs, or it would be forgotten.
    server.web_app.settings[f"{NAME}_callback"] = callback


def works(server: Any, processes: Path = Path("/proc")) -> bool:
    """Whether a kernel is busy, or a terminal's shell has started a program that still runs.

    Args:
        server: Jupyter Server.
        processes: where the kernel lists processes.
    """
    manager = server.kernel_manager
    if any(manager.get_kernel(one).execution_state == "busy" for one in manager.list_kernel_ids()):
        return True
    terminals = server.web_app.settings.get("terminal_manager")
    shells = [one.ptyproc.pid for one in terminals.terminals.values()] if terminals is not None else []
    return _have_children(shells, processes)


def _have_children(shells: Iterable[int], processes: Path) -> bool:
    wanted = set(shells)
    if not wanted:
        return False
    for status in processes.glob("[0-9]*/stat"):
        try:
            # The name, in brackets, may hold anything: proc_pid_stat(5).
            state, parent = status.read_text(errors="replace").rpartition(")")[2].split()[:2]
        except (OSError, ValueError):
            continue  # It has ended meanwhile.
        if int(parent) in wanted and state != "Z":
            return True
    return False
