"""A local model as a Slurm job on demand: started by a question, ended when nobody has asked anything for a while.

The job's wrapper is that of notebook servers (`spawners.job`): it reports the model's port once, with a secret of this
start, when the model can be asked. Nothing of a start is kept on disk, so that its key is nowhere to be found; a
gateway that starts anew ends the jobs of the one before.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import shutil
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

from assistant.errors import Refused, unreachable
from assistant.plans import HEALTH, model_wall
from base.messages import Message
from base.paths import Installation, State
from catalogue.card import ModelCard
from cluster.errors import SlurmError
from cluster.jobs import Job, JobRequest, Queue
from cluster.script import job_script
from confinement.settings import ConfinementSettings
from spawners.job import VARIABLE, Task
from spawners.logs import last_lines
from spawners.settings import Profile
from spawners.waiting import queued

COMMENT = "assistant:"
PATIENCE_SECONDS = 10.0
"""How long a question waits for a model that starts; after that it is told so."""
READY_SECONDS = 180.0
"""Longest time from the job's start until the model can be asked."""
AGAIN_SECONDS = 5
PAUSE_SECONDS = 30.0
"""How long a model that could not be started is left alone."""
LOOK_SECONDS = 10.0
CLEAR_SECONDS = 600.0
_LOG, _SLURM_LOG = "model.log", "slurm.log"
_LOG_LIMIT = 2**20

log = logging.getLogger("assistant")


@dataclass(frozen=True)
class Backend:
    """Where a model is asked.

    Args:
        url: of its API, `/v1` included.
        name: what its server calls it.
        key: what its server wants to see; empty for none.
    """

    url: str
    name: str
    key: str = field(repr=False)


class Cluster(Protocol):
    """What is needed of Slurm; `cluster.commands.Slurm` has it."""

    async def submit(self, request: JobRequest) -> int: ...
    async def queue(self) -> Queue: ...
    async def job(self, job_id: int) -> Job | None: ...
    async def cancel(self, job_ids: Collection[int]) -> None: ...
    async def address(self, node: str) -> str: ...


@dataclass(frozen=True)
class Surroundings:
    """What all local models of a site share.

    Args:
        hub: id of this hub, the first part of its jobs' comments.
        cluster: Slurm's commands.
        profile: resources of a model's job.
        idle: seconds that a model stays when nobody asks it anything.
        at_once: questions that a model answers at the same time.
        report_to: the gateway's socket, as jobs reach it.
        interval: seconds between two looks at a job that somebody waits for.
        account: what the jobs are charged to; None where there is no accounting.
        run: names this run of the gateway.
    """

    hub: str
    cluster: Cluster
    state: State
    installation: Installation
    confinement: ConfinementSettings
    profile: Profile
    idle: float
    at_once: int
    report_to: str
    interval: float = 0.5
    account: str | None = None
    run: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def everybodys(self) -> str:
        """How the comments of all models' jobs of this hub begin."""
        return f"{self.hub}:{COMMENT}"

    @property
    def comment(self) -> str:
        """How the comments of this gateway's begin."""
        return f"{self.everybodys}{self.run}:"


@dataclass
class _Start:
    id: str
    secret: str
    key: str
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    job: int | None = None
    port: int | None = None
    backend: Backend | None = None
    waiting: Message | None = None
    over: bool = False


class LocalModel:
    """One model of the catalogue.

    Args:
        card: of the model.
        around: what all local models share.
    """

    def __init__(self, card: ModelCard, around: Surroundings) -> None:
        self._card = card
        self._around = around
        self._lock = asyncio.Lock()
        self._start: _Start | None = None
        self._watch: asyncio.Task[None] | None = None
        self._look = asyncio.Event()
        self._failed = -PAUSE_SECONDS
        self._used = time.monotonic()
        self.asked = 0

    @property
    def cores(self) -> int:
        """Processor cores that compute while it answers."""
        return self._around.profile.cpus

    async def backend(self) -> Backend:
        """Where it is asked now; starts it when it does not run.

        Raises:
            Refused: it starts, or waits for a place, and is not there yet; or it cannot be started.
        """
        self._used = time.monotonic()
        async with self._lock:
            if self._start is None:
                await self._begin()
            start = self._start
        if start is None:
            raise unreachable()
        with suppress(TimeoutError):
            await asyncio.wait_for(start.ready.wait(), PATIENCE_SECONDS)
        if start.backend is not None and not start.over:
            return start.backend
        if start.over:
            raise unreachable()
        raise Refused(
            HTTPStatus.SERVICE_UNAVAILABLE, "starting", message=start.waiting or Message("assistant.refused.starting"),
            again=AGAIN_SECONDS,
        )  # fmt: skip

    def report(self, start_id: str, secret: str, port: int) -> bool | None:
        """The wrapper's report of the port.

        Returns:
            Whether it counts; None when this start is not known here.
        """
        start = self._start
        if start is None or start.id != start_id:
            return None
        if not hmac.compare_digest(start.secret.encode(), secret.encode()) or start.port not in (None, port):
            return False
        start.port = port
        self._look.set()
        return True

    def lost(self) -> None:
        """The model did not answer although it had been reported: look at once whether its job still runs."""
        self._look.set()

    async def stop(self) -> None:
        """End its job, if it has one."""
        async with self._lock:
            start, self._start = self._start, None
            watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        if start is not None:
            await self._end(start)

    async def stop_if_idle(self) -> None:
        """End its job when nobody has asked it anything for long enough."""
        quiet = time.monotonic() - self._used
        if self._start is not None and not self.asked and quiet > self._around.idle:
            log.info("%s was not asked anything for %.0f s; its job is ended", self._card.id, quiet)
            await self.stop()

    # -- one start

    async def _begin(self) -> None:
        if time.monotonic() - self._failed < PAUSE_SECONDS:
            return
        start = _Start(secrets.token_hex(8), secrets.token_urlsafe(32), secrets.token_urlsafe(32))
        try:
            request = await asyncio.to_thread(self._request, start)
            start.job = await self._around.cluster.submit(request)
        except (SlurmError, OSError) as error:
            log.error("%s could not be started: %s", self._card.id, error)
            self._failed = time.monotonic()
            return
        log.info("%s starts as job %d", self._card.id, start.job)
        self._start = start
        self._watch = asyncio.create_task(self._follow(start))

    def _folder(self, start: _Start) -> Path:
        return self._around.state.jobs / start.id

    def _request(self, start: _Start) -> JobRequest:
        around, folder = self._around, self._folder(start)
        (folder / "home").mkdir(mode=0o700, parents=True)
        folder.chmod(0o700)
        wall = model_wall(
            self._card, start.key, folder / "home", cpus=around.profile.cpus, at_once=around.at_once,
            state=around.state, installation=around.installation, confinement=around.confinement,
        )  # fmt: skip
        task = Task(
            wall=wall,
            report_to=around.report_to,
            report_path=f"/starts/{start.id}",
            secret=start.secret,
            ready=HEALTH,
            publish_on="127.0.0.1",
            log=folder / _LOG,
            log_limit=_LOG_LIMIT,
        )
        profile = around.profile
        return JobRequest(
            name="leerlab-model",
            comment=f"{around.comment}{self._card.id}",
            partition=profile.partition,
            cpus=profile.cpus,
            memory=profile.memory,
            time=profile.time,
            gpus=profile.gpus,
            shards=profile.shards,
            script=job_script(("/usr/bin/python3", "-I", "-S", str(around.installation.code / "spawners/job.py"))),
            output=folder / _SLURM_LOG,
            environment={VARIABLE: task.to_json()},
            account=around.account,
        )

    async def _follow(self, start: _Start) -> None:
        """Look after a start's job until it ends."""
        assert start.job is not None
        running_since: float | None = None
        while True:
            try:
                job = await self._around.cluster.job(start.job)
                if job is None or job.state.ended:
                    break
                if job.state.waiting:
                    start.waiting = queued(job, 0, datetime.now(UTC)).message
                else:
                    start.waiting = None
                    running_since = running_since or time.monotonic()
                if start.port is not None and start.backend is None and job.nodes:
                    host = await self._around.cluster.address(job.nodes[0])
                    start.backend = Backend(f"http://{host}:{start.port}/v1", self._card.id, start.key)
                    start.ready.set()
                    log.info("%s can be asked", self._card.id)
                if start.backend is None and time.monotonic() - (running_since or time.monotonic()) > READY_SECONDS:
                    log.error("%s did not answer within %.0f s", self._card.id, READY_SECONDS)
                    await self._around.cluster.cancel([start.job])
                    break
            except SlurmError as error:
                # Unknown is not dead: the model may answer all the same.
                log.warning("It is not known how %s stands: %s", self._card.id, error)
            self._look.clear()
            with suppress(TimeoutError):
                pause = self._around.interval if start.backend is None else LOOK_SECONDS
                await asyncio.wait_for(self._look.wait(), pause)
        said = await asyncio.to_thread(last_lines, self._folder(start), (_LOG, _SLURM_LOG))
        log.error("The job %d of %s has ended. Its last lines:\n%s", start.job, self._card.id, said)
        if start.backend is None:
            self._failed = time.monotonic()
        self._forget(start)

    def _forget(self, start: _Start) -> None:
        start.over = True
        start.ready.set()
        if self._start is start:
            self._start, self._watch = None, None

    async def _end(self, start: _Start) -> None:
        start.over = True
        start.ready.set()
        if start.job is not None:
            try:
                await self._around.cluster.cancel([start.job])
            except SlurmError as error:
                log.error("Job %d of %s may go on: %s", start.job, self._card.id, error)
        await asyncio.to_thread(shutil.rmtree, self._folder(start), ignore_errors=True)


async def end_leftovers(around: Surroundings) -> None:
    """Cancel models' jobs of a gateway that is no more; tries until Slurm answers, at most ten minutes."""
    until = time.monotonic() + CLEAR_SECONDS
    while time.monotonic() < until:
        try:
            queue: Sequence[Job] = (await around.cluster.queue()).jobs
            left = [
                job.id
                for job in queue
                if job.comment.startswith(around.everybodys)
                and not job.comment.startswith(around.comment)
                and not job.state.ended
            ]
            await around.cluster.cancel(left)
        except SlurmError as error:
            log.warning("Jobs of an earlier gateway may still run: %s", error)
            await asyncio.sleep(LOOK_SECONDS)
            continue
        if left:
            log.info("Ended the jobs %s of an earlier gateway", left)
        return
