"""Waits until a started site really answers; a daemon that ends again and again is reported at once, with its log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from assistant.configuration import SOCKET
from base.errors import LeerlabError
from base.log import redact
from base.paths import State
from cluster.errors import SlurmError
from cluster.existing import ExistingSlurm
from cluster.settings import EmbeddedCluster, ExistingCluster
from hub_config.run import ports
from hub_config.run.browser import Browser
from hub_config.run.supervisor_client import Supervisor
from hub_config.site import Site
from hub_config.slurm import slurm_of
from sandboxes.way_out import SOCKET as WAY_OUT

READY_SECONDS = 120.0
# A daemon may end once because another was not there yet; the second time it is taken to fail by itself.
MOST_STARTS = 2
LOG_LINES = 12
SLURM = "Slurm"
_LOG_BYTES = 16_384


class DaemonFails(LeerlabError):
    """A daemon ends each time that it is started."""


class Starts:
    """Counts how often each daemon has been started while we wait.

    Args:
        supervisor: of the site.
        state: the site's state folder.
    """

    def __init__(self, supervisor: Supervisor, state: State) -> None:
        self._supervisor = supervisor
        self._state = state
        self._seen: dict[str, set[int]] = {}

    def check(self) -> None:
        """Look once.

        Raises:
            DaemonFails: a daemon ended again and again; says which, with the end of its log.
        """
        for process in self._supervisor.processes():
            starts = self._seen.setdefault(process.name, set())
            if process.since:
                starts.add(process.since)
            if (
                process.state == "FATAL"
                or len(starts) > MOST_STARTS
                or (process.state in ("BACKOFF", "EXITED") and len(starts) == MOST_STARTS)
            ):
                log = self._state.logs / f"{process.name}.log"
                raise DaemonFails(
                    f"{process.name} ended each time that it was started.",
                    f"The end of its log:\n{last_lines(log)}",
                    f"The whole log is {log}.",
                )


def last_lines(log: Path, count: int = LOG_LINES) -> str:
    """The end of a log file, without secrets; a phrase where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    return "\n".join(f"    {redact(line)}" for line in lines[-count:]) or "    (it wrote nothing)"


def wait_until_ready(
    site: Site, state: State, supervisor: Supervisor, step: Callable[[str], None], seconds: float = READY_SECONDS
) -> None:
    """Return when Slurm, the hub, the portal, the inner API and our own services answer and every daemon runs.

    Args:
        site: the checked settings.
        state: the site's state folder.
        supervisor: of the site, running.
        step: called with one English phrase at each step.
        seconds: longest wait.

    Raises:
        DaemonFails: a daemon ends again and again.
        LeerlabError: something does not answer in that time.
    """
    deadline = time.monotonic() + seconds
    starts = Starts(supervisor, state)
    names = ["hub-api.sock", "grading.sock"]
    if site.assistant is not None:
        names.append(SOCKET)
    if site.sandboxes is not None and site.sandboxes.hosts:
        names.append(WAY_OUT)
    sockets = [state.run / name for name in names]
    waits: list[tuple[str, Callable[[], bool]]] = [
        (SLURM, lambda: slurm_ready(site, state)),
        ("the hub", lambda: hub_ready(site)),
        ("the portal", lambda: portal_ready(site)),
        ("the inner services", lambda: ports.listening_sockets(sockets) == sockets),
        # supervisord waits a second before it calls a daemon running: `leerlab status` would find fault until then.
        ("all daemons", lambda: all(process.state == "RUNNING" for process in supervisor.processes())),
    ]
    for what, ready in waits:
        step(f"waiting for {what}")
        while not ready():
            starts.check()
            if time.monotonic() > deadline:
                raise _not_ready(what, site, state, supervisor)
            time.sleep(0.1)


def _not_ready(what: str, site: Site, state: State, supervisor: Supervisor) -> LeerlabError:
    if what == SLURM and isinstance(site.cluster, ExistingCluster):
        try:
            asyncio.run(ExistingSlurm(site.cluster).see_controller())
        except LeerlabError as error:
            return error
    named = [process.name for process in supervisor.processes() if process.state != "RUNNING"]
    where = ", ".join(str(state.logs / f"{name}.log") for name in named) or str(state.logs)
    return LeerlabError(
        f"{what[0].upper()}{what[1:]} did not become ready.",
        f"Not running: {', '.join(named) or 'nothing; all daemons run'}.",
        f"Look in {where}. ./leerlab up waits once more; ./leerlab down stops what did start.",
    )


def slurm_ready(site: Site, state: State) -> bool:
    """Whether Slurm answers and can take work: on every node of our own, on some node of an existing cluster."""
    try:
        nodes = asyncio.run(slurm_of(site, state).nodes())
    except SlurmError:
        return False
    wanted = len(site.cluster.nodes) if isinstance(site.cluster, EmbeddedCluster) else 1
    return sum(node.usable for node in nodes) >= wanted


def hub_ready(site: Site) -> bool:
    """Whether the hub's API answers through the proxy, as a person's browser would reach it."""
    try:
        with Browser(site, seconds=2) as browser:
            return browser.get("/hub/api/").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def portal_ready(site: Site) -> bool:
    """Whether the portal answers through the proxy, at its own name."""
    try:
        with Browser(site, seconds=2) as browser:
            return browser.get(site.portal + "/status").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
