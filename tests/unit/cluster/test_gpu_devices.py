"""Which device files play the GPUs of the embedded cluster's nodes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from base.errors import InputError
from base.quantities import Size
from cluster.embedded import DEMONSTRATION_DEVICES, gpu_devices
from cluster.settings import Node


def node(name: str, gpus: int) -> Node:
    return Node(name=name, cpus=4, memory=Size.parse("8G"), gpus=gpus, shards=8 * gpus)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with two GPUs. An ordinary account may not make device files, so their kind alone is pretended."""
    for name in ("nvidia10", "nvidia2", "nvidiactl", "null"):
        (tmp_path / name).touch()
    real = Path.stat

    def as_device(path: Path, **how: bool) -> os.stat_result:
        seen = real(path, **how)
        mode = stat.S_IFCHR | 0o666 if path.parent == tmp_path else seen.st_mode
        return os.stat_result((mode, *seen[1:]))

    monkeypatch.setattr(Path, "stat", as_device)
    return tmp_path


def test_real_gpus_go_to_one_node_each_in_the_order_of_their_numbers(machine: Path) -> None:
    devices = gpu_devices([node("a", 1), node("b", 1)], folder=machine)
    assert devices.real
    assert devices.of_node == {"a": (machine / "nvidia2",), "b": (machine / "nvidia10",)}


def test_more_gpus_than_the_machine_has_are_refused_with_what_to_do(machine: Path) -> None:
    with pytest.raises(InputError) as caught:
        gpu_devices([node("a", 2), node("b", 2)], folder=machine)
    assert "4 GPUs together, and this machine has 2" in str(caught.value)
    assert "cluster.demonstration" in str(caught.value)


def test_in_a_demonstration_nodes_share_the_gpus_that_there_are(machine: Path) -> None:
    devices = gpu_devices([node("a", 3), node("b", 1)], demonstration=True, folder=machine)
    assert devices.real
    assert devices.of_node == {"a": (machine / "nvidia2", machine / "nvidia10"), "b": (machine / "nvidia2",)}


def test_without_gpus_other_character_devices_play_them(tmp_path: Path) -> None:
    devices = gpu_devices([node("a", 2), node("b", 2)], folder=tmp_path)
    assert not devices.real
    assert devices.of_node["a"] == devices.of_node["b"] == DEMONSTRATION_DEVICES[:2]
    assert all(stat.S_ISCHR(path.stat().st_mode) for path in devices.of_node["a"])


def test_more_stand_ins_than_there_are_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at most"):
        gpu_devices([node("a", 8)], folder=tmp_path)
