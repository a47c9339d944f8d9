"""The one watcher of a hub: asks Slurm about all jobs at once, at intervals, and answers everybody from memory."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from types import TracebackType
from typing import Protocol, Self

from cluster.errors import SlurmError
from cluster.jobs import Job, JobState, Queue
from cluster.lookups import Lookups
from cluster.settings import Interval

log = logging.getLogger(__name__)

# Seconds after the last question about a job until the watcher no longer looks at it.
_FORGET = 300.0
# Seconds for which a job is looked at fast: after it was submitted, began to run, or is being ended.
_EAGER = 10.0
# Of the time, at most this part is spent waiting for an answer of Slurm: a slow Slurm is asked less often.
_SHARE = 0.2


class Absence(Enum):
    """Why there is no job to tell of."""

    GONE = "gone"
    """Slurm answered after the submission, and knows no such job: it ended, long enough ago to be forgotten."""
    UNKNOWN = "unknown"
    """No answer of Slurm is newer than the submission, or the last question failed: nothing may be concluded."""


Answer = Job | Absence
GONE = Absence.GONE
UNKNOWN = Absence.UNKNOWN


class Source(Protocol):
    """What the watcher asks: `cluster.commands.Slurm`."""

    async def queue(self) -> Queue: ...

    async def jobs(self, job_ids: Collection[int]) -> dict[int, Job]: ...


@dataclass
class _Watched:
    submitted: datetime
    asked_at: float
    eager_until: float
    waiters: int = 0
    state: JobState | None = None
    end: Answer | None = None
    end_asked: datetime | None = None


@dataclass(frozen=True)
class _Snapshot:
    queue: Queue
    jobs: dict[int, Job] = field(default_factory=dict)


class Watcher:
    """Asks Slurm once per interval for all jobs; everything else is answered from the last answer.

    Fast for some seconds after a job was submitted, began or is being ended; slower when nothing of that happens,
    however many jobs run or wait; slower still while Slurm fails or is slow. A job that is missing from an answer is
    looked up once by its number, to learn how it ended, before it is called gone.

    Args:
        slurm: the cluster's Slurm.
        interval: how often to ask.
    """

    def __init__(self, slurm: Source, interval: Interval) -> None:
        self._slurm = slurm
        self._interval = interval
        self._snapshot: _Snapshot | None = None
        self._failures = 0
        self._answered_at: float | None = None
        self._watched: dict[int, _Watched] = {}
        self._news = asyncio.Event()
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._lookups = Lookups(slurm)

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def start(self) -> None:
        """Begin to ask, in a task that `close` ends. A second call changes nothing."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="slurm-watcher")
            self._task.add_done_callback(self._stopped)

    async def close(self) -> None:
        """Stop asking; every answer is UNKNOWN from now on, and everybody who waits is told."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    @property
    def answering(self) -> bool:
        """Whether Slurm answered the last question."""
        return self._running and self._snapshot is not None and not self._failures

    @property
    def age(self) -> float | None:
        """Seconds since Slurm's last answer was complete; None before the first."""
        return None if self._answered_at is None else time.monotonic() - self._answered_at

    @property
    def queue(self) -> Queue | None:
        """Slurm's last answer, however old; None before the first."""
        return self._snapshot.queue if self._snapshot else None

    async def next_answer(self, timeout: float) -> Queue | None:  # noqa: ASYNC109
        """Wait until Slurm answers the next time.

        Args:
            timeout: most seconds to wait.

        Returns:
            The answer; None when Slurm gave none in time or the watcher was closed.
        """
        before = self._snapshot
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._running and self._snapshot is before:
                    await self._news.wait()
        return self._snapshot.queue if self._snapshot is not None and self._snapshot is not before else None

    def job(self, job_id: int, submitted: datetime) -> Answer:
        """What is known of a job, at once. Asking also tells the watcher to look at it from now on.

        Args:
            job_id: Slurm's number. Compare the comment: a Slurm that lost its state gives numbers out again.
            submitted: this machine's time when the submission had returned, with time zone.
        """
        watched = self._watch(job_id, submitted)
        if not self._resolved(watched, job_id):
            self._hurry.set()
        return self._answer(watched, job_id)

    async def look_up(self, job_id: int) -> Job | None:
        """Ask Slurm about one job now, together with all others that are asked about at this moment.

        Returns:
            The job; None when Slurm knows none of this number (any more).

        Raises:
            SlurmUnavailable: no answer.
        """
        return await self._lookups.job(job_id)

    async def wait_change(
        self,
        job_id: int,
        submitted: datetime,
        known: Answer,
        timeout: float,  # noqa: ASYNC109
        *,
        eager: bool = False,
    ) -> Answer:
        """Wait until the answer about a job is another one than the caller knows.

        Args:
            job_id, submitted: as for `job`.
            known: the answer that the caller has.
            timeout: most seconds to wait.
            eager: a change is about to come, such as the end of a job that is being cancelled: look fast.

        Returns:
            The answer, which is `known` again when nothing changed in time.
        """
        watched = self._watch(job_id, submitted)
        watched.waiters += 1
        if eager:
            watched.eager_until = asyncio.get_running_loop().time() + _EAGER
        try:
            self._hurry.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    while self._running and self._answer(watched, job_id) == known:
                        await self._news.wait()
            return self._answer(watched, job_id)
        finally:
            watched.waiters -= 1
            watched.asked_at = asyncio.get_running_loop().time()

    async def updates(self, job_id: int, submitted: datetime) -> AsyncIterator[Answer]:
        """The answer about a job, now and at each change, until it ended, is gone, or the watcher closes."""
        answer = self.job(job_id, submitted)
        yield answer
        while self._running and not _final(answer):
            known, answer = answer, await self.wait_change(job_id, submitted, answer, self._interval.failing)
            if answer != known:
                yield answer

    @property
    def _running(self) -> bool:
        return self._task is not None and not self._task.done()

    def _watch(self, job_id: int, submitted: datetime) -> _Watched:
        now = asyncio.get_running_loop().time()
        watched = self._watched.setdefault(job_id, _Watched(submitted, now, now + _EAGER))
        watched.submitted = max(watched.submitted, submitted)
        if watched.end_asked is not None and watched.end_asked < submitted:
            # The number was given out again: what was concluded was about another job.
            watched.end = watched.end_asked = None
            watched.eager_until = now + _EAGER
        watched.asked_at = now
        return watched

    def _answer(self, watched: _Watched, job_id: int) -> Answer:
        if watched.end is not None:
            return watched.end
        if not self._running or self._failures or self._snapshot is None:
            return UNKNOWN
        return self._snapshot.jobs.get(job_id, UNKNOWN)

    def _resolved(self, watched: _Watched, job_id: int) -> bool:
        return watched.end is not None or (self._snapshot is not None and job_id in self._snapshot.jobs)

    def _stopped(self, task: asyncio.Task[None]) -> None:
        self._news.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the watcher of Slurm stopped; every job's state is unknown from now on", exc_info=error)

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            begin = clock()
            try:
                snapshot = await self._ask()
            except SlurmError as error:
                self._failures += 1
                if self._failures == 1:
                    log.warning("jobs' states are unknown: %s", error)
            else:
                if self._failures:
                    log.warning("Slurm answers again after %d failed queries", self._failures)
                self._failures, self._snapshot, self._answered_at = 0, snapshot, time.monotonic()
                self._notice(snapshot, clock())
            self._tell()
            await self._pause(begin, clock() - begin)

    async def _ask(self) -> _Snapshot:
        """One query for all jobs, and one more for those that are watched and missing from it."""
        self._forget()
        queue = await self._slurm.queue()
        jobs = {job.id: job for job in queue.jobs}
        missing = [
            job_id
            for job_id, watched in self._watched.items()
            if job_id not in jobs and watched.end is None and watched.submitted <= queue.asked
        ]
        for job_id, end in (await self._ends(missing)).items():
            if isinstance(end, Job) and not end.state.ended:
                jobs[job_id] = end
            else:
                self._watched[job_id].end, self._watched[job_id].end_asked = end, queue.asked
        return _Snapshot(queue, jobs)

    async def _ends(self, job_ids: Collection[int]) -> dict[int, Answer]:
        """How missing jobs ended; nothing of any of them when Slurm does not answer."""
        if not job_ids:
            return {}
        try:
            found = await self._slurm.jobs(job_ids)
        except SlurmError as error:
            log.warning("how jobs ended is unknown for now: %s", error)
            return {}
        return {job_id: found.get(job_id, GONE) for job_id in job_ids}

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _pause(self, begin: float, took: float) -> None:
        """Wait for the next query; somebody who begins to wait shortens it, never below the fast interval."""
        clock = asyncio.get_running_loop().time
        while True:
            self._hurry.clear()
            left = max(begin + self._seconds(), begin + took / _SHARE) - clock()
            if left <= 0:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._hurry.wait()

    def _seconds(self) -> float:
        usual = self._interval.starting if self._urgent() else self._interval.idle
        return (
            min(usual * 2.0 ** min(self._failures, 20), max(self._interval.failing, usual)) if self._failures else usual
        )

    def _urgent(self) -> bool:
        now = asyncio.get_running_loop().time()
        return any(watched.end is None and watched.eager_until > now for watched in self._watched.values())

    def _notice(self, snapshot: _Snapshot, now: float) -> None:
        """Look fast at a job that has begun to run: it may end at once, before its server answers."""
        for job_id, watched in self._watched.items():
            job = snapshot.jobs.get(job_id)
            state = job.state if job is not None else None
            if watched.state is not None and watched.state.waiting and state is not None and not state.waiting:
                watched.eager_until = now + _EAGER
            watched.state = state

    def _forget(self) -> None:
        oldest = asyncio.get_running_loop().time() - _FORGET
        self._watched = {
            job_id: watched
            for job_id, watched in self._watched.items()
            if watched.waiters or watched.asked_at >= oldest
        }


def _final(answer: Answer) -> bool:
    return answer is GONE or (isinstance(answer, Job) and answer.state.ended)
