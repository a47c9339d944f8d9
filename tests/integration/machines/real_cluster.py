"""A Slurm that is not the site's: a folder, a munge key and a supervisor of its own, as on the machines of a school."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from base.paths import State
from base.ports import free_ports
from cluster import embedded
from cluster.accounting import establish
from cluster.commands import Slurm
from cluster.errors import SlurmUnavailable
from cluster.settings import EmbeddedCluster
from hub_config.run import strays
from hub_config.run.processes import environment_of_all, write_configuration
from hub_config.run.supervisor_client import Supervisor

READY_SECONDS = 60.0
DESCRIPTION: dict[str, Any] = {
    "kind": "embedded",
    "nodes": [{"name": "n1", "cpus": 8, "memory": "8G", "gpus": 2, "shards": 8}],
    "partitions": [
        {"name": "cpu", "nodes": ["n1"], "time": "4h", "default": True},
        {"name": "gpu", "nodes": ["n1"], "time": "4h"},
    ],
}


@dataclass(frozen=True)
class RealCluster:
    """A running cluster.

    Args:
        state: its own folder.
    """

    state: State

    @property
    def conf(self) -> Path:
        """Its slurm.conf."""
        return embedded.slurm_conf(self.state)

    @property
    def slurm(self) -> Slurm:
        return Slurm(self.conf)

    @property
    def supervisor(self) -> Supervisor:
        return Supervisor(self.state)

    def run(self, *words: str) -> str:
        """Run a command of Slurm as somebody of the school would."""
        environment = {"SLURM_CONF": str(self.conf), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=20, check=True)
        return done.stdout.strip()

    def foreign_job(self) -> int:
        """A job that has nothing to do with Leerlab."""
        return int(self.run("sbatch", "--parsable", "--mem=64M", "--output=/dev/null", "--wrap=sleep 600"))

    def states(self) -> Mapping[str, str]:
        """Every job's state by its number."""
        lines = self.run("squeue", "--noheader", "--format=%A %T").splitlines()
        return dict(line.split() for line in lines)

    def section(self, **changes: object) -> dict[str, object]:
        """The section `cluster:` of a site beside it."""
        partitions = [
            {"name": "cpu", "time": "4h", "cpus": 8, "memory": "8G", "default": True},
            {"name": "gpu", "time": "4h", "cpus": 8, "memory": "8G", "gpus": 2, "shards": 4},
        ]
        return {
            "kind": "existing",
            "slurm_conf": str(self.conf),
            "partitions": partitions,
            "accounting": True,
            **changes,
        }


@contextmanager
def real_cluster(root: Path, **changes: object) -> Iterator[RealCluster]:
    """Start a cluster, and end it with all its jobs.

    Args:
        root: a folder with a short path.
        changes: to its description.
    """
    settings = EmbeddedCluster.model_validate_json(_json({**DESCRIPTION, **changes}))
    state = State(root / "c").checked()
    state.make()
    configuration = write_configuration(
        state, embedded.prepare(settings, state, free_ports(embedded.ports_needed(settings)))
    )
    subprocess.run(
        [str(Path(sys.executable).parent / "supervisord"), "-c", str(configuration)],
        cwd=state.root, env={**os.environ, **environment_of_all(state)}, timeout=30, check=True,
    )  # fmt: skip
    cluster = RealCluster(state)
    try:
        _wait_until_ready(cluster)
        asyncio.run(establish(settings, state))
        yield cluster
    finally:
        with suppress(SlurmUnavailable):
            asyncio.run(_cancel_all(cluster.slurm))
        cluster.supervisor.shutdown()
        strays.end(strays.strays_of(state).all)


def _wait_until_ready(cluster: RealCluster) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        with suppress(SlurmUnavailable):
            if all(node.usable for node in asyncio.run(cluster.slurm.nodes())):
                return
        assert time.monotonic() < deadline, "the cluster is not ready"
        time.sleep(0.1)


async def _cancel_all(slurm: Slurm) -> None:
    deadline = time.monotonic() + 15
    while (jobs := (await slurm.queue()).jobs) and time.monotonic() < deadline:
        await slurm.cancel([job.id for job in jobs])
        await asyncio.sleep(0.1)


def _json(value: object) -> str:
    import json

    return json.dumps(value)
