"""A real Slurm of one node for the tests of graded execution."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from base.daemons import Daemon
from base.paths import State
from base.ports import free_ports
from base.quantities import Duration, Size
from cluster.embedded import prepare, slurm_conf
from cluster.settings import EmbeddedCluster, EmbeddedPartition, Node


@dataclass
class RunningSlurm:
    """The daemons of one Slurm."""

    conf: Path
    daemons: dict[str, Daemon]
    logs: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        daemon = self.daemons[name]
        with (self.logs / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                daemon.argv, env=dict(daemon.environment), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/"
            )

    def stop(self, name: str) -> None:
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)

    def ask(self, *command: str) -> str:
        environment = {**os.environ, "SLURM_CONF": str(self.conf)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=False).stdout


def _wait(true: object, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"no {what}"
        time.sleep(0.1)


@contextmanager
def running_slurm(root: Path) -> Iterator[RunningSlurm]:
    """Start it, and end it with all its jobs."""
    state = State(root)
    state.make()
    settings = EmbeddedCluster(
        kind="embedded",
        nodes=(Node(name="cpu01", cpus=4, memory=Size.parse("8G")),),
        partitions=(EmbeddedPartition(name="cpu", nodes=("cpu01",), time=Duration.parse("1h"), default=True),),
    )
    daemons = {daemon.name: daemon for daemon in prepare(settings, state, free_ports(2))}
    slurm = RunningSlurm(slurm_conf(state), daemons, state.logs)
    try:
        for name in daemons:
            slurm.start(name)
            if name == "munged":
                _wait((state.run / "munge.sock").exists, 30, "munge")
        _wait(lambda: slurm.ask("sinfo", "-h", "-t", "idle", "-o", "%N").split() == ["cpu01"], 60, "idle node")
        yield slurm
    finally:
        for job in slurm.ask("squeue", "--noheader", "--format=%i").split():
            slurm.ask("scancel", job)
        _wait(lambda: not slurm.ask("squeue", "--noheader").strip(), 60, "empty queue")
        for name in reversed(list(slurm.running)):
            slurm.stop(name)
