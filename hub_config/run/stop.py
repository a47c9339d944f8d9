"""`leerlab down`: cancel the site's jobs, wait for them, and leave nothing running."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass

from base.errors import LeerlabError
from base.paths import State
from cluster import embedded
from cluster.errors import SlurmError
from cluster.jobs import Job
from cluster.settings import EmbeddedCluster, ExistingCluster
from hub_config.run import strays
from hub_config.run.folder import make_state
from hub_config.run.lock import only_one
from hub_config.run.supervisor_client import Supervisor
from hub_config.site import Site
from hub_config.slurm import HUB_ID, hub_id, slurm_of
from hub_config.unix_accounts import launcher_of
from spawners.launching import cancel
from spawners.starts import uid_of

JOBS_SECONDS = 60.0
# How long our own Slurm may stay silent before its jobs are ended without it: a restart takes two seconds.
OWN_SLURM_SECONDS = 15.0
# Whoever submits jobs goes first, so that none is added while they are cancelled.
SUBMITTERS = ("hub", "grading", "assistant")


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


class SlurmSilent(LeerlabError):
    """The site's jobs could not be cancelled, because Slurm does not answer."""


def down(site: Site, state: State, step: Callable[[str], None]) -> Stopped:
    """Stop the site.

    Args:
        site: its settings.
        state: its state folder.
        step: called with one English phrase at each step.

    Raises:
        LeerlabError: jobs or processes do not end; what still runs is left as it is, and `down` can be tried again.
    """
    begin = time.monotonic()
    if not state.root.exists():
        return Stopped(False, 0, 0.0)
    make_state(state, site.people)
    with only_one(state):
        supervisor = Supervisor(state)
        supervised = supervisor.running()
        left = strays.strays_of(state)
        jobs = 0
        if supervised:
            step("stopping the hub")
            # A site without an assistant has no gateway to stop.
            there = {one.name for one in supervisor.processes()}
            supervisor.stop([name for name in SUBMITTERS if name in there])
        # On a cluster that is not ours, jobs leave no trace on this machine.
        elsewhere = isinstance(site.cluster, ExistingCluster) and (state.secrets / HUB_ID).exists()
        if left.all or elsewhere:
            step("cancelling jobs")
            state.stopped.touch(0o600)
            jobs = _end_jobs(site, state, supervisor if supervised else None)
        if supervised:
            step("stopping the daemons")
            supervisor.shutdown()
        strays.end(strays.strays_of(state).all)
        shutil.rmtree(state.run)
    return Stopped(bool(left.all or jobs), jobs, time.monotonic() - begin)


def _end_jobs(site: Site, state: State, supervisor: Supervisor | None) -> int:
    """Cancel this site's jobs through Slurm; our own Slurm's jobs also without it. Returns how many were cancelled."""
    if not isinstance(site.cluster, EmbeddedCluster):
        return asyncio.run(_cancel_jobs(site, state, JOBS_SECONDS))
    if supervisor is not None:
        supervisor.start_stopped(but=SUBMITTERS)
    try:
        return asyncio.run(_cancel_jobs(site, state, OWN_SLURM_SECONDS if supervisor else 0.0))
    except SlurmSilent:
        if supervisor is not None:
            supervisor.stop([one.name for one in supervisor.processes()])
        running = strays.strays_of(state).jobs
        steps = sum(process.name() == strays.STEP for process in running)
        strays.end(running)
        # Jobs that still waited would start at the next `up`.
        embedded.forget_jobs(state)
        return steps


def ours(job: Job, site: Site, state: State) -> bool:
    """Whether a job is this site's: every job of our own Slurm, and on an existing cluster those that name this hub."""
    return isinstance(site.cluster, EmbeddedCluster) or job.comment.startswith(f"{hub_id(state)}:")


async def _cancel_jobs(site: Site, state: State, silent: float) -> int:
    """Cancel this site's jobs and wait until Slurm no longer knows them as active.

    Raises:
        SlurmSilent: Slurm gave no answer for so many seconds.
        LeerlabError: jobs do not end.
    """
    slurm = slurm_of(site, state)
    begin = answered = time.monotonic()
    cancelled: set[int] = set()
    active: list[int] = []
    while True:
        now = time.monotonic()
        try:
            found = [job for job in (await slurm.queue()).jobs if ours(job, site, state)]
            active = [job.id for job in found]
            if not active:
                return len(cancelled)
            fresh = [(job.id, uid_of(job.comment)) for job in found if job.id not in cancelled]
            await cancel(slurm, launcher_of(site), fresh)
            cancelled.update(active)
            answered = time.monotonic()
        except SlurmError as error:
            if now - answered >= silent:
                raise SlurmSilent(
                    f"Slurm does not answer: {error.what}",
                    "The site's jobs may still run.",
                    "Try ./leerlab down again.",
                ) from error
        if now - begin > JOBS_SECONDS:
            raise LeerlabError(
                "Jobs do not end: " + ", ".join(map(str, active)) + ".",
                "They would go on without a site.",
                "Try ./leerlab down again, or scancel them.",
            )
        await asyncio.sleep(0.1)
