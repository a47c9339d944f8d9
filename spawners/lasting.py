"""The part of the spawner that knows how long a server may run, lengthens it, and remembers why the last one ended."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from base.messages import Message
from cluster.jobs import Job, JobState
from spawners import failed
from spawners.ends import Ended, ending
from spawners.starts import Start, utcnow
from spawners.telling import TellingSpawner
from spawners.walltime import TimeLeft


class LastingSpawner(TellingSpawner):
    """The end of one server: when it comes, whether it can come later, and why it came."""

    last_end: Ended | None = None
    """Why the last server ended by something else than its owner's wish; None: it did not, or another one has begun."""

    def __init__(self, **kwargs: Any) -> None:
        self._one_step_at_a_time = asyncio.Lock()
        super().__init__(**kwargs)

    def is_own_token(self, token: int) -> bool:
        """Whether this is the database id of the running server's API token."""
        start = self._start
        return start is not None and start.token == token and start.id not in self._ended

    async def time_left(self) -> TimeLeft:
        """When Slurm ends the server, and whether its time can be lengthened."""
        start, job = self._start, self._job()
        if start is None:
            return TimeLeft(None)
        left = max(0, start.steps - start.lengthened)
        return TimeLeft(job.ends if isinstance(job, Job) else None, start.step if left else 0, left)

    async def lengthen(self) -> TimeLeft | None:
        """Give the server one more step of time, if its profile has one left; None if not, or if it does not run.

        The new limit follows from how many steps were given, so that a hub killed in between gives none twice.

        Raises:
            SlurmUnavailable: nothing is known to have changed.
            SlurmRefused: Slurm does not do it.
        """
        async with self._one_step_at_a_time:
            start, job = self._start, self._job()
            if (
                start is None
                or start.lengthened >= start.steps
                or not isinstance(job, Job)
                or job.state is not JobState.RUNNING
                or job.started is None
            ):
                return None
            limit = timedelta(seconds=start.time + (start.lengthened + 1) * start.step)
            if job.ends is not None and job.ends - job.started > limit:
                # An operator has given it more already.
                limit = job.ends - job.started + timedelta(seconds=start.step)
            await self.facility.slurm.set_time_limit(job.id, limit)
            lengthened = replace(start, lengthened=start.lengthened + 1)
            if self._start is start:
                self._keep(lengthened)
            left = lengthened.steps - lengthened.lengthened
            return TimeLeft(job.started + limit, start.step if left else 0, left)

    # -- why it ended

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up why the last server ended, too."""
        super().load_state(state)
        self.last_end = Ended.from_state(state.get("last_end"))

    def get_state(self) -> dict[str, Any]:
        """With why the last server ended."""
        state = super().get_state()
        if self.last_end is not None:
            state["last_end"] = self.last_end.to_state()
        return state

    def _note_end(self) -> None:
        """A server that had been there has ended by itself: remember why, as far as Slurm tells."""
        start = self._start
        if start is None or self._end_is_noted(start):
            return
        job = self._job()
        message = ending(job if isinstance(job, Job) else None, site_stopped=self._site_stopped_since(start.attempted))
        self.last_end = Ended(message, utcnow(), start.id)
        failed.write_down(self.facility.state.jobs, start.id, self.last_end.message, self.last_end.at)

    def _end_is_noted(self, start: Start) -> bool:
        """A start that failed tells its own reason, and an end is seen once."""
        return start.port is None or (self.last_end is not None and self.last_end.start == start.id)

    def _site_stopped_since(self, moment: datetime) -> bool:
        try:
            return self.facility.state.stopped.stat().st_mtime > moment.timestamp()
        except FileNotFoundError:
            return False

    def note_idle(self) -> None:
        """The server is being stopped because nobody has used it."""
        if self._start is not None:
            self.last_end = Ended(Message("server.ended.idle"), utcnow(), self._start.id)

    @property
    def last_end_log(self) -> str:
        """The last lines of the server that `last_end` is about, of the person's own code perhaps: text only."""
        return failed.lines_of(self.facility.state.jobs, self.last_end.start) if self.last_end is not None else ""
