"""Reads what squeue, scontrol and the others print, and tells no answer from a no."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from base.quantities import Size
from cluster.errors import SlurmUnavailable
from cluster.jobs import ClusterNode, Job, JobState

# squeue(1), --format: id, state, reason, nodes, submitted, started or expected start, ended, name, partition,
# priority, user id, comment.
_LETTERS = "ATrNVSejPQUk"
# The third part of a comment (`spawners.starts`).
_NUMBER = re.compile(r"^[^:]*:[^:]*:([1-9][0-9]{0,9})$")


def believed(comment: str, user: int, own: int, people: range) -> str:
    """A job's comment if it may be ours, else none: anybody can read one and give the same to a job of theirs.

    Args:
        comment: what the job has.
        user: number of the unix account whose job it is.
        own: number of this process's account: its jobs' comments count.
        people: numbers of the accounts as which jobs of people run. Comments of their jobs count if they end with the
            number itself (`<hub>:<start>:<number>`), so that nobody can play somebody else's job.
    """
    number = _NUMBER.search(comment)
    if number is None:
        return comment if user == own else ""
    return comment if user in people and user == int(number[1]) else ""


@dataclass(frozen=True)
class QueueFormat:
    """A format for squeue whose separators cannot be in any job's name or comment: they are made for one query.

    Args:
        mark: what no job can have guessed.
        own, people: as for `believed`.
    """

    mark: str
    own: int
    people: range = range(0)

    @classmethod
    def fresh(cls, people: range = range(0)) -> QueueFormat:
        return cls(secrets.token_hex(8), os.geteuid(), people)

    @property
    def format(self) -> str:
        """The value of `--format`."""
        return f"{self._row}" + self._field.join(f"%{letter}" for letter in _LETTERS)

    @property
    def _row(self) -> str:
        return f"<{self.mark}>"

    @property
    def _field(self) -> str:
        return f"|{self.mark}|"

    def parse(self, text: str) -> tuple[Job, ...]:
        """The jobs in squeue's output, with their places in the queue.

        Raises:
            SlurmUnavailable: the output does not have this format.
        """
        head, *rows = text.split(self._row)
        if head.strip():
            raise not_understood("squeue", head)
        parsed = [self._job(row) for row in rows]
        ranks: dict[str, int] = {}
        positions: dict[int, int] = {}
        for job, _ in sorted(parsed, key=lambda pair: (-pair[1], pair[0].submitted, pair[0].id)):
            if job.state is JobState.PENDING:
                positions[job.id] = ranks[job.partition] = ranks.get(job.partition, 0) + 1
        return tuple(replace(job, position=positions.get(job.id)) for job, _ in parsed)

    def _job(self, row: str) -> tuple[Job, int]:
        fields = row.removesuffix("\n").split(self._field)
        try:
            number, word, reason, nodes, submitted, start, end, name, partition, priority, user, comment = fields
            state = JobState.parse(word)
            begun = None if state.waiting else _time(start)
            job = Job(
                id=int(number),
                state=state,
                reason="" if reason in ("None", "(null)") else reason,
                nodes=tuple(expand_hosts(nodes)),
                comment=believed("" if comment == "(null)" else comment, int(user), self.own, self.people),
                name=name,
                partition=partition,
                submitted=_known_time(submitted),
                started=begun,
                estimate=_time(start) if state.waiting else None,
                ended=_time(end) if state.ended else None,
                ends=None if state.ended or state.waiting else _time(end),
            )
            return job, int(priority)
        except ValueError as error:
            raise not_understood("squeue", row) from error


def _time(text: str) -> datetime | None:
    # SLURM_TIME_FORMAT=%s makes Slurm print seconds since 1970; words (N/A, Unknown, NONE) mean that there is no time.
    return datetime.fromtimestamp(int(text), UTC) if text.isdecimal() and int(text) else None


def _known_time(text: str) -> datetime:
    time = _time(text)
    if time is None:
        raise ValueError(f"{text!r} is not a time")
    return time


def parse_exit_codes(text: str) -> dict[int, tuple[int, int]]:
    """Exit code and signal by job, from `squeue --Format=jobid,exit_code`.

    Slurm 22.05 prints the wait status (wait(2)), others `code:signal`.

    Raises:
        SlurmUnavailable: the output does not have this format.
    """
    codes = {}
    for line in text.splitlines():
        match = re.fullmatch(r"\s*(\d+)\s+(\d+)(?::(\d+))?\s*", line)
        if match is None:
            raise not_understood("squeue", line)
        number, code = int(match[1]), int(match[2])
        codes[number] = (code, int(match[3])) if match[3] else ((code >> 8) & 0xFF, code & 0x7F)
    return codes


_USABLE = frozenset(
    {
        "IDLE",
        "MIXED",
        "ALLOCATED",
        "COMPLETING",
        "PLANNED",
        "RESERVED",
        "CLOUD",
        "DYNAMIC_NORM",
        "POWERED_DOWN",
        "POWERING_UP",
    }
)
_NODE_FIELD = re.compile(
    r"(?:^|\s)(NodeName|NodeAddr|State|Partitions|CPUTot|CPUAlloc|RealMemory|AllocMem|Gres|GresUsed|CfgTRES|AllocTRES)"
    r"=(\S*)"
)


def parse_nodes(text: str) -> tuple[ClusterNode, ...]:
    """The nodes in the output of `scontrol show nodes --details --oneliner`.

    Raises:
        SlurmUnavailable: the output does not have this format.
    """
    return tuple(_node(line) for line in text.splitlines() if line.strip())


def _node(line: str) -> ClusterNode:
    fields: dict[str, str] = {}
    for match in _NODE_FIELD.finditer(line):
        fields.setdefault(match[1], match[2])
    try:
        state = fields["State"]
        return ClusterNode(
            name=fields["NodeName"],
            address=fields["NodeAddr"],
            state=state,
            usable=takes_work(state.split("+")),
            partitions=tuple(filter(None, fields.get("Partitions", "").split(","))),
            cpus=int(fields["CPUTot"]),
            cpus_used=int(fields["CPUAlloc"]),
            memory=Size(int(fields["RealMemory"]) * 2**20),
            memory_used=int(fields["AllocMem"]) * 2**20,
            gpus=gpus_in(fields.get("Gres", "")),
            gpus_used=gpus_in(fields.get("GresUsed", "")),
            shards=shards_in(fields.get("Gres", "")),
            shards_used=shards_used(fields.get("CfgTRES", ""), fields.get("AllocTRES", ""), fields.get("GresUsed", "")),
            gpus_of=gpus_by_type(fields.get("Gres", ""), fields.get("GresUsed", "")),
        )
    except (KeyError, ValueError) as error:
        raise not_understood("scontrol", line) from error


def takes_work(flags: Iterable[str]) -> bool:
    """Whether a node in all these states can take a job; one that is new to Leerlab counts as a no."""
    return set(flags) <= _USABLE


def gpus_in(gres: str) -> int:
    """The GPUs in a list such as `gpu:a100:4(S:0-1),shard:16` or `gpu:(null):1(IDX:0)`."""
    return sum(int(count) for count in re.findall(r"(?:^|,)gpu:(?:[^:,()]+:|\(null\):)?(\d+)", gres))


def gpus_by_type(gres: str, used: str) -> dict[str, tuple[int, int]]:
    """How many GPUs of each type a node has and how many of them are used, from two lists as `gpus_in` reads them."""
    have, taken = (
        {kind: int(count) for kind, count in re.findall(r"(?:^|,)gpu:([^:,()]+):(\d+)", text)} for text in (gres, used)
    )
    return {kind: (count, taken.get(kind, 0)) for kind, count in have.items()}


def shards_in(gres: str) -> int:
    """The shards in a list such as `gpu:2,shard:16`."""
    return sum(int(count) for count in re.findall(r"(?:^|,)shard:(?:[^:,()]+:|\(null\):)?(\d+)", gres))


def shards_used(configured: str, allocated: str, gres_used: str) -> int | None:
    """How many shards jobs have: where Slurm counts them (AccountingStorageTRES), or where there are none.

    GresUsed of 22.05 does not say: three shards of one GPU are `shard:(null):1(IDX:0)` there.

    Args:
        configured: a node's CfgTRES, such as `cpu=16,gres/shard=16`.
        allocated: its AllocTRES.
        gres_used: its GresUsed.
    """
    if "gres/shard=" in configured:
        found = re.search(r"(?:^|,)gres/shard=(\d+)", allocated)
        return int(found[1]) if found else 0
    return None if shards_in(gres_used) else 0


_RANGE = re.compile(r"([^,\[\]]*)(?:\[([0-9,-]+)\])?([^,\[\]]*)(?:,|$)")


def expand_hosts(text: str) -> Iterator[str]:
    """The names in a host list such as `gpu[01-02,7],cpu1` (scontrol(1), show hostnames).

    Raises:
        ValueError: the text is no such list.
    """
    place = 0
    while place < len(text):
        match = _RANGE.match(text, place)
        if match is None or match.end() == place:
            raise ValueError(f"{text!r} is not a list of hosts")
        place = match.end()
        if match[2] is None:
            yield match[1] + match[3]
            continue
        for part in match[2].split(","):
            first, _, last = part.partition("-")
            for number in range(int(first), int(last or first) + 1):
                yield f"{match[1]}{number:0{len(first)}d}{match[3]}"


# What libslurm says when it got no answer (slurm_errno.c of Slurm 22.05, and errno's own words).
_NO_ANSWER = re.compile(
    "|".join(
        (
            "unable to contact slurm controller",
            "socket timed out",
            "zero bytes were",
            "standby mode",
            "connection (?:refused|timed out|reset)",
            "broken pipe",
            "no route to host",
            "network is unreachable",
            "communication (?:connection|shutdown) failure",
            "authentication",
            "munge",
            "message receive failure",
            "unexpected message received",
            "insane message length",
            "incompatible versions of client and server",
            "invalid protocol version",
            "temporarily un",
            "try again",
            "configuration source",
            "unable to resolve",
        )
    ),
    re.IGNORECASE,
)


def sentence(stderr: str) -> str:
    """What Slurm said, without the names of programs before it."""
    lines = (re.sub(r"^\w+: (?:error: |fatal: )?", "", line.strip()) for line in stderr.splitlines())
    return ". ".join(line.rstrip(".") for line in lines if line)


def is_no_answer(stderr: str) -> bool:
    """Whether an error message means that nobody answered; a message about the request itself means a no."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    return not lines or _NO_ANSWER.search(lines[-1]) is not None


def not_understood(program: str, text: str) -> SlurmUnavailable:
    """The error for an answer in a form that this Leerlab does not know."""
    return SlurmUnavailable(
        f"{program} printed something that Leerlab does not understand: {text[:200]!r}.",
        "The state of jobs is unknown for now; nothing is taken for dead.",
        "See whether this version of Slurm is one that Leerlab supports.",
    )
