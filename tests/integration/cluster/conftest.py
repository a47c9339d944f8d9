"""A real embedded Slurm for tests: started as the account that runs pytest, ended by process id."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import pytest

from base.daemons import Daemon
from base.paths import State
from base.ports import free_ports
from base.quantities import Size
from cluster import embedded
from cluster.accounting import Accounts, accounts_of, establish
from cluster.commands import Slurm
from cluster.errors import SlurmUnavailable
from cluster.jobs import Job, JobState
from cluster.request import JobRequest
from cluster.script import job_script
from cluster.settings import EmbeddedCluster

SETTINGS = EmbeddedCluster.model_validate(
    {
        "kind": "embedded",
        "nodes": [
            {"name": "gpu01", "cpus": 8, "memory": "8G", "gpus": 2, "shards": 8},
            {"name": "cpu01", "cpus": 16, "memory": "8G"},
        ],
        "partitions": [
            {"name": "gpu", "nodes": ["gpu01"], "time": "1h"},
            {"name": "cpu", "nodes": ["cpu01"], "time": "1h", "default": True},
        ],
    }
)

ACCOUNTED = SETTINGS.model_copy(update={"accounting": True})


T = TypeVar("T")


@dataclass
class RunningSlurm:
    """The daemons of one embedded Slurm, each of which a test may stop, kill and start again."""

    state: State
    settings: EmbeddedCluster
    ports: list[int]
    daemons: dict[str, Daemon]
    wrapper: tuple[str, ...] = ()
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def slurm(self) -> Slurm:
        return Slurm(embedded.slurm_conf(self.state))

    def prepare_again(self) -> None:
        """Write its files anew, as a restart does."""
        daemons = embedded.prepare(self.settings, self.state, self.ports)
        self.daemons = {daemon.name: daemon for daemon in daemons}

    def start(self, name: str) -> None:
        daemon = self.daemons[name]
        with (self.state.logs / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*self.wrapper, *daemon.argv],
                env=dict(daemon.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def end(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        process = self.processes.pop(name)
        process.send_signal(how)
        # slurmctld waits now and then for a node that has just gone; supervisord would not wait for ever either.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait(30)

    def send(self, name: str, what: signal.Signals) -> None:
        self.processes[name].send_signal(what)

    def wait_ready(self, seconds: float = 60) -> float:
        """Wait until every node can take work; returns the seconds that it took."""
        begin = time.monotonic()
        wanted = sum(name.startswith("slurmd-") for name in self.daemons)
        while time.monotonic() < begin + seconds:
            with contextlib.suppress(SlurmUnavailable):
                if sum(node.usable for node in asyncio.run(self.slurm.nodes())) == wanted:
                    return time.monotonic() - begin
            time.sleep(0.02)
        logs = "\n".join(f"{path.name}:\n{path.read_text()[-1500:]}" for path in sorted(self.state.logs.iterdir()))
        raise AssertionError(f"the embedded Slurm is not ready after {seconds} s\n{logs}")

    async def until(self, ask: Callable[[], Awaitable[T]], true: Callable[[T], bool], seconds: float = 60) -> T:
        """The first answer that is as wanted."""
        deadline = time.monotonic() + seconds
        while True:
            answer = await ask()
            if true(answer):
                return answer
            assert time.monotonic() < deadline, f"still {answer!r} after {seconds} s"
            await asyncio.sleep(0.05)

    async def job_once(self, job_id: int, true: Callable[[Job], bool], seconds: float = 60) -> Job:
        """The job once it is as wanted."""
        slurm = self.slurm
        job = await self.until(lambda: slurm.job(job_id), lambda job: job is not None and true(job), seconds)
        assert job is not None
        return job

    async def running(self, job_id: int) -> Job:
        return await self.job_once(job_id, lambda job: job.state is JobState.RUNNING)

    async def ended(self, job_id: int, seconds: float = 60) -> Job:
        return await self.job_once(job_id, lambda job: job.state.ended, seconds)

    async def saved(self) -> None:
        """Once slurmctld has written down what it knows now; it does so every few seconds, and at its end."""
        file, now = self.state.slurm / "controller" / "job_state", time.time()

        def when() -> float:
            try:
                return file.stat().st_mtime
            except FileNotFoundError:  # slurmctld takes the old one away before it gives the new one its name
                return 0

        await self.until(lambda: asyncio.to_thread(when), lambda written: written > now)

    async def text_in(self, path: Path, wanted: str) -> str:
        """The file's text once it holds what is wanted."""

        def read() -> str:
            return path.read_text() if path.exists() else ""

        return await self.until(lambda: asyncio.to_thread(read), lambda text: wanted in text)

    def end_all(self) -> None:
        # First, because nobody cancels a job with a controller that a test has stopped.
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
        if self.daemons.keys() == self.processes.keys():
            with contextlib.suppress(SlurmUnavailable):
                asyncio.run(self._cancel_all())
        for name in list(reversed(self.processes)):
            self.end(name)

    async def _cancel_all(self) -> None:
        deadline = time.monotonic() + 30
        while (jobs := (await self.slurm.queue()).jobs) and time.monotonic() < deadline:
            await self.slurm.cancel([job.id for job in jobs])
            await asyncio.sleep(0.1)


@contextlib.contextmanager
def running_slurm(
    settings: EmbeddedCluster = SETTINGS,
    *,
    wrapper: Sequence[str] = (),
    change: Callable[[State], None] | None = None,
    only: Sequence[str] = (),
) -> Iterator[RunningSlurm]:
    """An embedded Slurm that is ready.

    Args:
        settings: its nodes and partitions.
        wrapper: words before every daemon's command.
        change: called once its files are written, before anything starts.
        only: start just these daemons, and do not wait for anything.
    """
    if os.geteuid() == 0:
        pytest.fail("the embedded Slurm never runs as root: run these tests as an ordinary account")
    root = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    state = State(root / "s")
    try:
        ports = free_ports(embedded.ports_needed(settings))
        daemons = embedded.prepare(settings, state, ports)
        if change:
            change(state)
        running = RunningSlurm(state, settings, ports, {daemon.name: daemon for daemon in daemons}, tuple(wrapper))
        try:
            for name in only or running.daemons:
                running.start(name)
            if not only:
                running.wait_ready()
            yield running
        finally:
            running.end_all()
    finally:
        shutil.rmtree(root)


StartSlurm = Callable[..., contextlib.AbstractContextManager[RunningSlurm]]


@pytest.fixture(scope="session")
def cluster() -> Iterator[RunningSlurm]:
    """One Slurm for all tests that leave its daemons alone."""
    with running_slurm() as running:
        yield running


@pytest.fixture(scope="module")
def accounted() -> Iterator[RunningSlurm]:
    """A Slurm with accounting for the tests of one module; whoever breaks a part of it mends it."""
    with running_slurm(ACCOUNTED) as running:
        asyncio.run(establish(running.settings, running.state))
        yield running


@pytest.fixture
def accounts(accounted: RunningSlurm) -> Accounts:
    found = accounts_of(accounted.settings, accounted.state)
    assert found is not None
    return found


@pytest.fixture
def start_slurm() -> StartSlurm:
    """Starts one more Slurm, with settings of the test's own."""
    return running_slurm


@pytest.fixture(scope="module")
def start_slurm_for_module() -> StartSlurm:
    return running_slurm


@pytest.fixture
def slurm(cluster: RunningSlurm) -> Slurm:
    return cluster.slurm


@pytest.fixture
def breakable() -> Iterator[RunningSlurm]:
    """A Slurm of the test's own, whose daemons it may stop and kill."""
    with running_slurm() as running:
        yield running


Request = Callable[..., JobRequest]


@pytest.fixture
def request_for(tmp_path: Path) -> Request:
    """Makes a small job request around a command, with the parts that a test changes."""

    def make(*argv: str, **changes: object) -> JobRequest:
        values: dict[str, object] = {
            "name": "test",
            "comment": f"hub:{uuid4().hex}",
            "partition": "cpu",
            "cpus": 1,
            "memory": Size.parse("64M"),
            "time": timedelta(minutes=5),
            "script": job_script(argv),
            "output": tmp_path / "log",
            "environment": {"PATH": "/usr/bin:/bin"},
        }
        return JobRequest(**{**values, **changes})  # type: ignore[arg-type]

    return make
