"""Talks to this site's supervisord over its unix socket (XML-RPC, http://supervisord.org/api.html)."""

from __future__ import annotations

import xmlrpc.client
from dataclasses import dataclass
from typing import cast

from supervisor.xmlrpc import SupervisorTransport

from base.paths import State
from hub_config.run.processes import SUPERVISOR_SOCKET


@dataclass(frozen=True)
class Process:
    """One daemon as supervisord sees it.

    Args:
        name: its name in `hub_config.run.processes`.
        state: supervisord's state name: RUNNING, STARTING, BACKOFF, STOPPED, EXITED, FATAL.
        pid: process id, 0 when it does not run.
        since: start time, seconds since 1970.
    """

    name: str
    state: str
    pid: int
    since: int


class Supervisor:
    """The supervisord of one site.

    Args:
        state: the site's state folder.
    """

    def __init__(self, state: State) -> None:
        self._socket = state.run / SUPERVISOR_SOCKET

    def _proxy(self) -> xmlrpc.client.ServerProxy:
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)

    def running(self) -> bool:
        """Whether supervisord answers."""
        try:
            self.pid()
        except (OSError, xmlrpc.client.Error):
            return False
        return True

    def pid(self) -> int:
        """supervisord's process id."""
        return cast(int, self._proxy().supervisor.getPID())

    def processes(self) -> list[Process]:
        """All daemons with their states."""
        rows = cast(list[dict[str, object]], self._proxy().supervisor.getAllProcessInfo())
        return [
            Process(str(row["name"]), str(row["statename"]), int(str(row["pid"])), int(str(row["start"]))) for row in rows
        ]

    def start(self, name: str) -> None:
        """Start one daemon that is stopped."""
        self._proxy().supervisor.startProcess(name, False)

    def stop(self, name: str) -> None:
        """Stop one daemon and wait until it is gone; nothing happens when it does not run.

        Raises:
            xmlrpc.client.Fault: supervisord refuses for another reason.
        """
        not_running = 70  # supervisor.xmlrpc.Faults.NOT_RUNNING
        try:
            self._proxy().supervisor.stopProcess(name, True)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != not_running:
                raise

    def shutdown(self) -> None:
        """Stop all daemons and supervisord itself; returns when the order is given."""
        self._proxy().supervisor.shutdown()
