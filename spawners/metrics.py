"""Numbers for operators on starts and servers, in the registry that JupyterHub serves at /hub/metrics.

No label has a value that a person chose or that tells one person from another: labels are outcomes, the last words of
our own message codes, and states of jobs.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta

from prometheus_client import REGISTRY, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from base.messages import Message
from cluster.jobs import Job, JobState
from cluster.watcher import Watcher
from spawners.failures import SpawnRefused, StartFailed
from spawners.starts import Start, of_comment

log = logging.getLogger(__name__)

CANCELLED = "start.failed.cancelled"
STARTS = Counter(
    "leerlab_starts",
    "Starts of servers that came to an end: ready, failed, refused (not allowed, nothing was submitted) or cancelled; "
    "reason: why one failed or was refused, the last word of the message that the person saw.",
    ["outcome", "reason"],
)
_LONG = (0.5, 1, 2, 3, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400)
WAIT = Histogram(
    "leerlab_start_wait_seconds", "Seconds that the jobs of ready starts waited in Slurm's queue.", buckets=_LONG
)
READY = Histogram(
    "leerlab_start_ready_seconds",
    "Seconds from a request to the answer of the server, the time in Slurm's queue included.",
    buckets=_LONG,
)


About = Callable[[], Mapping[str, str | int | None]]


@contextmanager
def counted(about: About) -> Iterator[None]:
    """Count how the start ends that happens inside, and write one line about it.

    Args:
        about: what the line tells beside the outcome: ids, nothing of a person.
    """
    try:
        yield
    except asyncio.CancelledError:
        _count("cancelled", "", about)
        raise
    except SpawnRefused as refusal:
        refused(refusal)
        raise
    except StartFailed as failure:
        if failure.code.code == CANCELLED:
            _count("cancelled", "", about)
        else:
            _count("failed", _reason(failure.code), about)
        raise
    except BaseException:
        _count("failed", "error", about)
        raise
    _count("ready", "", about)


def refused(refusal: SpawnRefused) -> None:
    """Count a start that was not allowed."""
    _count("refused", _reason(refusal.code), dict)


def _count(outcome: str, reason: str, about: About) -> None:
    STARTS.labels(outcome, reason).inc()
    told = {"event": "start", "outcome": outcome, "reason": reason, **about()}
    log.info("A start ended: %s%s", outcome, f" ({reason})" if reason else "", extra=told)


def ready(start: Start, job: Job | None, at: datetime) -> None:
    """Count how long a start took that has become ready.

    Args:
        start: the start.
        job: its job as Slurm told it last; None when Slurm did not.
        at: this moment.
    """
    READY.observe(max(0.0, (at - start.requested).total_seconds()))
    if job is not None and job.started is not None:
        # Both by Slurm's own clock.
        WAIT.observe(max(timedelta(), job.started - job.submitted).total_seconds())


def _reason(message: Message) -> str:
    return message.code.rpartition(".")[2]


class WatcherNumbers(Collector):
    """What the watcher knows, looked up when somebody asks for the numbers.

    Args:
        watcher: the hub's.
        hub: the hub's id: other jobs than its own are not counted.
    """

    def __init__(self, watcher: Watcher, hub: str) -> None:
        self._watcher, self._hub = watcher, hub

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The numbers now."""
        answering = GaugeMetricFamily("leerlab_slurm_answering", "1 while Slurm answered the watcher's last question.")
        answering.add_metric([], int(self._watcher.answering))
        yield answering
        age = GaugeMetricFamily("leerlab_watcher_age_seconds", "Seconds since Slurm's last answer; none before it.")
        if self._watcher.age is not None:
            age.add_metric([], self._watcher.age)
        yield age
        servers = GaugeMetricFamily(
            "leerlab_servers", "This hub's servers in Slurm's last answer, by state.", labels=["state"]
        )
        for state, number in self._servers().items():
            servers.add_metric([state], number)
        yield servers

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The same names, without asking the watcher."""
        for name in ("leerlab_slurm_answering", "leerlab_watcher_age_seconds", "leerlab_servers"):
            yield GaugeMetricFamily(name, "")

    def _servers(self) -> dict[str, int]:
        found: Tally[str] = Tally({"pending": 0, "running": 0, "other": 0})
        for job in self._watcher.queue.jobs if self._watcher.queue else ():
            mark = of_comment(job.comment)
            if mark is not None and mark[0] == self._hub:
                running = job.state is JobState.RUNNING
                found["pending" if job.state.waiting else "running" if running else "other"] += 1
        return found


def show(numbers: WatcherNumbers) -> None:
    """Add them to what JupyterHub serves."""
    REGISTRY.register(numbers)


def hide(numbers: WatcherNumbers) -> None:
    """Take them away."""
    REGISTRY.unregister(numbers)
