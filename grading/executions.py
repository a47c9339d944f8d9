"""Graded notebooks as Slurm jobs behind walls: sent by a course account, run by the cluster, collected without trust.

One execution is one job for one notebook or many, and one folder `jobs/<id>`: `home` (the wall's, with a folder for
each notebook), `execution.json` (what was asked), `outcome.json` (written by the job's wrapper outside the wall) and
the job's log. What an execution's state is follows from that folder and from Slurm, so that a restart of the service
loses none.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
import os
import re
import secrets
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Protocol
from weakref import WeakValueDictionary

from pydantic import BaseModel, ConfigDict

from base.paths import Installation, State
from base.quantities import Size
from cluster.errors import SlurmRefused, SlurmUnavailable
from cluster.jobs import Job, JobState
from cluster.request import JobRequest
from cluster.script import job_script
from confinement.collect import CollectRefused, read_file
from confinement.settings import ConfinementSettings
from grading.errors import NotFound, Unavailable, WrongTree
from grading.job import VARIABLE, Task
from grading.names import file_path
from grading.plans import EXECUTED, FILES, NOTEBOOK, OUTCOME, RunBounds, execution_memory, execution_wall
from grading.store import Incoming
from grading.tree import TreeLimits, remove
from ledger.use import Place, Purpose
from spawners import use
from spawners.settings import Profile

LARGEST_RESULT = 64 * 2**20
MOST_ITEMS = 100
"""Notebooks of one execution."""
KEPT = timedelta(days=7)
MOST_CLEARED = 1000
"""Old executions removed at one start of the service: the rest goes at the next."""
COMMENT = "grading:"
PYTHON = "/usr/bin/python3"
# What the wall's start and end and Slurm's own bookkeeping may take beside the notebook's time.
SPARE_SECONDS = 90
WARM_SECONDS = 60
"""Until the first notebook of a job can begin: what they all import is imported once, before."""
_SMALL = 4096
_KILLED = 137
# Slurm ends such a job like any other and tells the reason only in the job's output (slurm 22.05, jobacct_gather.c and
# task/cgroup).
_OVER_MEMORY = re.compile(r"slurmstepd[^\n]*(?:exceeded memory limit|oom[-_ ]kill)", re.IGNORECASE)
_LOG_CHARACTERS = 2**16
_ID = re.compile(r"[0-9a-f]{24}\Z")
_ITEM = re.compile(r"(?:0|[1-9][0-9]{0,3})\Z")

log = logging.getLogger("grading")


class Outcome(StrEnum):
    """How a notebook's run ended. `done`, `time` and `memory` are the notebook's own doing."""

    DONE = "done"
    TIME = "time"
    MEMORY = "memory"
    CANCELLED = "cancelled"
    NOT_STARTED = "not_started"
    LOST = "lost"


_SENTENCES = {
    Outcome.DONE: "The notebook was run.",
    Outcome.TIME: "The notebook took longer than it may and was stopped.",
    Outcome.MEMORY: "The notebook used more memory than it may and was stopped.",
    Outcome.CANCELLED: "The notebook's job was cancelled.",
    Outcome.NOT_STARTED: "The wall for this notebook could not be built on the cluster.",
    Outcome.LOST: "The notebook's job ended before the notebook was done, such as when a machine fails.",
}


class Cluster(Protocol):
    """What executions need of Slurm; `cluster.commands.Slurm` has it."""

    async def submit(self, request: JobRequest) -> int: ...
    async def find(self, comment: str) -> Sequence[Job]: ...
    async def job(self, job_id: int) -> Job | None: ...
    async def cancel(self, job_ids: Collection[int]) -> None: ...


@dataclass(frozen=True)
class ExecutionLimits:
    """How much one execution may take.

    Args:
        cell_seconds: most time for one cell.
        notebook_seconds: most time for the notebook as a whole.
        files: how much one submission may hold.
    """

    cell_seconds: int
    notebook_seconds: int
    files: TreeLimits


class Asked(BaseModel):
    """What was asked of an execution, as its folder keeps it.

    Args:
        items: names of the folders of its notebooks; none in a file from before an execution could have several.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    course: str
    by: str
    time: datetime
    items: tuple[str, ...] = ()
    job: int | None = None


@dataclass(frozen=True)
class Standing:
    """Where an execution stands.

    Args:
        state: `waiting`, `running` or `ended`.
        reason: Slurm's reason why it waits; empty otherwise.
        outcomes: how the run of each notebook ended, by the name of its folder; all of them once `state` is `ended`.
    """

    state: str
    reason: str = ""
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)


class Executions:
    """Starts, watches and cancels executions.

    Args:
        hub: id of the hub that the executions belong to, 12 hexadecimal digits.
        cluster: Slurm's commands.
        interval: seconds between two looks at an execution that somebody waits for.
        account: what the jobs are charged to; None where there is no accounting.
    """

    def __init__(
        self,
        *,
        hub: str,
        state: State,
        installation: Installation,
        limits: ExecutionLimits,
        profile: Profile,
        confinement: ConfinementSettings,
        cluster: Cluster,
        interval: float,
        account: str | None = None,
    ) -> None:
        self._comment = f"{hub}:{COMMENT}"
        self._state = state
        self._installation = installation
        self._limits = limits
        self._profile = profile
        self._confinement = confinement
        self._cluster = cluster
        self._interval = interval
        self._account = account
        self._cancelled: set[str] = set()
        self._sending: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def only_once(self, course: str, key: str) -> AsyncIterator[tuple[str, Asked | None]]:
        """The id of an execution that its sender may ask for again, and what was asked of it if it was before.

        A sender that does not know whether its first try arrived, as after a restart, sends the same key. Who does so
        while the first try is still on its way waits for that.

        Args:
            course: whose; another course's key is another key.
            key: the sender's own name for this sending; empty for none, which is always a new execution.
        """
        if not key:
            yield secrets.token_hex(12), None
            return
        execution = hashlib.sha256(json.dumps([course, key]).encode()).hexdigest()[:24]
        async with self._sending.setdefault(execution, asyncio.Lock()):
            try:
                before = await asyncio.to_thread(self.asked, execution)
            except NotFound:
                before = None
                # What a try has left during which this service ended.
                await asyncio.to_thread(remove, self._folder(execution))
            yield execution, before

    @asynccontextmanager
    async def incoming(self, execution: str) -> AsyncIterator[Incoming]:
        """The tree that a new execution takes in; removed again when the block fails."""
        each = self._limits.files
        limits = TreeLimits(MOST_ITEMS * (each.total + LARGEST_RESULT), MOST_ITEMS * (each.files + 1))
        incoming = await asyncio.to_thread(Incoming, self._folder(execution), limits)
        try:
            yield incoming
        except BaseException:
            await asyncio.to_thread(incoming.give_up)
            raise

    async def start(self, execution: str, incoming: Incoming, course: str, by: str) -> Asked:
        """Submit the job of an execution whose files have arrived.

        Raises:
            WrongTree: the files are not folders of one notebook and a folder of files each.
            Unavailable: Slurm does not answer or refuses; nothing was started.
        """
        items = await asyncio.to_thread(self._prepare, execution, incoming)
        asked = Asked(id=execution, course=course, by=by, time=datetime.now(UTC), items=items)
        await asyncio.to_thread(self._write, asked)
        try:
            job = await self._cluster.submit(await asyncio.to_thread(self._request, asked))
        except (SlurmUnavailable, SlurmRefused) as error:
            raise Unavailable(
                f"The cluster did not take the notebook: {error.what}", "Nothing was graded.", "Try again later."
            ) from error
        asked = asked.model_copy(update={"job": job})
        await asyncio.to_thread(self._write, asked)
        await asyncio.to_thread(use.submitted, self._state, execution, job)
        log.info("Execution %s of %s is job %d", execution, course, job)
        return asked

    def asked(self, execution: str) -> Asked:
        """What was asked.

        Raises:
            NotFound: there is no such execution.
        """
        if not _ID.match(execution):
            raise NotFound("There is no such execution.")
        try:
            return Asked.model_validate_json((self._folder(execution) / "execution.json").read_bytes())
        except FileNotFoundError:
            raise NotFound("There is no such execution.") from None

    async def standing(self, execution: str, seconds: float = 0) -> Standing:
        """Where an execution stands; waits for its end, at most so many seconds.

        Raises:
            Unavailable: Slurm does not answer, so it is not known.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            standing = await self._look(execution)
            if standing.state == "ended" or loop.time() + self._interval > until:
                return standing
            await asyncio.sleep(self._interval)

    async def cancel(self, execution: str) -> None:
        """Ask Slurm to end an execution; one that has ended stays as it is.

        Raises:
            Unavailable: Slurm does not answer.
        """
        self._cancelled.add(execution)
        jobs = await self._jobs(execution)
        try:
            await self._cluster.cancel([job.id for job in jobs])
        except (SlurmUnavailable, SlurmRefused) as error:
            raise _not_known(error) from error

    async def result(self, execution: str, item: str) -> bytes:
        """An executed notebook as the wall left it: untrusted bytes.

        Raises:
            NotFound: there is none, or what is there is no plain file or too large.
        """
        try:
            return await asyncio.to_thread(self._collect, execution, item)
        except CollectRefused as error:
            raise NotFound(f"There is no usable result ({error.why}).") from error

    async def give_up(self, execution: str) -> bool:
        """Cancel an execution that still waits or runs; remove the folder of one that has ended.

        Returns:
            Whether it had to be cancelled.

        Raises:
            Unavailable: Slurm does not answer.
        """
        if (await self._look(execution)).state == "ended":
            await asyncio.to_thread(remove, self._folder(execution))
            return False
        await self.cancel(execution)
        return True

    async def clear_old(self, age: timedelta = KEPT) -> list[str]:
        """Remove the folders of executions that nobody took away: their course's server never came back.

        Args:
            age: how old an execution must be.

        Returns:
            The ids of those removed: at most `MOST_CLEARED`, and none whose job may still live.
        """
        cleared: list[str] = []
        for execution in await asyncio.to_thread(self._older_than, datetime.now(UTC) - age):
            try:
                live = [job for job in await self._jobs(execution) if not job.state.ended]
            except NotFound:
                live = []  # The service ended before the execution had begun.
            except Unavailable as error:
                log.warning("Old executions stay for now: %s", error)
                break
            if not live:
                await asyncio.to_thread(remove, self._folder(execution))
                cleared.append(execution)
        return cleared

    def _older_than(self, moment: datetime) -> list[str]:
        folders = [folder for folder in self._state.jobs.iterdir() if _ID.match(folder.name)]
        return [each.name for each in folders if each.lstat().st_mtime < moment.timestamp()][:MOST_CLEARED]

    async def _look(self, execution: str) -> Standing:
        # The job's end counts, not the outcome file alone: nothing may still be writing.
        jobs = await self._jobs(execution)
        job = jobs[-1] if jobs else None
        asked = await asyncio.to_thread(self.asked, execution)
        if job is not None and not job.state.ended:
            if job.state.waiting:
                return Standing("waiting", job.reason)
            return Standing("running", "", await asyncio.to_thread(self._done, asked))
        return Standing("ended", "", await asyncio.to_thread(self._outcomes, asked, job))

    def _outcomes(self, asked: Asked, job: Job | None) -> dict[str, Outcome]:
        """How each notebook's run ended. One that had its end keeps it, whatever became of the others."""
        done = self._done(asked)
        rest = self._without_end(asked, job)
        return {item: done.get(item, rest) for item in asked.items}

    def _done(self, asked: Asked) -> dict[str, Outcome]:
        """What the program in the wall has said of each notebook, of those that it has said something of."""
        found = {}
        with self._opened(asked.id) as home:
            for item in asked.items:
                with suppress(CollectRefused, ValueError, KeyError, TypeError):
                    said = json.loads(read_file(home, f"{item}/{OUTCOME}", _SMALL))["outcome"]
                    found[item] = Outcome.TIME if said == "time" else Outcome.DONE
        return found

    def _without_end(self, asked: Asked, job: Job | None) -> Outcome:
        """What became of notebooks of which nothing was said. Only a single one can have been the cause itself."""
        if asked.id in self._cancelled or (job is not None and job.state is JobState.CANCELLED):
            return Outcome.CANCELLED
        try:
            said = json.loads((self._folder(asked.id) / "outcome.json").read_text("utf-8"))
        except FileNotFoundError:
            said = {}
        if said.get("outcome") == "not_started":
            return Outcome.NOT_STARTED
        if len(asked.items) > 1:
            return Outcome.LOST
        by_slurm = {JobState.OUT_OF_MEMORY: Outcome.MEMORY, JobState.TIMEOUT: Outcome.TIME}
        if job is not None and job.state in by_slurm:
            return by_slurm[job.state]
        # The kernel ends what uses too much memory with SIGKILL.
        if said.get("code") == _KILLED or _OVER_MEMORY.search(self._job_log(asked.id)):
            return Outcome.MEMORY
        return Outcome.TIME if said.get("outcome") == "time" else Outcome.LOST

    def _job_log(self, execution: str) -> str:
        """What the wrapper and Slurm itself wrote: nothing inside the wall can write here."""
        try:
            return (self._folder(execution) / "job.log").read_text("utf-8", "replace")[-_LOG_CHARACTERS:]
        except FileNotFoundError:
            return ""

    async def _jobs(self, execution: str) -> Sequence[Job]:
        asked = await asyncio.to_thread(self.asked, execution)
        try:
            if asked.job is None:
                return await self._cluster.find(self._comment + execution)
            job = await self._cluster.job(asked.job)
            # After a reset of Slurm the same number can be somebody else's job.
            return [job] if job is not None and job.comment == self._comment + execution else []
        except (SlurmUnavailable, SlurmRefused) as error:
            raise _not_known(error) from error

    def _request(self, asked: Asked) -> JobRequest:
        execution = asked.id
        folder = self._folder(execution)
        profile, limits = self._profile, self._limits
        bounds = RunBounds(limits.cell_seconds, limits.notebook_seconds, int(profile.memory), profile.cpus)
        wall = execution_wall(folder / "home", bounds, self._state, self._installation, self._confinement)
        rounds = math.ceil(len(asked.items) / profile.cpus)
        longest = round(profile.time.total_seconds()) - SPARE_SECONDS
        seconds = max(limits.notebook_seconds, min(rounds * limits.notebook_seconds, longest)) + WARM_SECONDS
        purpose = Purpose("", Place.COURSE, asked.course)
        counted = use.begin(self._state, execution, self._comment + execution, purpose, self._profile)
        resources = self._profile.resources
        resources["time"] = timedelta(seconds=seconds + SPARE_SECONDS)
        resources["memory"] = Size(execution_memory(profile))
        task = Task(wall, seconds, folder / "outcome.json", folder / "notebook.log", counted)
        return JobRequest(
            name="grading",
            comment=self._comment + execution,
            **resources,
            script=job_script([PYTHON, "-I", "-S", str(self._installation.code / "grading" / "job.py")]),
            output=folder / "job.log",
            environment={VARIABLE: task.to_json()},
            account=self._profile.account or self._account,
        )

    def _prepare(self, execution: str, incoming: Incoming) -> tuple[str, ...]:
        """Take the tree in; gives the names of its notebooks' folders."""
        notebooks, folders = set(), set()
        for entry in incoming.writer.finish():
            item, _, path = file_path(entry.path).partition("/")
            if not _ITEM.match(item) or (path != NOTEBOOK and not path.startswith(f"{FILES}/")):
                raise WrongTree(f"An execution takes NUMBER/{NOTEBOOK} and files below NUMBER/{FILES}/, nothing else.")
            folders.add(item)
            if path == NOTEBOOK:
                notebooks.add(item)
        if not notebooks or folders != notebooks or len(notebooks) > MOST_ITEMS:
            raise WrongTree(f"An execution takes at most {MOST_ITEMS} notebooks, each in a folder of its own.")
        home = self._folder(execution) / "home"
        incoming.writer.folder.rename(home)
        for item in notebooks:
            (home / item / FILES).mkdir(exist_ok=True)
        return tuple(sorted(notebooks, key=int))

    def _write(self, asked: Asked) -> None:
        path = self._folder(asked.id) / "execution.json"
        fresh = path.with_suffix(".fresh")
        fresh.write_text(asked.model_dump_json(), encoding="utf-8")
        fresh.replace(path)

    def _collect(self, execution: str, item: str) -> bytes:
        if item not in self.asked(execution).items:
            raise NotFound("There is no such notebook in this execution.")
        with self._opened(execution) as home:
            return read_file(home, f"{item}/{EXECUTED}", LARGEST_RESULT)

    @contextmanager
    def _opened(self, execution: str) -> Iterator[int]:
        """The wall's folder, in which nothing is followed."""
        descriptor = os.open(self._folder(execution) / "home", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _folder(self, execution: str) -> Path:
        return self._state.jobs / execution


def sentence(outcome: Outcome) -> str:
    """What an outcome means, for the log that a teacher sees in formgrader."""
    return _SENTENCES[outcome]


def _not_known(error: SlurmUnavailable | SlurmRefused) -> Unavailable:
    return Unavailable(
        f"The cluster does not answer: {error.what}", "What runs goes on; it is not known how far it is.", "Ask again."
    )
