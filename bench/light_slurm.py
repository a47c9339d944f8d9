"""A Slurm alone, with room for hundreds of light servers and a place where others wait; and what it counts itself."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from base.paths import State
from base.ports import free_ports
from base.quantities import Duration, Size
from bench.errors import BenchmarkFailed
from cluster import embedded
from cluster.settings import EmbeddedCluster, EmbeddedPartition, Node
from confinement import seccomp

ROOM, QUEUE = "room", "queue"
"""The partition where every server runs at once, and the one whose only core is taken, so that all others wait."""
MEMORY = "256M"
_READY_SECONDS = 60.0
_END_SECONDS = 30.0
_ASK_SECONDS = 60.0
_CALLS = re.compile(r"(\w+)\s*\(\s*\d+\) count:(\d+)")
# What sdiag itself costs.
_OWN_CALL = "REQUEST_STATS_INFO"

SETTINGS = EmbeddedCluster(
    kind="embedded",
    nodes=(
        Node(name="room", cpus=512, memory=Size.parse("256G")),
        Node(name="small", cpus=1, memory=Size.parse("1G")),
    ),
    partitions=(
        EmbeddedPartition(name=ROOM, nodes=("room",), time=Duration.parse("8h"), default=True),
        EmbeddedPartition(name=QUEUE, nodes=("small",), time=Duration.parse("8h")),
    ),
)


@dataclass(frozen=True)
class LightSlurm:
    """A running Slurm.

    Args:
        state: its state folder, which the product's jobs use too.
    """

    state: State

    @property
    def conf(self) -> Path:
        return embedded.slurm_conf(self.state)

    def ask(self, *command: str, given: str | None = None) -> str:
        """What a command of Slurm prints.

        Raises:
            BenchmarkFailed: it fails.
        """
        done = subprocess.run(
            command, input=given, env={"PATH": "/usr/bin:/bin", "SLURM_CONF": str(self.conf)}, capture_output=True,
            text=True, timeout=_ASK_SECONDS, check=False, cwd="/",
        )  # fmt: skip
        if done.returncode:
            raise BenchmarkFailed(f"{command[0]} failed: {done.stderr.strip()}")
        return done.stdout

    def calls(self) -> int:
        """Remote procedure calls that slurmctld has taken since it started, without those of sdiag."""
        part = self.ask("sdiag").partition("by message type")[2].partition("by user")[0]
        counts = {kind: int(count) for kind, count in _CALLS.findall(part)}
        if not counts:
            raise BenchmarkFailed("sdiag tells of no remote procedure calls.")
        return sum(count for kind, count in counts.items() if kind != _OWN_CALL)

    def jobs(self, *states: str) -> int:
        """How many jobs are in these states."""
        return len(self.ask("squeue", "--noheader", f"--states={','.join(states)}", "--format=%i").split())

    def fill_the_queue(self) -> None:
        """Take the only core of the partition where everybody waits."""
        job = ("--output=/dev/null", "--time=480", "--mem=16M", f"--partition={QUEUE}", "--job-name=taken")
        self.ask("sbatch", *job, given="#!/bin/sh\nexec sleep 28800\n")
        self.until(lambda: self.jobs("RUNNING") == 1, "the core is taken")

    def empty(self) -> None:
        """Cancel everything, and wait until it is gone."""
        ids = self.ask("squeue", "--noheader", "--format=%i").split()
        for place in range(0, len(ids), 100):
            self.ask("scancel", *ids[place : place + 100])
        self.until(lambda: not self.ask("squeue", "--noheader", "--format=%i").split(), "all jobs have ended", 300)

    @staticmethod
    def until(true: object, what: str, seconds: float = _READY_SECONDS) -> None:
        """Wait until this is so.

        Raises:
            BenchmarkFailed: not in time.
        """
        assert callable(true)
        end = time.monotonic() + seconds
        while not true():
            if time.monotonic() > end:
                raise BenchmarkFailed(f"Not within {seconds:.0f} s: {what}.")
            time.sleep(0.25)


@contextmanager
def light_slurm(folder: Path) -> Iterator[LightSlurm]:
    """Start it, and end it with all its jobs.

    Args:
        folder: an empty folder with a short path (unix sockets).

    Raises:
        BenchmarkFailed: it does not get ready.
    """
    state = State(folder / "s").checked()
    state.make()
    seccomp.write_filter(state.generated / "seccomp.bpf")
    daemons = embedded.prepare(SETTINGS, state, free_ports(embedded.ports_needed(SETTINGS)))
    slurm, running = LightSlurm(state), list[subprocess.Popen[bytes]]()
    try:
        for daemon in daemons:
            with (state.logs / f"{daemon.name}.log").open("ab") as log:
                running.append(
                    subprocess.Popen(
                        daemon.argv, env=dict(daemon.environment), stdin=subprocess.DEVNULL, stdout=log, stderr=log
                    )
                )
        slurm.until(lambda: _idle(slurm), "both nodes are idle")
        yield slurm
        slurm.empty()
    finally:
        _end(running)


def _idle(slurm: LightSlurm) -> bool:
    try:
        return slurm.ask("sinfo", "-h", "-N", "-t", "idle", "-o", "%N").split() == ["room", "small"]
    except BenchmarkFailed:
        return False


def _end(running: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in reversed(running):
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_END_SECONDS)


def account() -> str:
    """The account that everything of a benchmark runs as."""
    return embedded.account_name() if os.geteuid() else "root"
