"""The part of the spawner that tells a waiting person where the start stands, until when, and what could start now."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, ClassVar

from base.messages import Message
from cluster.jobs import Job
from cluster.watcher import UNKNOWN, Answer
from spawners import waiting
from spawners.change import first_of
from spawners.estimates import Estimates
from spawners.memory import RememberingSpawner
from spawners.offers import SECONDS as LOOK_SECONDS
from spawners.offers import Looks, startable
from spawners.settings import Profile
from spawners.starts import Start, utcnow

EVENT_SECONDS = 5.0
OFFER_AFTER_SECONDS = 3.0
"""A start that waits for less is one that Slurm has not looked at yet: nothing else would be quicker."""


class TellingSpawner(RememberingSpawner):
    """What is known of one server's job at this moment, in words that a page can show."""

    looks: ClassVar[Looks]
    """Set when the hub starts."""
    estimates: ClassVar[Estimates] = Estimates()

    _slurm_silent = False

    def _job(self) -> Answer:
        """The job as the watcher remembers it."""
        start = self._start
        if start is None or start.job is None or start.submitted is None:
            return UNKNOWN
        return self.facility.watcher.job(start.job, start.submitted)

    async def _news(self, seen: int, start: Start | None, known: Answer, seconds: float) -> None:
        """Wait for the report, another word of Slurm about the job, or the end of the time.

        Args:
            seen: `self._change.count` before `start` and `known` were looked at.
            start: the present start.
            known: what is known of its job.
            seconds: most time to wait.
        """
        waits: list[Any] = [self._change.wait(seen)]
        if start is not None and start.job is not None and start.submitted is not None:
            waits.append(self.facility.watcher.wait_change(start.job, start.submitted, known, seconds))
        await first_of(*waits, seconds=seconds)

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Events with `progress`, `message` in the site's language, `code`, `params` and `offers`; never HTML.

        The parameter `log` of a failure holds lines that a person's own code may have written: show it as text.
        """
        while True:
            offers, seen = await self.offers(), self._change.count
            at = self._standing()
            yield {
                "progress": at.progress,
                "message": self.facility.say(at.message),
                "code": at.message.code,
                "params": dict(at.message.params),
                "offers": [{"profile": one.id, "title": one.title.model_dump()} for one in offers],
            }
            if self._failure is not None:
                return
            await self._news(seen, self._start, self._job(), EVENT_SECONDS)

    def _standing(self) -> waiting.Waiting:
        """Where the start stands now."""
        if self._failure is not None:
            return waiting.Waiting(100, self._failure)
        if self._start is None:
            return waiting.Waiting(0, Message("start.requested", {"waited": 0}))
        watcher = self.facility.watcher
        return waiting.standing(
            self._start, self._job(), utcnow(),
            silent=self._slurm_silent or (self._start.job is not None and not watcher.answering),
            estimates=self.estimates,
        )  # fmt: skip

    @property
    def last_message(self) -> Message:
        """Where the start stands now, for a page that is asked for."""
        return self._standing().message

    async def offers(self, oldest: float = LOOK_SECONDS) -> list[Profile]:
        """The choices of this person's that could start now in place of a start that waits in Slurm's queue.

        Args:
            oldest: most seconds since the nodes were looked at; 0 for an answer that something is done upon.
        """
        start, job, queue = self._start, self._job(), self.facility.watcher.queue
        if self._failure is not None or start is None or queue is None or not isinstance(job, Job):
            return []
        others = [one for one in self.facility.profiles_for(self.user) if one.id != start.profile]
        if not others or not job.state.waiting or (utcnow() - start.requested).total_seconds() < OFFER_AFTER_SECONDS:
            return []
        return startable(others, job, queue.jobs, await self.looks.nodes(oldest))
