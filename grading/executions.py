"""Graded notebooks as Slurm jobs behind walls: sent by a course account, run by the cluster, collected without trust.

One execution is one folder `jobs/<id>`: `home` (the wall's), `execution.json` (what was asked), `outcome.json` (written
by the job's wrapper outside the wall) and the job's log. What an execution's state is follows from that folder and from
Slurm, so that a restart of the service loses none.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import secrets
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from base.paths import Installation, State
from cluster.errors import SlurmRefused, SlurmUnavailable
from cluster.jobs import Job, JobState
from cluster.request import JobRequest
from cluster.script import job_script
from confinement.collect import CollectRefused, read_file
from confinement.settings import ConfinementSettings
from grading.errors import NotFound, Unavailable, WrongTree
from grading.job import VARIABLE, Task
from grading.names import file_path
from grading.plans import EXECUTED, FILES, NOTEBOOK, execution_wall
from grading.store import Incoming
from grading.tree import TreeLimits, remove
from ledger.use import Place, Purpose
from spawners import use
from spawners.settings import Profile

LARGEST_RESULT = 64 * 2**20
KEPT = timedelta(days=7)
MOST_CLEARED = 1000
"""Old executions removed at one start of the service: the rest goes at the next."""
COMMENT = "grading:"
PYTHON = "/usr/bin/python3"
# What the wall's start and end and Slurm's own bookkeeping may take beside the notebook's time.
SPARE_SECONDS = 90
# Slurm ends such a job like any other and tells the reason only in the job's output (slurm 22.05, jobacct_gather.c and
# task/cgroup).
_OVER_MEMORY = re.compile(r"slurmstepd[^\n]*(?:exceeded memory limit|oom[-_ ]kill)", re.IGNORECASE)
_LOG_CHARACTERS = 2**16
_ID = re.compile(r"[0-9a-f]{24}\Z")

log = logging.getLogger("grading")


class Outcome(StrEnum):
    """How an execution ended. `done`, `time`, `memory` and `ended` are the notebook's own doing."""

    DONE = "done"
    TIME = "time"
    MEMORY = "memory"
    ENDED = "ended"
    CANCELLED = "cancelled"
    NOT_STARTED = "not_started"
    LOST = "lost"


_SENTENCES = {
    Outcome.DONE: "The notebook was run.",
    Outcome.TIME: "The notebook took longer than it may and was stopped.",
    Outcome.MEMORY: "The notebook used more memory than it may and was stopped.",
    Outcome.ENDED: "The notebook's run ended before all cells had their turn.",
    Outcome.CANCELLED: "The notebook's job was cancelled.",
    Outcome.NOT_STARTED: "The wall for this notebook could not be built on the cluster.",
    Outcome.LOST: "The cluster lost the notebook's job, such as when a machine fails.",
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
    """What was asked of an execution, as its folder keeps it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    course: str
    by: str
    time: datetime
    job: int | None = None


@dataclass(frozen=True)
class Standing:
    """Where an execution stands.

    Args:
        state: `waiting`, `running` or `ended`.
        reason: Slurm's reason why it waits; empty otherwise.
        outcome: how it ended, or None.
        notebook: whether there is an executed notebook, maybe a partial one.
    """

    state: str
    reason: str = ""
    outcome: Outcome | None = None
    notebook: bool = False


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

    @asynccontextmanager
    async def incoming(self) -> AsyncIterator[tuple[str, Incoming]]:
        """A new execution's id and the tree that it takes in; removed again when the block fails."""
        execution = secrets.token_hex(12)
        limits = TreeLimits(self._limits.files.total + LARGEST_RESULT, self._limits.files.files + 1)
        incoming = await asyncio.to_thread(Incoming, self._folder(execution), limits)
        try:
            yield execution, incoming
        except BaseException:
            await asyncio.to_thread(incoming.give_up)
            raise

    async def start(self, execution: str, incoming: Incoming, course: str, by: str) -> Asked:
        """Submit the job of an execution whose files have arrived.

        Raises:
            WrongTree: the files are not one notebook and a folder of files.
            Unavailable: Slurm does not answer or refuses; nothing was started.
        """
        await asyncio.to_thread(self._prepare, execution, incoming)
        asked = Asked(id=execution, course=course, by=by, time=datetime.now(UTC))
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

    async def result(self, execution: str) -> bytes:
        """The executed notebook as the wall left it: untrusted bytes.

        Raises:
            NotFound: there is none, or what is there is no plain file or too large.
        """
        try:
            return await asyncio.to_thread(self._collect, execution)
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
        if job is not None and not job.state.ended:
            return Standing("waiting", job.reason) if job.state.waiting else Standing("running")
        outcome = await asyncio.to_thread(self._outcome, execution, job)
        return Standing("ended", "", outcome, await asyncio.to_thread(self._has_result, execution))

    def _outcome(self, execution: str, job: Job | None) -> Outcome:
        if execution in self._cancelled:
            return Outcome.CANCELLED
        try:
            said = json.loads((self._folder(execution) / "outcome.json").read_text("utf-8"))
        except FileNotFoundError:
            said = None
        by_slurm = {
            JobState.OUT_OF_MEMORY: Outcome.MEMORY,
            JobState.TIMEOUT: Outcome.TIME,
            JobState.CANCELLED: Outcome.CANCELLED,
        }
        if _OVER_MEMORY.search(self._job_log(execution)):
            return Outcome.MEMORY
        if job is not None and job.state in by_slurm and (said is None or said["outcome"] != Outcome.DONE):
            return by_slurm[job.state]
        if said is None:
            return Outcome.LOST
        # The kernel ends what uses too much memory with SIGKILL; so does code that kills itself, which gains nothing.
        return Outcome.MEMORY if said.get("code") == 137 else Outcome(said["outcome"])

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
        wall = execution_wall(
            folder / "home",
            self._limits.cell_seconds,
            self._state,
            self._installation,
            self._confinement,
        )
        seconds = self._limits.notebook_seconds
        purpose = Purpose("", Place.COURSE, asked.course)
        counted = use.begin(self._state, execution, self._comment + execution, purpose, self._profile)
        resources = self._profile.resources
        resources["time"] = timedelta(seconds=seconds + SPARE_SECONDS)
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

    def _prepare(self, execution: str, incoming: Incoming) -> None:
        entries = incoming.writer.finish()
        paths = {file_path(entry.path) for entry in entries}
        if NOTEBOOK not in paths or any(path != NOTEBOOK and not path.startswith(f"{FILES}/") for path in paths):
            raise WrongTree(f"An execution takes {NOTEBOOK} and files below {FILES}/, nothing else.")
        home = self._folder(execution) / "home"
        incoming.writer.folder.rename(home)
        (home / FILES).mkdir(exist_ok=True)

    def _write(self, asked: Asked) -> None:
        path = self._folder(asked.id) / "execution.json"
        fresh = path.with_suffix(".fresh")
        fresh.write_text(asked.model_dump_json(), encoding="utf-8")
        fresh.replace(path)

    def _collect(self, execution: str) -> bytes:
        descriptor = os.open(self._folder(execution) / "home", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return read_file(descriptor, EXECUTED, LARGEST_RESULT)
        finally:
            os.close(descriptor)

    def _has_result(self, execution: str) -> bool:
        try:
            return bool(self._collect(execution))
        except CollectRefused:
            return False

    def _folder(self, execution: str) -> Path:
        return self._state.jobs / execution


def sentence(outcome: Outcome) -> str:
    """What an outcome means, for the log that a teacher sees in formgrader."""
    return _SENTENCES[outcome]


def _not_known(error: SlurmUnavailable | SlurmRefused) -> Unavailable:
    return Unavailable(
        f"The cluster does not answer: {error.what}", "What runs goes on; it is not known how far it is.", "Ask again."
    )
