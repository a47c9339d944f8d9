"""The cluster section of site.yaml takes what can work and says what is wrong with the rest."""

from __future__ import annotations

import copy

import pytest
from pydantic import TypeAdapter, ValidationError

from base.quantities import Size
from cluster.settings import Cluster, EmbeddedCluster, ExistingCluster

ADAPTER = TypeAdapter(Cluster)
EMBEDDED = {
    "kind": "embedded",
    "nodes": [
        {"name": "gpu01", "cpus": 16, "memory": "32G", "gpus": 2, "shards": 16},
        {"name": "cpu01", "cpus": 32, "memory": "64G"},
    ],
    "partitions": [
        {"name": "gpu", "nodes": ["gpu01"], "time": "8h"},
        {"name": "cpu", "nodes": ["cpu01"], "time": "8h", "default": True},
    ],
}
EXISTING = {
    "kind": "existing",
    "slurm_conf": "/etc/slurm/slurm.conf",
    "partitions": [
        {"name": "gpu", "time": "2d", "cpus": 64, "memory": "512G", "gpus": 4, "default": True},
    ],
}


def changed(base, path, value):
    settings = copy.deepcopy(base)
    place = settings
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return settings


def test_the_examples_are_read():
    assert isinstance(ADAPTER.validate_python(EMBEDDED), EmbeddedCluster)
    assert isinstance(ADAPTER.validate_python(EXISTING), ExistingCluster)


@pytest.mark.parametrize(
    ("base", "path", "value", "says"),
    [
        (EMBEDDED, ("nodes", 1, "name"), "gpu01", "same name"),
        (EMBEDDED, ("nodes", 0, "name"), "gpu[01-99]", "pattern"),
        (EMBEDDED, ("nodes", 0, "name"), "ALL", "pattern"),
        (EMBEDDED, ("nodes", 0, "name"), "gpu01\nSlurmUser=root", "pattern"),
        (EMBEDDED, ("nodes", 0, "cpus"), 0, "greater than or equal to 1"),
        (EMBEDDED, ("nodes", 0, "cpus"), "4", "valid integer"),
        (EMBEDDED, ("nodes", 0, "memory"), "32", "not a size"),
        (EMBEDDED, ("nodes", 0, "memory"), "1M", "out of bounds"),
        (EMBEDDED, ("nodes", 0, "gpus"), 0, "shards only with gpus"),
        (EMBEDDED, ("nodes", 0, "shards"), 15, "multiple of 2"),
        (EMBEDDED, ("nodes", 0, "color"), "red", "Extra inputs"),
        (EMBEDDED, ("partitions", 0, "nodes"), ["gpu02"], "do not exist: gpu02"),
        (EMBEDDED, ("partitions", 0, "nodes"), ["gpu01", "gpu01"], "names twice"),
        (EMBEDDED, ("partitions", 0, "nodes"), [], "at least 1"),
        (EMBEDDED, ("partitions", 0, "name"), "CPU", "same name"),
        (EMBEDDED, ("partitions", 0, "name"), "Default", "meaning of its own"),
        (EMBEDDED, ("partitions", 0, "time"), "40d", "too long"),
        (EMBEDDED, ("partitions", 0, "default"), True, "2 partitions are the default: gpu, cpu"),
        (EMBEDDED, ("partitions", 1, "default"), False, "0 partitions are the default"),
        (EMBEDDED, ("interval",), {"starting": 0.01}, "greater than or equal to 0.2"),
        (EMBEDDED, ("interval",), {"starting": 20, "idle": 2}, "slower than idle"),
        (EMBEDDED, ("interval",), {"idle": float("nan")}, "finite number"),
        (EMBEDDED, ("kind",), "other", "expected tags"),
        (EXISTING, ("slurm_conf",), "slurm.conf", "not an absolute path"),
        (EXISTING, ("commands",), "bin", "not an absolute path"),
        (EXISTING, ("partitions", 0, "nodes"), ["a"], "Extra inputs"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(base, path, value, says):
    with pytest.raises(ValidationError, match=says):
        ADAPTER.validate_python(changed(base, path, value))


@pytest.mark.parametrize(
    ("size", "fits"),
    [
        ({"cpus": 16, "memory": "32G"}, True),
        ({"cpus": 17, "memory": "1G"}, False),
        ({"cpus": 1, "memory": "33G"}, False),
        ({"cpus": 1, "memory": "1G", "gpus": 2}, True),
        ({"cpus": 1, "memory": "1G", "gpus": 3}, False),
        ({"cpus": 1, "memory": "1G", "shards": 8}, True),
        ({"cpus": 1, "memory": "1G", "shards": 9}, False),
    ],
)
def test_a_profile_fits_when_one_node_can_hold_it(size, fits):
    cluster = ADAPTER.validate_python(EMBEDDED)
    assert cluster.fits("gpu", **{**size, "memory": Size.parse(size["memory"])}) is fits
    with pytest.raises(KeyError):
        cluster.fits("nowhere", 1, Size.parse("1G"))


def test_a_profile_for_an_existing_cluster_is_held_to_the_stated_maximum():
    cluster = ADAPTER.validate_python(EXISTING)
    assert cluster.fits("gpu", 64, Size.parse("512G"), gpus=4)
    assert not cluster.fits("gpu", 64, Size.parse("512G"), gpus=5)
    assert not cluster.fits("gpu", 1, Size.parse("1G"), shards=1)
    assert str(cluster.time_limit("gpu")) == "2d"


def test_every_field_is_described_for_the_reference():
    schema = ADAPTER.json_schema()
    for name, model in schema["$defs"].items():
        assert all("description" in field for field in model["properties"].values()), name
