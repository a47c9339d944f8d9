"""This site's processes as the kernel knows them: found, told apart and ended without supervisord or Slurm.

A process belongs to a site when its environment says so: every daemon is given the state folder in `LEERLAB_STATE` and
passes it on, and every job of the embedded Slurm has that Slurm's slurm.conf beside Slurm's own `SLURM_JOB_ID`. Slurm's
job steps write their title over their environment; they are known by the socket on which slurmd finds them again. The
names of files that a process works with say nothing: somebody may well be reading a log of the site.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from base.errors import LeerlabError
from base.paths import State
from cluster import embedded

STATE_VARIABLE = "LEERLAB_STATE"
STEP = "slurmstepd"
END_SECONDS = 10.0


@dataclass(frozen=True)
class Strays:
    """What still runs of a site.

    Args:
        daemons: supervisord and what it started.
        jobs: Slurm's job steps and everything that they started, inside walls too.
    """

    daemons: tuple[psutil.Process, ...]
    jobs: tuple[psutil.Process, ...]

    @property
    def all(self) -> tuple[psutil.Process, ...]:
        return (*self.daemons, *self.jobs)


def strays_of(state: State) -> Strays:
    """This account's processes that belong to a site, ourselves left out."""
    found: dict[int, tuple[psutil.Process, bool]] = {}
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            is_step = process.name() == STEP
            environment = {} if is_step else process.environ()
            if _is_step_of(process, state) if is_step else _belongs(environment, state):
                is_job = is_step or "SLURM_JOB_ID" in environment
                # What runs inside a wall has nothing of the site in its environment; it descends from a job.
                for one in (process, *(process.children(recursive=True) if is_job else ())):
                    found[one.pid] = (one, is_job or found.get(one.pid, (one, False))[1])
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return Strays(
        tuple(process for process, is_job in found.values() if not is_job),
        tuple(process for process, is_job in found.values() if is_job),
    )


def _belongs(environment: dict[str, str], state: State) -> bool:
    if environment.get(STATE_VARIABLE) == str(state.root):
        return True
    return environment.get("SLURM_CONF") == str(embedded.slurm_conf(state)) and "SLURM_JOB_ID" in environment


def _is_step_of(process: psutil.Process, state: State) -> bool:
    return any(
        isinstance(connection.laddr, str) and connection.laddr.startswith(f"{state.slurm}/")
        for connection in process.net_connections("unix")
    )


def end(processes: Sequence[psutil.Process]) -> None:
    """End processes: first asked, then killed.

    Args:
        processes: which; those that have ended already do no harm.

    Raises:
        LeerlabError: some do not end.
    """
    alive = list(processes)
    for ask in (signal.SIGTERM, signal.SIGKILL):
        for process in alive:
            try:
                process.send_signal(ask)
            except psutil.NoSuchProcess:
                continue
        _, alive = psutil.wait_procs(alive, timeout=END_SECONDS)
        if not alive:
            return
    raise LeerlabError(
        "These processes do not end: " + ", ".join(str(process.pid) for process in alive),
        "They belong to the stopped site.",
        "End them by hand with kill -9.",
    )


def leftovers(state: State) -> list[str]:
    """What still exists of a stopped site: processes, sockets, mounts, files in `run/` and cgroups, one phrase each."""
    root = str(state.root)
    found = [f"process {process.pid}" for process in strays_of(state).all]
    found += [f"socket {line.split()[-1]}" for line in Path("/proc/net/unix").read_text().splitlines() if root in line]
    found += [
        f"mount {line.split()[4]}" for line in Path("/proc/self/mountinfo").read_text().splitlines() if root in line
    ]
    found += [f"file {path}" for path in sorted(state.run.iterdir())] if state.run.exists() else []
    return found
