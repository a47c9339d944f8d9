"""When a waiting job will start, with how sure that is: Slurm's own expectation, corrected by how such ones came out.

Slurm expects a job to start when enough of those before it have used up their whole time (slurm.conf(5), backfill).
Most end sooner, and jobs with precedence may come in between. So its word alone is a latest time without a promise.
Once enough starts have shown how long the wait was in comparison with the first such word, their middle 80 per cent
say between which times this one will start.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta

from cluster.jobs import Job

FEWEST = 10
"""Starts that must have been seen before anything is said of how they came out."""
MOST = 200
"""Starts that are remembered: what held last term says little about now."""
SHORTEST = timedelta(seconds=30)
"""A shorter expected wait is over before anybody has read of it, and its proportion says nothing."""


@dataclass(frozen=True)
class Estimate:
    """When a job is expected to start.

    Args:
        latest: seconds from now, at the latest.
        earliest: seconds from now; None where nothing but Slurm's own word is known, which has no earliest.
    """

    latest: int
    earliest: int | None = None


class Estimates:
    """What one hub has learned of Slurm's expectations, since it was started."""

    def __init__(self) -> None:
        self._first: dict[int, tuple[datetime, timedelta]] = {}
        self._proportions: deque[float] = deque(maxlen=MOST)

    def see(self, job: Job, at: datetime) -> None:
        """Take note of a job that is watched: of the first word about its start, and of how it came out.

        Args:
            job: as Slurm tells it now.
            at: this moment.
        """
        if job.state.waiting:
            if job.estimate is not None and job.estimate - at >= SHORTEST:
                self._first.setdefault(job.id, (at, job.estimate - at))
        elif job.started is not None and (first := self._first.pop(job.id, None)) is not None:
            said, expected = first
            self._proportions.append(max(0.0, (job.started - said) / expected))

    def forget(self, job_id: int) -> None:
        """A job that was cancelled shows nothing."""
        self._first.pop(job_id, None)

    def of(self, job: Job, at: datetime) -> Estimate | None:
        """When a waiting job is expected to start; None while Slurm has no expectation.

        Args:
            job: as Slurm tells it now.
            at: this moment.
        """
        if job.estimate is None or job.estimate <= at:
            return None
        left = (job.estimate - at).total_seconds()
        if len(self._proportions) < FEWEST:
            return Estimate(round(left))
        ranked = sorted(self._proportions)
        low, high = (ranked[round(share * (len(ranked) - 1))] for share in (0.1, 0.9))
        return Estimate(round(left * high), round(left * low))
