"""What a type of GPU says of itself."""

from __future__ import annotations

import pytest

from cluster.accounting_daemons import billing
from cluster.gpus import is_slice, part_of_gpu, thousandths_of
from cluster.records import thousandths
from cluster.settings import EmbeddedCluster


@pytest.mark.parametrize(
    ("gpu_type", "part", "charged"),
    [
        (None, (1, 1), 1000), ("h200", (1, 1), 1000), ("7g.80gb", (7, 7), 1000), ("1g.10gb", (1, 7), 143),
        ("a100_3g.20gb", (3, 7), 429), ("1g.10gb.me", (1, 7), 143), ("1g.6gb", (1, 4), 250),
        ("a30_2g.12gb", (2, 4), 500), ("rtx8g.1gb", (1, 1), 1000),
    ],
)  # fmt: skip
def test_a_slice_is_charged_as_its_part_of_a_gpu(gpu_type: str | None, part: tuple[int, int], charged: int) -> None:
    assert (part_of_gpu(gpu_type), thousandths_of(gpu_type)) == (part, charged)
    assert is_slice(gpu_type) == (gpu_type is not None and "g." in gpu_type and gpu_type[0] != "r")


def test_a_partition_of_slices_bills_slices_and_a_mixed_one_bills_none_too_cheaply() -> None:
    cluster = EmbeddedCluster.model_validate(
        {
            "kind": "embedded", "demonstration": True,
            "nodes": [
                {"name": "mig01", "cpus": 8, "memory": "8G", "gpus": 2, "gpu_type": "1g.10gb"},
                {"name": "gpu01", "cpus": 8, "memory": "8G", "gpus": 2, "shards": 8},
            ],
            "partitions": [
                {"name": "mig", "nodes": ["mig01"], "time": "1h", "default": True},
                {"name": "both", "nodes": ["mig01", "gpu01"], "time": "1h"},
            ],
        }
    )  # fmt: skip
    mig, both = cluster.partitions
    assert billing(mig, cluster.nodes) == "GRES/gpu=143"
    assert billing(both, cluster.nodes) == "GRES/gpu=1000,GRES/shard=250.000"
    assert thousandths(cluster, "mig", 2, 0, "1g.10gb") == 286
    assert cluster.fits("mig", 1, cluster.nodes[0].memory, 2, gpu_type="1g.10gb")
    assert not cluster.fits("mig", 1, cluster.nodes[0].memory, 2, gpu_type="h200")
    assert cluster.gpu_types_of("both") == ("1g.10gb",)
