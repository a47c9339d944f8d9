"""Slurm's commands, awaited: submit, ask, find and cancel, each bounded in time and with a typed result."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from base.paths import State
from cluster import answers, json_answers
from cluster.command import ANSWER_SECONDS, COMMANDS, Commands, cancelled, failure, submitted, unavailable
from cluster.embedded import slurm_conf
from cluster.errors import InvalidRequest, SlurmError, SlurmRefused, SlurmUnavailable
from cluster.jobs import ClusterNode, Job, Queue
from cluster.request import JobRequest
from cluster.settings import EmbeddedCluster, ExistingCluster
from cluster.version import SlurmVersion

__all__ = ["InvalidRequest", "Slurm", "SlurmError", "SlurmRefused", "SlurmUnavailable", "slurm_of"]


class Slurm:
    """One Slurm, reached through its own commands.

    Args:
        conf: its slurm.conf.
        commands: the folder that holds sbatch, squeue, scancel and scontrol.
        answer: seconds that one command may take; after that it is killed and its outcome is unknown.
        people: numbers of the unix accounts as which jobs of people run, besides this process's own.
    """

    def __init__(
        self, conf: Path, *, commands: Path = COMMANDS, answer: float = ANSWER_SECONDS, people: range = range(0)
    ) -> None:
        self.conf = conf
        self._people = people
        self._commands = Commands(conf, commands, answer)
        self._addresses: dict[str, str] = {}
        self._version: SlurmVersion | None = None

    async def version(self) -> SlurmVersion:
        """Which Slurm the commands are, asked of them once; slurmctld is not asked.

        Raises:
            SlurmUnavailable: they cannot be run.
        """
        if self._version is None:
            self._version = SlurmVersion.parse(await self._commands.ask("squeue", ["--version"]))
        return self._version

    async def submit(self, request: JobRequest) -> int:
        """Submit a job.

        Returns:
            The job's number.

        Raises:
            SlurmUnavailable: no answer; the job may exist all the same, so `find` its comment before trying again.
            SlurmRefused: Slurm does not take it; no job exists.
        """
        output = await self._commands.run(
            "sbatch", request.arguments(), environment=request.environment, stdin=request.script
        )
        return submitted(output, request.name)

    async def queue(self) -> Queue:
        """All jobs that have not ended, in one query.

        Raises:
            SlurmUnavailable: no answer.
        """
        asked = datetime.now(UTC)
        jobs = await self._squeue([])
        return Queue(jobs, asked, datetime.now(UTC))

    async def find(self, comment: str) -> list[Job]:
        """The jobs with exactly this comment, also those that ended a short while ago (Slurm's MinJobAge).

        Raises:
            SlurmUnavailable: no answer.
        """
        return [job for job in await self.recent() if job.comment == comment]

    async def recent(self) -> tuple[Job, ...]:
        """All jobs, also those that ended a short while ago (Slurm's MinJobAge), in one query.

        Raises:
            SlurmUnavailable: no answer.
        """
        return await self._squeue(["--states=all"])

    async def jobs(self, job_ids: Collection[int]) -> dict[int, Job]:
        """Those of the given jobs that Slurm knows, ended ones with their exit codes; it forgets them after MinJobAge.

        Raises:
            SlurmUnavailable: no answer.
        """
        if not job_ids:
            return {}
        chosen = ["--states=all", f"--jobs={','.join(map(str, sorted(job_ids)))}"]
        if (await self.version()).tells_json:
            text = await self._known("squeue", ["--json", *chosen])
            told = json_answers.parse_jobs(text, os.geteuid(), self._people) if text is not None else ()
            return {job.id: job for job in told if job.id in job_ids}
        found = {job.id: job for job in await self._squeue(chosen) if job.id in job_ids}
        if not any(job.state.ended for job in found.values()):
            return found
        output = await self._commands.ask("squeue", ["--noheader", *chosen, "--Format=jobid:20,exit_code:20"])
        codes = answers.parse_exit_codes(output)
        for number, (code, signal) in codes.items():
            if number in found and found[number].state.ended:
                found[number] = replace(found[number], exit_code=code, signal=signal)
        return found

    async def job(self, job_id: int) -> Job | None:
        """One job, also when it ended a short while ago; None when Slurm knows no job of this number (any more).

        Raises:
            SlurmUnavailable: no answer.
        """
        return (await self.jobs([job_id])).get(job_id)

    async def cancel(self, job_ids: Collection[int]) -> None:
        """Have jobs end: SIGTERM to all their processes, SIGKILL after Slurm's KillWait; returns once Slurm agreed.

        Jobs that ended already, or that Slurm does not know, are no error.

        Raises:
            SlurmUnavailable: no answer; any of the jobs may go on.
            SlurmRefused: Slurm does not allow it.
        """
        if not job_ids:
            return
        cancelled(await self._commands.run("scancel", [str(number) for number in sorted(job_ids)]))

    async def set_time_limit(self, job_id: int, limit: timedelta) -> None:
        """Give a job another time limit, counted from its start; to lengthen it takes an administrator of Slurm.

        Args:
            job_id: the job.
            limit: how long it may run in all; whole minutes, rounded up.

        Raises:
            SlurmUnavailable: no answer; the limit may be either.
            SlurmRefused: Slurm does not allow it, or the job has ended.
        """
        minutes = math.ceil(limit.total_seconds() / 60)
        output = await self._commands.run("scontrol", ["update", f"JobId={job_id}", f"TimeLimit={minutes}"])
        if output.code:
            raise failure("scontrol", output, f"Slurm does not change the time of job {job_id}.")

    async def nodes(self) -> tuple[ClusterNode, ...]:
        """All nodes.

        Raises:
            SlurmUnavailable: no answer.
        """
        if (await self.version()).tells_json:
            nodes = json_answers.parse_nodes(await self._commands.ask("scontrol", ["show", "nodes", "--json"]))
        else:
            form = ["show", "nodes", "--details", "--oneliner"]
            nodes = answers.parse_nodes(await self._commands.ask("scontrol", form))
        self._addresses = {node.name: node.address for node in nodes}
        return nodes

    async def address(self, node: str) -> str:
        """Where a node is reached, as Slurm reaches it; its name need not resolve.

        Raises:
            SlurmUnavailable: no answer, or Slurm knows no such node.
        """
        if node not in self._addresses:
            await self.nodes()
        try:
            return self._addresses[node]
        except KeyError:
            raise SlurmUnavailable(
                f"Slurm knows no node {node}.", "What runs there cannot be reached.", "See scontrol show nodes."
            ) from None

    async def ping(self) -> float:
        """Seconds that slurmctld takes to answer.

        Raises:
            SlurmUnavailable: it does not answer.
        """
        begin = time.monotonic()
        output = await self._commands.ask("scontrol", ["ping"])
        if " UP" not in output:
            raise unavailable("scontrol", sentence=output.strip())
        return time.monotonic() - begin

    async def _squeue(self, choice: Sequence[str]) -> tuple[Job, ...]:
        form = answers.QueueFormat.fresh(self._people)
        # In the environment, where other accounts cannot read it: a job's owner could else put it into a comment.
        text = await self._known("squeue", ["--noheader", *choice], {"SQUEUE_FORMAT": form.format})
        return form.parse(text) if text is not None else ()

    async def _known(
        self, program: str, arguments: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> str | None:
        """What a command tells of jobs; None when Slurm knows none of those that it was asked for."""
        output = await self._commands.run(program, arguments, environment=environment)
        if not output.code:
            return output.stdout
        if "Invalid job id specified" in output.stderr:
            return None
        raise unavailable(program, sentence=answers.sentence(output.stderr))


def slurm_of(settings: EmbeddedCluster | ExistingCluster, state: State, people: range = range(0)) -> Slurm:
    """The commands of the site's cluster: its own embedded Slurm, or the one that slurm_conf names.

    Args:
        settings: the section of site.yaml.
        state: the site's state folder.
        people: as for `Slurm`.
    """
    if isinstance(settings, EmbeddedCluster):
        return Slurm(slurm_conf(state), answer=settings.interval.answer)
    return Slurm(settings.slurm_conf, commands=settings.commands, answer=settings.interval.answer, people=people)
