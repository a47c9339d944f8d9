"""`leerlab down`: cancel the site's jobs, wait for them, and leave nothing running."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from base.errors import LeerlabError
from base.paths import State
from cluster.errors import SlurmError
from hub_config.run.start import only_one
from hub_config.run.supervisor_client import Supervisor
from hub_config.site import Site
from hub_config.slurm import hub_id, slurm_of

JOBS_SECONDS = 60.0
DAEMONS_SECONDS = 60.0
STOPPED_FIRST = ("hub", "grading")


@dataclass(frozen=True)
class Stopped:
    """What `down` did.

    Args:
        was_running: whether there was something to stop.
        jobs: how many jobs were cancelled.
        seconds: how long it took.
    """

    was_running: bool
    jobs: int
    seconds: float


def down(site: Site, state: State, step: Callable[[str], None]) -> Stopped:
    """Stop the site.

    Args:
        site: its settings.
        state: its state folder.
        step: called with one English phrase at each step.

    Raises:
        LeerlabError: jobs or processes do not end; nothing else is touched then.
    """
    begin = time.monotonic()
    if not state.root.exists():
        return Stopped(False, 0, 0.0)
    state.make()
    jobs = 0
    with only_one(state):
        supervisor = Supervisor(state)
        was_running = supervisor.running()
        if was_running:
            step("stopping the hub")
            for name in STOPPED_FIRST:
                supervisor.stop(name)
            step("cancelling jobs")
            jobs = asyncio.run(_cancel_jobs(site, state))
            step("stopping the daemons")
            pid = supervisor.pid()
            supervisor.shutdown()
            _wait_gone(pid)
        _end_strays(state)
        for path in state.run.iterdir():
            path.unlink()
    return Stopped(was_running, jobs, time.monotonic() - begin)


async def _cancel_jobs(site: Site, state: State) -> int:
    """Cancel this site's jobs and wait until Slurm no longer knows them as active."""
    slurm = slurm_of(site, state)
    prefix = f"{hub_id(state)}:"
    deadline = time.monotonic() + JOBS_SECONDS
    cancelled: set[int] = set()
    while True:
        try:
            ours = [job.id for job in (await slurm.queue()).jobs if job.comment.startswith(prefix)]
            if not ours:
                return len(cancelled)
            await slurm.cancel(ours)
            cancelled.update(ours)
        except SlurmError as error:
            if time.monotonic() > deadline:
                raise LeerlabError(
                    f"Slurm does not answer: {error}", "Its jobs may still run.", "Try ./leerlab down again."
                ) from error
        if time.monotonic() > deadline:
            raise LeerlabError(
                "Jobs do not end: " + ", ".join(map(str, ours)),
                "They would go on without a site.",
                "Try ./leerlab down again, or scancel them.",
            )
        await asyncio.sleep(0.2)


def _wait_gone(pid: int) -> None:
    try:
        psutil.Process(pid).wait(DAEMONS_SECONDS)
    except psutil.NoSuchProcess:
        return
    except psutil.TimeoutExpired:
        raise LeerlabError(
            f"supervisord (process {pid}) does not end.", "Some daemons still run.", "Try ./leerlab down again."
        ) from None


def processes_of(state: State) -> list[psutil.Process]:
    """This account's processes that name the state folder in arguments or environment, ourselves left out."""
    root, found = str(state.root), []
    mine = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        if process.pid in mine:
            continue
        try:
            words = [*process.cmdline(), *process.environ().values()]
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if any(root in word for word in words):
            found.append(process)
    return found


def _end_strays(state: State) -> None:
    """End what outlived supervisord, for instance after it was killed: slurmstepd, a daemon, a job's wrapper."""
    for ask in (signal.SIGTERM, signal.SIGKILL):
        strays = processes_of(state)
        for process in strays:
            try:
                process.send_signal(ask)
            except psutil.NoSuchProcess:
                continue
        _, alive = psutil.wait_procs(strays, timeout=5)
        if not alive:
            return
    raise LeerlabError(
        "These processes do not end: " + ", ".join(str(process.pid) for process in alive),
        "They belong to the stopped site.",
        "End them by hand with kill -9.",
    )


def leftovers(state: State) -> list[str]:
    """What still exists of a stopped site: processes, sockets, mounts and cgroups that name its state folder."""
    root = str(state.root)
    found = [f"process {process.pid}" for process in processes_of(state)]
    found += [f"socket {line.split()[-1]}" for line in Path("/proc/net/unix").read_text().splitlines() if root in line]
    found += [f"mount {line.split()[4]}" for line in Path("/proc/self/mountinfo").read_text().splitlines() if root in line]
    found += [f"file {path}" for path in sorted(state.run.iterdir())] if state.run.exists() else []
    cgroups = Path("/sys/fs/cgroup")
    found += [f"cgroup {path}" for path in cgroups.rglob(f"*leerlab-{state.root.name}*")]
    return found
