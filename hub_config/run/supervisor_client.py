"""Talks to this site's supervisord over its unix socket (XML-RPC, http://supervisord.org/api.html)."""

from __future__ import annotations

import http.client
import socket
import time
import xmlrpc.client
from collections.abc import Collection
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from xml.parsers.expat import ExpatError

import psutil

from base.errors import LeerlabError
from base.paths import State

SOCKET = "supervisor.sock"
# No call here waits for a daemon, so supervisord answers each at once; this bounds a supervisord that hangs.
ANSWER_SECONDS = 10.0
# Longer than the longest stopwaitsecs in supervisord.conf, after which supervisord itself kills the daemon.
STOP_SECONDS = 45.0
GONE = ("STOPPED", "EXITED", "FATAL")
# supervisor.xmlrpc.Faults
_SHUTDOWN_STATE, _ALREADY_STARTED, _NOT_RUNNING = 6, 60, 70


class SupervisorSilent(LeerlabError):
    """supervisord does not answer, or not in a way that makes sense."""


@dataclass(frozen=True)
class Process:
    """One daemon as supervisord sees it.

    Args:
        name: its name in `hub_config.run.processes`.
        state: supervisord's state name: RUNNING, STARTING, BACKOFF, STOPPING, STOPPED, EXITED, FATAL.
        pid: process id, 0 when it does not run.
        since: when it was last started, seconds since 1970; 0 when it never was.
    """

    name: str
    state: str
    pid: int
    since: int


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(ANSWER_SECONDS)
        self.sock.connect(str(self._path))  # closed by `close`, also when nobody listens


class Supervisor:
    """The supervisord of one site.

    Args:
        state: the site's state folder.
    """

    def __init__(self, state: State) -> None:
        self._socket = state.run / SOCKET

    def _call(self, method: str, *arguments: object) -> object:
        body = xmlrpc.client.dumps(cast(Any, arguments), f"supervisor.{method}").encode()
        try:
            with closing(_Connection(self._socket)) as connection:
                connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
                with connection.getresponse() as response:
                    answer = response.read()
            return xmlrpc.client.loads(answer)[0][0]
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != _SHUTDOWN_STATE:
                raise
            raise SupervisorSilent(
                "supervisord is ending.", "It answers nothing any more.", "Wait some seconds, then try again."
            ) from fault
        except (OSError, http.client.HTTPException, ExpatError) as error:
            raise SupervisorSilent(
                f"supervisord does not answer: {error}.",
                "What runs of the site is not known.",
                "Run ./leerlab down, then ./leerlab up.",
            ) from error

    def running(self) -> bool:
        """Whether supervisord answers."""
        try:
            self.pid()
        except SupervisorSilent:
            return False
        return True

    def pid(self) -> int:
        """supervisord's process id.

        Raises:
            SupervisorSilent: it does not answer; so do all methods below.
        """
        return cast(int, self._call("getPID"))

    def processes(self) -> list[Process]:
        """All daemons with their states."""
        rows = cast(list[dict[str, object]], self._call("getAllProcessInfo"))
        return [
            Process(str(row["name"]), str(row["statename"]), int(str(row["pid"])), int(str(row["start"])))
            for row in rows
        ]

    def start_stopped(self, but: Collection[str] = ()) -> list[str]:
        """Start every daemon that was stopped by hand or given up, without waiting for it.

        Args:
            but: names of daemons to leave as they are.

        Returns:
            The names of those started.
        """
        stopped = [one.name for one in self.processes() if one.state in GONE and one.name not in but]
        for name in stopped:
            self._ask("startProcess", name, _ALREADY_STARTED)
        return stopped

    def stop(self, names: Collection[str]) -> None:
        """Stop these daemons, all at once, and wait until they are gone; those that do not run are left alone.

        Raises:
            LeerlabError: one of them does not end.
        """
        for name in names:
            self._ask("stopProcess", name, _NOT_RUNNING)
        deadline = time.monotonic() + STOP_SECONDS
        while alive := [one.name for one in self.processes() if one.name in names and one.state not in GONE]:
            if time.monotonic() > deadline:
                raise LeerlabError(f"Not ending: {', '.join(alive)}.", "They still run.", "Try ./leerlab down again.")
            time.sleep(0.05)

    def _ask(self, method: str, name: str, harmless: int) -> None:
        try:
            self._call(method, name, False)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != harmless:
                raise LeerlabError(f"supervisord refuses {method} of {name}: {fault.faultString}.") from fault

    def shutdown(self) -> None:
        """Stop all daemons at once, then supervisord itself, and wait until it is gone.

        supervisord alone would stop them one after another, a second each.

        Raises:
            LeerlabError: it does not end.
        """
        pid = self.pid()
        self.stop([process.name for process in self.processes()])
        self._call("shutdown")
        with suppress(psutil.NoSuchProcess):
            try:
                psutil.Process(pid).wait(STOP_SECONDS)
            except psutil.TimeoutExpired:
                raise LeerlabError(
                    f"supervisord (process {pid}) does not end.", "Some daemons still run.", "Try ./leerlab down again."
                ) from None
