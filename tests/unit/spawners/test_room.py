"""How much room there is for a profile: never more than there is, wherever Slurm may have put what is used."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.quantities import Duration, Size
from cluster.answers import parse_nodes
from cluster.jobs import ClusterNode, Job, JobState
from spawners.room import room_for, waiting_for
from spawners.settings import Profile, Title

NODE = ClusterNode(
    name="gpu01", address="10.0.0.1", state="MIXED", usable=True, partitions=("gpu",), cpus=16, cpus_used=4,
    memory=Size.parse("32G"), memory_used=Size.parse("8G"), gpus=2, gpus_used=0, shards=16, shards_used=0,
)  # fmt: skip


def profile(**asked: object) -> Profile:
    return Profile(
        **{
            "id": "one", "title": Title(nl="Een", en="One"), "partition": "gpu", "cpus": 1, "memory": Size.parse("1G"),
            "time": Duration.parse("4h"), **asked,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "node", "room"),
    [
        ({}, {}, 12),
        ({"cpus": 5}, {}, 2),
        ({"memory": Size.parse("9G")}, {}, 2),
        ({"gpus": 1}, {}, 2),
        ({"gpus": 1}, {"gpus_used": 1}, 1),
        ({"gpus": 1}, {"shards_used": 1}, 1),
        # Two used shards may be of two GPUs.
        ({"gpus": 1}, {"shards_used": 2}, 0),
        ({"shards": 1}, {"shards_used": 10}, 6),
        ({"shards": 1}, {"shards_used": 3, "gpus_used": 1}, 5),
        ({"shards": 4}, {"shards_used": 9}, 1),
        ({"shards": 5}, {"shards_used": 9}, 0),
        ({"shards": 9}, {}, 0),
        ({"gpus": 1}, {"gpus": 0, "shards": 0}, 0),
        ({}, {"usable": False}, 0),
        ({}, {"state": "MIXED+PLANNED"}, 0),
        ({}, {"cpus_used": 16}, 0),
        ({"gpus": 1, "gpu_type": "1g.10gb"}, {"gpus": 7, "gpus_of": {"1g.10gb": (4, 1), "3g.40gb": (3, 0)}}, 3),
        ({"gpus": 1, "gpu_type": "h200"}, {"gpus_of": {"1g.10gb": (2, 0)}}, 0),
    ],
)
def test_room_on_one_node(asked: dict[str, object], node: dict[str, object], room: int) -> None:
    assert room_for(profile(**asked), [replace(NODE, **node)]) == room


def test_nodes_of_other_partitions_do_not_count_and_what_cannot_be_told_is_not_said() -> None:
    other = replace(NODE, name="cpu01", partitions=("cpu",))
    assert room_for(profile(), [NODE, NODE, other]) == 24
    assert room_for(profile(), [other]) is None
    assert room_for(profile(), []) is None
    assert room_for(profile(shards=1), [replace(NODE, shards_used=None)]) is None
    assert room_for(profile(), [replace(NODE, shards_used=None)]) == 12


@given(st.integers(0, 8), st.integers(0, 8), st.integers(1, 8))
def test_as_many_as_are_promised_really_fit_on_gpus(first: int, second: int, shards: int) -> None:
    """Two GPUs of eight shards, with so many used of each: what Slurm tells is only their sum."""
    node = replace(NODE, cpus=64, cpus_used=0, shards_used=first + second)
    room = room_for(profile(shards=shards), [node])
    assert room is not None and room <= (8 - first) // shards + (8 - second) // shards


def test_only_who_is_before_a_newcomer_counts_as_waiting() -> None:
    job = Job(7, JobState.PENDING, "Priority", (), "", "leerlab-server", "gpu,cpu", datetime.now(UTC))
    jobs = [
        job,
        replace(job, reason="AssocGrpJobsLimit"),
        replace(job, state=JobState.RUNNING),
        replace(job, reason="Resources"),
    ]
    assert (waiting_for("gpu", jobs), waiting_for("cpu", jobs), waiting_for("other", jobs)) == (2, 2, 0)


def test_types_of_gpus_are_read_of_what_slurm_tells() -> None:
    # Of Slurm 22.05.8, with one slice in use.
    text = (
        "NodeName=mig01 CPUAlloc=1 CPUTot=8 Gres=gpu:1g.10gb:2,gpu:h200:4(S:0-1),shard:8 "
        "GresUsed=gpu:1g.10gb:1(IDX:0),gpu:h200:0(IDX:N/A),shard:0 NodeAddr=127.0.0.1 RealMemory=8192 AllocMem=100 "
        "State=MIXED Partitions=mig"
    )
    (node,) = parse_nodes(text)
    assert node.gpus_of == {"1g.10gb": (2, 1), "h200": (4, 0)}
