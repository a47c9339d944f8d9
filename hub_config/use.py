"""Collects what jobs used into the ledger: the wrappers' counts, and what Slurm says of how long each job ran.

The collector holds nothing that matters in memory. A row is committed before the job's file is removed, and a row that
is written twice is the same row; so it may be killed anywhere, and two of them do no harm. While Slurm is silent,
nothing is removed and nothing is final.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from base.energy import Energy
from base.errors import LeerlabError
from base.paths import State
from cluster.errors import SlurmError
from cluster.jobs import Job
from cluster.records import JobRecord, thousandths
from cluster.settings import EmbeddedCluster, ExistingCluster
from ledger.energy import of_gpus, of_processors
from ledger.settings import EnergySettings
from ledger.use import GPU, Use, UseLedger
from spawners.fetching import Fetching
from spawners.use import About, Counted, about_of, counted_in, forget, uncollected

LOOK_SECONDS = 60.0
FORGET_SECONDS = 86_400.0
SKEW = timedelta(minutes=5)
"""By how much Slurm's clock may be behind the hub's: a record from longer before is another job of the same number."""
LOST = timedelta(days=7)
"""How long Slurm may not know a job, until what its wrapper counted is taken, or it is taken never to have run."""

log = logging.getLogger("leerlab.use")


class Queue(Protocol):
    """What is asked of Slurm: `cluster.commands.Slurm`."""

    async def recent(self) -> Sequence[Job]: ...


class Accounting(Protocol):
    """What is asked of its accounting: `cluster.records.Records`."""

    async def of(self, jobs: Collection[int]) -> Mapping[int, list[JobRecord]]: ...


@dataclass(frozen=True)
class Ran:
    """How long a job ran and of what, as somebody says.

    Args:
        source: who says so.
        job: Slurm's number; None when it is not known.
        begun: when.
        seconds: how long, up to now for one that runs.
        cores: processor cores.
        gpu_thousandths: thousandths of a GPU.
        ended: whether it is over.
    """

    source: str
    job: int | None
    begun: datetime
    seconds: int
    cores: int
    gpu_thousandths: int
    ended: bool


@dataclass(frozen=True)
class _Pending:
    """A job of which not everything is in the ledger."""

    folder: Path
    about: About
    counted: Counted | None


class Collector:
    """Brings what jobs used into the ledger.

    Args:
        state: the site's state folder.
        ledger: where to.
        energy: the section of site.yaml.
        cluster: the section of site.yaml.
        slurm: tells what runs or ended a short while ago.
        records: Slurm's accounting; None where there is none.
        fetching: brings what jobs of people's own accounts counted; None on a site with one account.
    """

    def __init__(
        self,
        state: State,
        ledger: UseLedger,
        energy: EnergySettings,
        cluster: EmbeddedCluster | ExistingCluster,
        *,
        slurm: Queue,
        records: Accounting | None,
        fetching: Fetching | None = None,
    ) -> None:
        self._state = state
        self._ledger = ledger
        self._energy = energy
        self._cluster = cluster
        self._slurm = slurm
        self._records = records
        self._fetching = fetching
        self._task: asyncio.Task[None] | None = None
        self._forgot = float("-inf")

    def __deepcopy__(self, memo: dict[int, Any]) -> Collector:
        """traitlets copies every configured value; there is one."""
        return self

    def begin(self) -> None:
        """Collect from now on."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop, and wait until that is done."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                await self.look()
                if loop.time() - self._forgot >= FORGET_SECONDS:
                    self._forgot = loop.time()
                    await asyncio.to_thread(self._ledger.forget, self._energy.days_kept)
            except SlurmError as error:
                log.warning("What jobs used is collected later: %s", error)
            except (LeerlabError, OSError):
                log.exception("What jobs used could not be collected; the next look tries again")
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> int:
        """Collect once.

        Returns:
            Of how many jobs everything is in the ledger now that was not before.

        Raises:
            SlurmUnavailable: Slurm does not answer; nothing is lost.
            LeerlabError: the ledger cannot be written; nothing is lost.
        """
        pending = await asyncio.to_thread(self._pending)
        if not pending:
            return 0
        jobs = {job.comment: job for job in sorted(await self._slurm.recent(), key=lambda job: job.id)}
        if self._fetching is not None:
            running = {comment for comment, job in jobs.items() if not job.state.ended}
            await self._fetching.fetch([one.about.comment for one in pending], running)
            pending = await asyncio.to_thread(self._pending)
        numbers = {one.about.comment: self._number(one, jobs) for one in pending}
        known = {number for number in numbers.values() if number is not None}
        records = await self._records.of(known) if self._records is not None and known else {}
        now, done, rows = datetime.now(UTC), list[Path](), list[Use]()
        for one in pending:
            job, number = jobs.get(one.about.comment), numbers[one.about.comment]
            if job is not None and job.state.waiting:
                continue
            ran = self._ran(one, number, job, records.get(number, []) if number is not None else [])
            if ran is None:
                ran = self._of_itself(one, now) if job is None else None
            if ran is not None and (ran.seconds or one.counted is not None):
                rows.append(row(one.about, one.counted, ran, self._energy.watts_per_core))
            if (ran is not None and ran.ended) or (ran is None and job is None and now - one.about.written > LOST):
                done.append(one.folder)
        await asyncio.to_thread(self._settle, rows, done)
        return len(done)

    def _pending(self) -> list[_Pending]:
        found = []
        for folder in uncollected(self._state):
            if (about := about_of(folder)) is not None:
                found.append(_Pending(folder, about, counted_in(folder)))
            elif time.time() - folder.stat().st_mtime > LOST.total_seconds():
                forget(
                    folder
                )  # The hub was killed before it had written for whom a job is, and so before there was one.
        return found

    def _settle(self, rows: Sequence[Use], done: Sequence[Path]) -> None:
        self._ledger.put(rows)
        for folder in done:
            forget(folder)

    def _number(self, one: _Pending, jobs: Mapping[str, Job]) -> int | None:
        if (job := jobs.get(one.about.comment)) is not None:
            return job.id
        if one.about.job is not None:
            return one.about.job
        return one.counted.job if one.counted is not None else None

    def _ran(self, one: _Pending, number: int | None, job: Job | None, records: Sequence[JobRecord]) -> Ran | None:
        """What Slurm says; None where it says nothing yet, or nothing any more."""
        if self._records is not None:
            own = [record for record in records if record.submitted >= one.about.written - SKEW]
            if not own:
                return None
            begun = [record.started for record in own if record.started is not None]
            return Ran(
                "sacct", number, min(begun, default=own[0].submitted), sum(record.seconds for record in own),
                own[-1].cores, own[-1].gpu_thousandths, all(record.ended for record in own),
            )  # fmt: skip
        if job is None:
            return None
        begun_at = job.started or job.ended or job.submitted
        until = job.ended or datetime.now(UTC)
        seconds = max(0, round((until - begun_at).total_seconds())) if job.started is not None else 0
        cores = one.counted.cores if one.counted is not None and one.counted.cores else one.about.cores
        return Ran("slurm", number, begun_at, seconds, cores, self._asked_gpus(one.about), job.state.ended)

    def _of_itself(self, one: _Pending, now: datetime) -> Ran | None:
        """What the wrapper itself counted, of a job that Slurm has forgotten; None while Slurm may still tell."""
        counted = one.counted
        # slurmdbd may be away for days, and tells then.
        certain = self._records is None and counted is not None and counted.last
        if counted is None or (not certain and now - one.about.written < LOST):
            return None
        begun = datetime.fromtimestamp(max(0.0, counted.time - counted.seconds), UTC)
        cores, gpus = counted.cores or one.about.cores, self._asked_gpus(one.about)
        return Ran("job", counted.job, begun, round(counted.seconds), cores, gpus, True)

    def _asked_gpus(self, about: About) -> int:
        return thousandths(self._cluster, about.partition, about.gpus, about.shards, about.gpu_type)


def row(about: About, counted: Counted | None, ran: Ran, watts_per_core: float) -> Use:
    """The ledger's row of a job.

    Args:
        about: what was known when it was submitted.
        counted: what its wrapper counted; None when it did not.
        ran: how long it ran, and of what.
        watts_per_core: power of one busy core.
    """
    core_seconds = ran.seconds * ran.cores
    cpu_seconds = counted.cpu_seconds if counted is not None else 0.0
    # What came after the wrapper's last line, such as when it was killed: the job may have used all its cores or none.
    unseen = ran.seconds - counted.seconds if counted is not None else float(ran.seconds)
    missed = unseen if counted is None or not counted.last else 0.0
    energy = of_processors(cpu_seconds, watts_per_core, max(0.0, missed) * ran.cores)
    gpu_joules: float | None = None if ran.gpu_thousandths else 0.0
    if counted is not None and counted.gpu is not None:
        part = min(1.0, ran.gpu_thousandths / GPU) if counted.shared else None
        gpus = of_gpus(Energy(*counted.gpu), part)
        gpu_joules = gpus.joules
        energy += gpus
    elif counted is not None and not counted.gpus and not ran.gpu_thousandths:
        gpu_joules = 0.0
    return Use(
        id=about.comment, job=ran.job, person=about.purpose.person, place=about.purpose.place,
        place_id=about.purpose.place_id, begun=ran.begun.timestamp(), seconds=ran.seconds, core_seconds=core_seconds,
        cpu_seconds=cpu_seconds, gpu_thousandths=ran.seconds * ran.gpu_thousandths, joules=energy.joules,
        least=energy.least, most=energy.most, gpu_joules=gpu_joules,
        measured=bool(counted is not None and counted.gpu is not None), source=ran.source, final=ran.ended,
    )  # fmt: skip
