"""Reads the JSON of squeue and scontrol of Slurm 23.11 and newer into the same types as the text of older ones.

The form is that of Slurm's data_parser plugins v0.0.40 to v0.0.45, which agree in everything that is read here: numbers
that may be absent are `{"set": .., "infinite": .., "number": ..}`, states are lists of flags. Recorded outputs are test
data (tests/data/slurm).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from base.quantities import Size
from cluster import answers
from cluster.jobs import ClusterNode, Job, JobState

# Flags beside a job's base state, in the order in which squeue's text prefers them (Slurm's job_state_string).
_SHOWN_FIRST = (
    "COMPLETING", "STAGE_OUT", "CONFIGURING", "RESIZING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT",
    "STOPPED", "REVOKED", "RESV_DEL_HOLD", "SIGNALING",
)  # fmt: skip


def parse_jobs(text: str, own: int, people: range = range(0)) -> tuple[Job, ...]:
    """The jobs in the output of `squeue --json`, ended ones with their exit codes; without places in the queue.

    Args:
        text: the output.
        own, people: whose jobs' comments count (see `answers.believed`).

    Raises:
        SlurmUnavailable: the output does not have this form.
    """
    return tuple(_job(entry, own, people) for entry in _entries("squeue", text, "jobs"))


def parse_nodes(text: str) -> tuple[ClusterNode, ...]:
    """The nodes in the output of `scontrol show nodes --json`.

    Raises:
        SlurmUnavailable: the output does not have this form.
    """
    return tuple(_node(entry) for entry in _entries("scontrol", text, "nodes"))


def _entries(program: str, text: str, name: str) -> list[Any]:
    try:
        told = json.loads(text)
        entries = told[name]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise answers.not_understood(program, text) from error
    # `errors` says that what is told is not all.
    if not isinstance(entries, list) or told.get("errors"):
        raise answers.not_understood(program, text)
    return entries


def _job(entry: Any, own: int, people: range) -> Job:
    try:
        state = _state(entry["job_state"])
        start, end = _time(entry["start_time"]), _time(entry["end_time"])
        submitted = _time(entry["submit_time"])
        if submitted is None:
            raise ValueError("no time of submission")
        reason = str(entry["state_reason"])
        code, signal = _exit(entry["exit_code"]) if state.ended else (None, None)
        return Job(
            id=int(entry["job_id"]),
            state=state,
            reason="" if reason == "None" else reason,
            nodes=tuple(answers.expand_hosts(str(entry["nodes"]))),
            comment=answers.believed(str(entry["comment"]), int(entry["user_id"]), own, people),
            name=str(entry["name"]),
            partition=str(entry["partition"]),
            submitted=submitted,
            started=None if state.waiting else start,
            estimate=start if state.waiting else None,
            ended=end if state.ended else None,
            ends=None if state.ended or state.waiting else end,
            exit_code=code,
            signal=signal,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise answers.not_understood("squeue", repr(entry)) from error


def _state(flags: Iterable[Any]) -> JobState:
    """The one word for a list of flags, as squeue's text has it."""
    words = [str(flag) for flag in flags]
    for shown in _SHOWN_FIRST:
        if shown in words:
            return JobState.parse(shown)
    if not words:
        raise ValueError("no state")
    return JobState.parse(words[0])


def _number(value: Any) -> int | None:
    """A number, or None where it is not set or without end."""
    if not value["set"] or value["infinite"]:
        return None
    return int(value["number"])


def _time(value: Any) -> datetime | None:
    seconds = _number(value)
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _exit(value: Any) -> tuple[int, int]:
    return _number(value["return_code"]) or 0, _number(value["signal"]["id"]) or 0


def _node(entry: Any) -> ClusterNode:
    try:
        flags = [str(flag) for flag in entry["state"]]
        return ClusterNode(
            name=str(entry["name"]),
            address=str(entry["address"]),
            state="+".join(flags),
            usable=bool(flags) and answers.takes_work(flags),
            partitions=tuple(str(name) for name in entry["partitions"]),
            cpus=int(entry["cpus"]),
            cpus_used=int(entry["alloc_cpus"]),
            memory=Size(int(entry["real_memory"]) * 2**20),
            memory_used=int(entry["alloc_memory"]) * 2**20,
            gpus=answers.gpus_in(str(entry["gres"])),
            gpus_used=answers.gpus_in(str(entry["gres_used"])),
            gpus_of=answers.gpus_by_type(str(entry["gres"]), str(entry["gres_used"])),
            shards=answers.shards_in(str(entry["gres"])),
            shards_used=answers.shards_used(str(entry["tres"]), str(entry["tres_used"]), str(entry["gres_used"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise answers.not_understood("scontrol", repr(entry)) from error
