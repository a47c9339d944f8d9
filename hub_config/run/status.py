"""`leerlab status`: what of the site runs."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from base.paths import State
from cluster.errors import SlurmError
from hub_config.run.stop import ours
from hub_config.run.supervisor_client import Process, Supervisor
from hub_config.site import Site
from hub_config.slurm import slurm_of


@dataclass(frozen=True)
class JobLine:
    """One job of this site.

    Args:
        id: Slurm's number.
        name: what it is for.
        state: Slurm's state name.
        nodes: where it runs; empty while it waits.
    """

    id: int
    name: str
    state: str
    nodes: str


@dataclass(frozen=True)
class Status:
    """The site at this moment.

    Args:
        running: whether supervisord answers.
        healthy: all daemons run and Slurm answers.
        address: where people go.
        daemons: each daemon.
        jobs: this site's jobs.
        slurm_problem: why Slurm did not answer; empty when it did.
    """

    running: bool
    healthy: bool
    address: str
    daemons: list[Process] = field(default_factory=list)
    jobs: list[JobLine] = field(default_factory=list)
    slurm_problem: str = ""


def status(site: Site, state: State) -> Status:
    """Ask supervisord and Slurm."""
    supervisor = Supervisor(state)
    if not supervisor.running():
        return Status(False, False, site.hub.address)
    daemons = supervisor.processes()
    problem, jobs = "", []
    try:
        queue = asyncio.run(slurm_of(site, state).queue())
        jobs = [
            JobLine(job.id, job.name, job.state.name, " ".join(job.nodes))
            for job in queue.jobs
            if ours(job, site, state)
        ]
    except SlurmError as error:
        problem = error.what
    healthy = not problem and all(daemon.state == "RUNNING" for daemon in daemons)
    return Status(True, healthy, site.hub.address, daemons, jobs, problem)


def table(report: Status) -> RenderableType:
    """The report for a terminal."""
    if not report.running:
        return Text("Not running. Start it with ./leerlab up.")
    daemons = Table("daemon", "state", "process", "running for", box=None, pad_edge=False)
    for daemon in report.daemons:
        age = f"{(time.time() - daemon.since) / 60:.0f} min" if daemon.pid else ""
        daemons.add_row(daemon.name, daemon.state, str(daemon.pid or ""), age)
    parts: list[RenderableType] = [Text(f"{report.address}\n"), daemons]
    if report.slurm_problem:
        parts.append(Text(f"\n{report.slurm_problem}"))
    elif report.jobs:
        jobs = Table("job", "for", "state", "node", box=None, pad_edge=False)
        for job in report.jobs:
            jobs.add_row(str(job.id), job.name, job.state, job.nodes)
        parts += [Text(), jobs]
    else:
        parts.append(Text("\nNo notebooks or grading jobs at the moment."))
    return Group(*parts)
