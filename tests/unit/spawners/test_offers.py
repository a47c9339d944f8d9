"""Choices that could start now are offered to who waits, and no others."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from base.quantities import Duration, Size
from cluster.errors import SlurmUnavailable
from cluster.jobs import ClusterNode, Job, JobState
from spawners.offers import SECONDS, Looks, startable
from spawners.settings import Profile, Title

AT = datetime(2026, 9, 1, 9, 0, tzinfo=UTC)
GPU = ClusterNode(
    name="gpu01", address="10.0.0.1", state="MIXED", usable=True, partitions=("gpu",), cpus=16, cpus_used=4,
    memory=Size.parse("32G"), memory_used=Size.parse("8G"), gpus=2, gpus_used=1, shards=16, shards_used=3,
)  # fmt: skip
CPU = replace(GPU, name="cpu01", partitions=("cpu",), gpus=0, gpus_used=0, shards=0, shards_used=0)
OWN = Job(
    id=7, state=JobState.PENDING, reason="Resources", nodes=(), comment="", name="leerlab-server", partition="gpu",
    submitted=AT,
)  # fmt: skip


def profile(name: str, **asked: object) -> Profile:
    return Profile(
        **{
            "id": name, "title": Title(nl=name, en=name), "partition": "gpu", "cpus": 2, "memory": Size.parse("4G"),
            "time": Duration.parse("4h"), **asked,
        }
    )  # fmt: skip


PART, WHOLE = profile("part", shards=1), profile("whole", gpus=1)
PLAIN = profile("plain", partition="cpu")
ALL = [PLAIN, PART, WHOLE]


def offered(own: Job = OWN, others: tuple[Job, ...] = (), nodes: tuple[ClusterNode, ...] = (GPU, CPU)) -> list[str]:
    return [one.id for one in startable(ALL, own, (own, *others), nodes)]


def test_a_part_of_a_gpu_is_offered_where_no_whole_one_is_free() -> None:
    assert offered() == ["plain", "part"]
    assert offered(nodes=(replace(GPU, shards_used=0), CPU)) == ["plain", "part", "whole"]


@pytest.mark.parametrize(
    "node",
    [
        replace(GPU, usable=False),
        replace(GPU, cpus_used=15),
        replace(GPU, memory_used=Size.parse("30G")),
        replace(GPU, gpus_used=2),
        replace(GPU, shards_used=8),
        replace(GPU, shards_used=None),
        replace(GPU, partitions=("other",)),
    ],
)
def test_nothing_is_offered_that_no_node_has_free_for_sure(node: ClusterNode) -> None:
    assert offered(nodes=(node,)) == []


def test_a_node_that_slurm_keeps_is_offered_only_when_it_is_kept_for_ones_own_job() -> None:
    kept = replace(GPU, state="MIXED+PLANNED", partitions=("gpu", "all"))
    assert offered(nodes=(kept,)) == ["part"]
    assert offered(nodes=(kept,), others=(replace(OWN, id=8, partition="all"),)) == []
    assert offered(nodes=(replace(kept, state="MIXED"),), others=(replace(OWN, id=8, partition="all"),)) == ["part"]


def test_several_shards_are_offered_only_when_one_gpu_has_them_wherever_the_used_ones_are() -> None:
    node = replace(GPU, gpus_used=0, shards_used=9)
    four, five = profile("four", shards=4), profile("five", shards=5)
    # Seven of sixteen are free on two GPUs: one of them has four or more, and perhaps neither has five.
    assert startable([four, five], OWN, [OWN], [node]) == [four]


@pytest.mark.parametrize(("reason", "blocks"), [("Resources", True), ("Priority", True), ("", True),
                                                ("JobHeldAdmin", False), ("QOSGrpGRES", False)])  # fmt: skip
def test_nobody_is_offered_what_is_somebody_elses_turn(reason: str, blocks: bool) -> None:
    other = replace(OWN, id=8, reason=reason, partition="gpu,cpu")
    assert (offered(others=(other,)) == []) is blocks
    assert offered(others=(replace(other, state=JobState.RUNNING),)) == ["plain", "part"]


@pytest.mark.parametrize(
    ("reason", "names"),
    [
        ("PartitionDown", ["plain", "part"]),
        # Without GPU hours, what needs none.
        ("AssocGrpGRESMinutes", ["plain"]),
        # Another choice would wait for the same.
        ("QOSMaxJobsPerUserLimit", []),
        ("JobHeldAdmin", []),
        ("", []),
    ],
)
def test_what_is_offered_depends_on_what_is_waited_for(reason: str, names: list[str]) -> None:
    assert offered(own=replace(OWN, reason=reason)) == names


def test_a_job_that_runs_is_offered_nothing() -> None:
    assert offered(own=replace(OWN, state=JobState.RUNNING)) == []


class Counting:
    """A Slurm that counts how often it is asked for its nodes."""

    def __init__(self) -> None:
        self.asked = 0
        self.silent = False

    async def nodes(self) -> tuple[ClusterNode, ...]:
        self.asked += 1
        await asyncio.sleep(0.01)
        if self.silent:
            raise SlurmUnavailable("no answer")
        return (GPU,)


async def test_however_many_people_wait_the_nodes_are_looked_at_once() -> None:
    slurm, now = Counting(), [100.0]
    looks = Looks(slurm, clock=lambda: now[0])
    assert await asyncio.gather(*(looks.nodes() for _ in range(50))) == [(GPU,)] * 50
    now[0] += SECONDS - 1
    await looks.nodes()
    assert slurm.asked == 1
    # Who is about to give up a place for it is told what is so now; and such looks are shared too.
    await asyncio.gather(*(looks.nodes(0) for _ in range(50)))
    assert slurm.asked == 2
    now[0] += SECONDS
    await looks.nodes()
    assert slurm.asked == 3


async def test_a_slurm_that_does_not_answer_is_not_asked_by_everybody() -> None:
    slurm = Counting()
    slurm.silent = True
    looks = Looks(slurm)
    assert await asyncio.gather(*(looks.nodes() for _ in range(50))) == [()] * 50
    assert slurm.asked == 1
