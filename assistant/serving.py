"""A local model as one Slurm job on demand: started by the first question, ended when nobody asks, never in the way.

Nobody waits in here: a question that comes while the model is not there gets told why, and when to ask again. What is
known of a model's job stands in a file of its own, so that a restarted gateway finds its model again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

from assistant.errors import Code, Refusal, unreachable
from assistant.model_jobs import ModelJob
from base.messages import Message
from base.ports import LOOPBACK
from cluster.errors import SlurmRefused, SlurmUnavailable
from cluster.jobs import Job
from cluster.request import JobRequest

AGAIN_SECONDS = 2.0
"""After which a question is worth asking again while a model starts."""
LOOK_SECONDS = 1.0
"""Between two looks at a job that starts."""
WATCH_SECONDS = 10.0
"""Between two looks at one that serves."""
START_SECONDS = 300.0
"""From the job's start until its model answers: large models take minutes to load."""
PAUSE_SECONDS = 15.0
"""After a start that failed, before the next: whoever asks meanwhile is told so."""
COMMENT = "assistant:"

# Slurm's reasons that mean: everything is in use (squeue(1), JOB REASON CODES).
_FULL = frozenset({"Resources", "Priority"})
_WORD = re.compile(r"[^A-Za-z0-9_]")

log = logging.getLogger("assistant")


class Cluster(Protocol):
    """What a local model needs of Slurm; `cluster.commands.Slurm` has it."""

    async def submit(self, request: JobRequest) -> int: ...
    async def find(self, comment: str) -> Sequence[Job]: ...
    async def job(self, job_id: int) -> Job | None: ...
    async def address(self, node: str) -> str: ...
    async def cancel(self, job_ids: Collection[int]) -> None: ...


@dataclass(frozen=True)
class Start:
    """What is known of a model's job.

    Args:
        id: 24 hexadecimal digits; its folder's name and half of its comment.
        key: that the model's server asks for.
        secret_hash: SHA-256 of the one-time secret with which its wrapper reports the port.
        job: Slurm's number; None until Slurm has taken it.
        port: where it answers; None until it has reported.
        host: the address of the node on which it answers; None until Slurm has told.
    """

    id: str
    key: str
    secret_hash: str
    job: int | None = None
    port: int | None = None
    host: str | None = None


@dataclass(frozen=True)
class Endpoint:
    """Where a model is asked.

    Args:
        address: up to and with `/v1`.
        key: what it asks for; empty where nothing.
        name: what the model is called there.
    """

    address: str
    key: str
    name: str


class LocalModel:
    """One model and its job.

    Args:
        model: what its job is like.
        hub: id of this hub, the first part of its job's comment.
        cluster: Slurm's commands.
        folder: of the site's secrets; keeps what is known of the job.
        idle: seconds without a question after which the job ends.
    """

    def __init__(
        self,
        model: ModelJob,
        *,
        hub: str,
        cluster: Cluster,
        folder: Path,
        idle: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._comment = f"{hub}:{COMMENT}"
        self._cluster = cluster
        self._file = folder / f"assistant-{model.id}.json"
        self._idle = idle
        self._clock = clock
        self._start = self._read()
        self._asked = clock()
        self._open = 0
        self._begun: float | None = None
        self._reason = Message("assistant.starting")
        self._silent = False
        self._failed: tuple[float, Message] | None = None
        self._task: asyncio.Task[None] | None = None
        self._look_now = asyncio.Event()

    # -- for questions

    def endpoint(self) -> Endpoint:
        """Where the model answers now; starts it where it does not.

        Raises:
            Refusal: it is starting (503, with the reason), or could not be started.
        """
        self._asked = self._clock()
        start = self._start
        if start is not None and start.port is not None and start.host is not None:
            return Endpoint(f"http://{start.host}:{start.port}/v1", start.key, self._model.id)
        if self._failed is not None and self._clock() - self._failed[0] < PAUSE_SECONDS:
            raise unreachable(self._failed[1].code, again=PAUSE_SECONDS)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._live())
        if self._silent:
            raise unreachable("assistant.unreachable.cluster", again=LOOK_SECONDS * 5)
        raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, Code.STARTING, self._reason, again=AGAIN_SECONDS)

    def begin(self) -> None:
        """A question is with the model: it is not idle until `end`."""
        self._open += 1

    def end(self) -> None:
        """A question is done."""
        self._open -= 1
        self._asked = self._clock()

    def unanswered(self) -> None:
        """Nobody answers where the model was: see at once whether its job has ended."""
        self._look_now.set()

    # -- for the job's wrapper

    def report(self, start: str, secret: str, port: int) -> HTTPStatus:
        """The wrapper's report of its port: what `spawners.job` understands.

        Returns:
            204 taken, 403 wrong secret, 404 no such start, 409 another port than before.
        """
        known = self._start
        if known is None or known.id != start:
            return HTTPStatus.NOT_FOUND
        if not secrets.compare_digest(_hash(secret), known.secret_hash):
            return HTTPStatus.FORBIDDEN
        if known.port is not None:
            return HTTPStatus.NO_CONTENT if known.port == port else HTTPStatus.CONFLICT
        self._failed = None
        here = self._model.publish_on == LOOPBACK
        self._keep(replace(known, port=port, host=LOOPBACK if here else None))
        log.info("Model %s answers", self._model.id)
        self._look_now.set()
        return HTTPStatus.NO_CONTENT

    # -- its life

    def resume(self) -> None:
        """After a restart of the gateway: look after a job that was there before."""
        if self._start is not None:
            self._task = asyncio.create_task(self._live())

    async def close(self) -> None:
        """The gateway ends; the job stays, to be found again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _live(self) -> None:
        """Start the job where there is none, and look after it until it has ended."""
        try:
            if self._start is None:
                await self._submit()
            while self._start is not None:
                await self._turn()
        except SlurmRefused as error:
            log.error("Model %s: %s", self._model.id, error)
            self._give_up(Message("assistant.unreachable.refused"))
        except OSError as error:
            log.error("Model %s could not be started: %s", self._model.id, error)
            self._give_up(Message("assistant.unreachable.failed"))

    async def _submit(self) -> None:
        secret = secrets.token_urlsafe(32)
        start = Start(secrets.token_hex(12), secrets.token_urlsafe(32), _hash(secret))
        self._begun, self._reason = None, Message("assistant.starting")
        request = await asyncio.to_thread(self._model.request, start.id, self._comment, start.key, secret)
        self._keep(start)
        try:
            job = await self._cluster.submit(request)
        except SlurmUnavailable as error:
            # The job may exist all the same: it is looked for by its comment once Slurm answers.
            log.warning("Model %s: %s", self._model.id, error.what)
            self._silent = True
            return
        self._keep(replace(self._start or start, job=job))
        log.info("Model %s is job %d", self._model.id, job)

    async def _turn(self) -> None:
        """One look at the job."""
        start = self._start
        assert start is not None
        self._look_now.clear()
        try:
            job = await self._job(start)
        except SlurmUnavailable as error:
            # Unknown is not dead: a model that answers goes on, one that waits keeps its place.
            log.warning("Model %s: %s", self._model.id, error.what)
            self._silent = True
            await self._pause(start)
            return
        self._silent = False
        if job is None and start.job is None:
            # Slurm never took it: the next question tries again.
            self._forget()
            return
        if job is None or job.state.ended:
            self._ended(start, job)
            return
        if start.port is None:
            self._waits(job)
            if self._begun is not None and self._clock() - self._begun > START_SECONDS:
                log.error("Model %s did not answer within %.0f s", self._model.id, START_SECONDS)
                if await self._cancel(job):
                    self._give_up(Message("assistant.unreachable.failed"))
                    return
        elif start.host is None and job.nodes:
            await self._find_host(start, job.nodes[0])
        if not self._open and self._clock() - self._asked > self._idle:
            log.info("Model %s: nobody asks, it ends", self._model.id)
            if await self._cancel(job):
                self._forget()
                return
        await self._pause(start)

    async def _find_host(self, start: Start, node: str) -> None:
        """Ask Slurm where the model's node is: a job tells its port, never its host."""
        try:
            host = await self._cluster.address(node)
        except SlurmUnavailable as error:
            log.warning("Model %s: %s", self._model.id, error.what)
            return
        if self._start is start:
            self._keep(replace(start, host=host))

    async def _job(self, start: Start) -> Job | None:
        comment = self._comment + start.id
        if start.job is None:
            found = await self._cluster.find(comment)
            if found and self._start is start:
                self._keep(replace(start, job=found[-1].id))
            return found[-1] if found else None
        job = await self._cluster.job(start.job)
        # After a reset of Slurm the same number can be somebody else's job.
        return job if job is not None and job.comment == comment else None

    async def _cancel(self, job: Job) -> bool:
        try:
            await self._cluster.cancel([job.id])
        except (SlurmRefused, SlurmUnavailable) as error:
            log.error("Model %s: %s", self._model.id, error)
            return False
        return True

    def _waits(self, job: Job) -> None:
        if job.state.waiting:
            reason = _WORD.sub("", (job.reason or "None").partition(",")[0])
            code = "assistant.starting.full" if reason in _FULL else "assistant.starting.queued"
            self._reason = Message(code, {"reason": reason})
            return
        if self._begun is None:
            self._begun = self._clock()
        self._reason = Message("assistant.starting")

    def _ended(self, start: Start, job: Job | None) -> None:
        """The job is gone, and nobody here asked for that; one that never answered is a failure."""
        what = job.state.value if job is not None else "unknown to Slurm"
        log.warning("Model %s: its job has ended (%s)", self._model.id, what)
        if start.port is None:
            self._give_up(Message("assistant.unreachable.failed"))
        else:
            self._forget()

    def _give_up(self, why: Message) -> None:
        self._failed = (self._clock(), why)
        self._forget()

    async def _pause(self, start: Start) -> None:
        """Until the next look is due, a report has come, or a question found nobody."""
        serving = self._start is not None and self._start.host is not None
        seconds = min(WATCH_SECONDS, max(LOOK_SECONDS, self._idle / 4)) if serving else LOOK_SECONDS
        try:
            async with asyncio.timeout(seconds):
                await self._look_now.wait()
        except TimeoutError:
            return

    # -- what is known

    def _keep(self, start: Start) -> None:
        self._start = start
        fresh = self._file.with_suffix(".fresh")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(start), file)
        fresh.replace(self._file)

    def _forget(self) -> None:
        start, self._start = self._start, None
        self._reason = Message("assistant.starting")
        self._file.unlink(missing_ok=True)
        if start is not None:
            # What its server wrote is of use only where it failed; then it stays until the next one that fails.
            self._model.clear(None if self._failed is None else start.id)

    def _read(self) -> Start | None:
        try:
            return Start(**json.loads(self._file.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            log.error("%s cannot be read and is left out: %s", self._file.name, error)
            return None


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def model_of(models: Sequence[LocalModel], start: str, secret: str, port: int) -> HTTPStatus:
    """Give a report to the model whose it is.

    Returns:
        What to answer the wrapper; 404 when it is none of these.
    """
    for model in models:
        status = model.report(start, secret, port)
        if status != HTTPStatus.NOT_FOUND:
            return status
    return HTTPStatus.NOT_FOUND
