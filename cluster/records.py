"""What Slurm's accounting recorded of single jobs: how long, and of what. Source: sacct(1) of Slurm 22.05."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from itertools import islice
from pathlib import Path

from base.paths import State
from cluster import answers
from cluster.accounting import ALWAYS, amounts, has_accounting
from cluster.command import ANSWER_SECONDS, COMMANDS, Commands
from cluster.embedded import slurm_conf
from cluster.gpus import GPU, part_of_gpu, thousandths_of
from cluster.jobs import JobState
from cluster.settings import EmbeddedCluster, ExistingCluster

MOST_AT_ONCE = 500
"""Jobs that one question names: arguments have a limit."""


@dataclass(frozen=True)
class JobRecord:
    """One run of one job.

    Args:
        job: Slurm's number.
        submitted: when Slurm took it.
        started: when it began; None when it never did.
        seconds: how long it ran, up to now for one that runs.
        cores: processor cores that it had.
        gpu_thousandths: thousandths of a GPU that it had; a shard counts as its part.
        ended: whether it is over.
    """

    job: int
    submitted: datetime
    started: datetime | None
    seconds: int
    cores: int
    gpu_thousandths: int
    ended: bool


class Records:
    """Asks one Slurm's accounting.

    Args:
        conf: its slurm.conf.
        commands: the folder that holds sacct.
        answer: seconds that one command may take.
    """

    def __init__(self, conf: Path, *, commands: Path = COMMANDS, answer: float = ANSWER_SECONDS) -> None:
        self._commands = Commands(conf, commands, answer)

    async def of(self, jobs: Collection[int]) -> dict[int, list[JobRecord]]:
        """The records of jobs, the oldest first; a job that slurmdbd does not know yet has none.

        Raises:
            SlurmUnavailable: no answer.
        """
        found: dict[int, list[JobRecord]] = {}
        left = iter(sorted(jobs))
        while some := list(islice(left, MOST_AT_ONCE)):
            output = await self._commands.ask(
                "sacct",
                [
                    *("--allusers", "--allocations", "--duplicates", "--noheader", "--parsable2"),
                    *(f"--jobs={','.join(map(str, some))}", f"--starttime={ALWAYS}"),
                    "--format=JobIDRaw,Submit,Start,End,ElapsedRaw,State,AllocTRES",
                ],
            )
            for record in parse(output):
                found.setdefault(record.job, []).append(record)
        return found


def records_of(settings: EmbeddedCluster | ExistingCluster, state: State) -> Records | None:
    """The accounting of the site's cluster; None where there is none."""
    if not has_accounting(settings):
        return None
    if isinstance(settings, EmbeddedCluster):
        return Records(slurm_conf(state), answer=settings.interval.answer)
    return Records(settings.slurm_conf, commands=settings.commands, answer=settings.interval.answer)


def parse(text: str) -> list[JobRecord]:
    """Read sacct's output in the format above, with times in seconds since 1970.

    Raises:
        SlurmUnavailable: the output does not have this format.
    """
    records = []
    for line in text.splitlines():
        try:
            job, submitted, start, end, elapsed, state, tres = line.split("|")
            given = amounts(tres, "sacct")
            gpus = int(given.get("billing", 0)) if any(name.startswith("gres/") for name in given) else 0
            records.append(
                JobRecord(
                    job=int(job),
                    submitted=datetime.fromtimestamp(int(submitted), UTC),
                    started=datetime.fromtimestamp(int(start), UTC) if start.isdecimal() else None,
                    seconds=int(elapsed),
                    cores=int(given.get("cpu", 0)),
                    gpu_thousandths=gpus,
                    # A cancelled job's state names who cancelled it: `CANCELLED by 1000`. While slurmdbd does not know
                    # yet when a job ended, its seconds run on.
                    ended=end.isdecimal() and JobState.parse(state.partition(" ")[0]).ended,
                )
            )
        except ValueError as error:
            raise answers.not_understood("sacct", line) from error
    return sorted(records, key=lambda record: record.submitted)


def thousandths(
    cluster: EmbeddedCluster | ExistingCluster, partition: str, gpus: int, shards: int, gpu_type: str | None = None
) -> int:
    """What GPUs or shards are in thousandths of a GPU, for clusters whose accounting does not tell.

    Args:
        cluster: the section of site.yaml.
        partition: where the job runs.
        gpus: GPUs.
        shards: parts of one GPU.
        gpu_type: which GPUs were asked for; a MIG slice is a part of one.
    """
    if gpus or not shards:
        return gpus * thousandths_of(gpu_type)
    divided = _divided(cluster, partition)
    return shards * GPU // divided if divided else 0


def part_of(
    cluster: EmbeddedCluster | ExistingCluster, partition: str, gpus: int, shards: int, gpu_type: str | None = None
) -> Fraction:
    """How many GPUs that is, exactly: 1/8 for one shard of eight, 1/7 for the smallest MIG slice. Args as above."""
    if gpus or not shards:
        return gpus * Fraction(*part_of_gpu(gpu_type))
    divided = _divided(cluster, partition)
    return Fraction(shards, divided) if divided else Fraction(0)


def _divided(cluster: EmbeddedCluster | ExistingCluster, partition: str) -> int:
    """Into how many shards a GPU of a partition is divided; the fewest where they differ, 0 for none."""
    if isinstance(cluster, EmbeddedCluster):
        names = next((one.nodes for one in cluster.partitions if one.name == partition), ())
        divided = [node.shards // node.gpus for node in cluster.nodes if node.name in names and node.shards]
    else:
        # A job's shards come from a single GPU, so the most that one job gets is how many there are of each.
        divided = [one.shards for one in cluster.partitions if one.name == partition and one.shards]
    return min(divided, default=0)
