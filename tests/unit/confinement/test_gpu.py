"""Exactly the right device nodes and libraries would enter a wall: on machines that exist here only as two folders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from confinement.errors import WallRefused
from confinement.gpu import (
    LIBRARIES,
    NOTHING,
    Entering,
    Machine,
    MigPlace,
    admit,
    allotted,
    driver_files,
    entering,
    walled,
)
from confinement.wall import Bind, Wall

UUID = "GPU-0000000{}-1111-2222-3333-444444444444"
MAJORS = {"nvidia": 195, "nvidia-uvm": 508, "nvidia-caps": 511}
INFORMATION = """Model: \t\t NVIDIA H100 80GB HBM3
IRQ:   \t\t 42
GPU UUID: \t {uuid}
Bus Type: \t PCIe
Bus Location: \t {address}
Device Minor: \t {minor}
GPU Excluded:\t No
"""


class Pretended:
    """A machine of two folders: what stands for its device nodes, and which of them the kernel lets this job open."""

    def __init__(self, folder: Path, minors: tuple[int, ...] = (0, 1, 2, 3)) -> None:
        self.folder = folder
        self.numbers: dict[Path, tuple[int, int]] = {}
        self.closed: set[str] = set()
        self.migs: dict[str, MigPlace] = {}
        gpus = folder / "proc/driver/nvidia/gpus"
        for place, minor in enumerate(minors):
            address = f"0000:{place + 1:02x}:00.0"
            (gpus / address).mkdir(parents=True)
            self.tell(address, minor)
            self.node(f"nvidia{minor}", "nvidia", minor)
        self.node("nvidiactl", "nvidia", 255)
        self.node("nvidia-modeset", "nvidia", 254)
        self.node("nvidia-uvm", "nvidia-uvm", 0)
        self.node("nvidia-uvm-tools", "nvidia-uvm", 1)
        for capability in (1, 2, 21, 22, 30, 31):
            self.node(f"nvidia-caps/nvidia-cap{capability}", "nvidia-caps", capability)
        lines = "".join(f"{major} {name}\n" for name, major in MAJORS.items())
        (folder / "proc/devices").write_text(f"Character devices:\n  1 mem\n  5 /dev/tty\n{lines}\nBlock devices:\n")

    def tell(self, address: str, minor: int, uuid: str | None = None) -> None:
        text = INFORMATION.format(uuid=uuid or UUID.format(minor), address=address, minor=minor)
        (self.folder / "proc/driver/nvidia/gpus" / address / "information").write_text(text)

    def node(self, name: str, kind: str, minor: int) -> None:
        self.numbers[self.folder / "dev" / name] = (MAJORS[kind], minor)

    def capability(self, path: str, minor: int) -> None:
        folder = self.folder / "proc/driver/nvidia/capabilities" / path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "access").write_text(f"DeviceFileMinor: {minor}\nDeviceFileMode: 292\nDeviceFileModify: 1\n")

    @property
    def machine(self) -> Machine:
        return Machine(
            self.folder / "dev", self.folder / "proc", self.numbers.get,
            lambda path: path.name not in self.closed, self.migs.get,
        )  # fmt: skip


@pytest.fixture
def node(tmp_path: Path) -> Pretended:
    """A machine with four GPUs."""
    return Pretended(tmp_path)


@pytest.fixture
def plain(tmp_path: Path) -> Wall:
    return Wall(command=("/usr/bin/true",), home=tmp_path, seccomp=tmp_path / "seccomp.bpf")


def test_of_four_gpus_the_two_of_the_job_enter_with_what_every_job_needs_and_nothing_else(node: Pretended) -> None:
    found = entering(node.machine, {"SLURM_JOB_GPUS": "1,3"})
    assert found.devices == ("nvidia1", "nvidia3", "nvidiactl", "nvidia-uvm")
    assert found.visible == f"{UUID.format(1)},{UUID.format(3)}"


def test_a_job_without_gpus_lets_none_in(node: Pretended) -> None:
    assert entering(node.machine, {"SLURM_JOB_ID": "7"}) is NOTHING


def test_what_the_kernel_lets_a_job_open_counts_more_than_numbers(node: Pretended) -> None:
    # ConstrainDevices: CUDA_VISIBLE_DEVICES counts from 0 among the job's own.
    node.closed = {"nvidia0", "nvidia1", "nvidia3"}
    found = entering(node.machine, {"SLURM_JOB_GPUS": "2", "CUDA_VISIBLE_DEVICES": "0"})
    assert found.devices[:1] == ("nvidia2",)


def test_a_part_of_a_shared_gpu_is_found_where_slurm_tells_only_the_number(node: Pretended) -> None:
    given = {"SLURM_SHARDS_ON_NODE": "1", "CUDA_VISIBLE_DEVICES": "2"}
    assert entering(node.machine, given).minors == (2,)


def test_a_part_in_mig_mode_enters_with_its_two_capabilities_and_not_those_of_others(node: Pretended) -> None:
    node.migs["MIG-aaaa"] = MigPlace(1, 3, 0)
    node.capability("gpu1/mig/gi3", 21)
    node.capability("gpu1/mig/gi3/ci0", 22)
    node.capability("gpu1/mig/gi4", 30)
    node.capability("gpu1/mig/gi4/ci0", 31)
    found = entering(node.machine, {"SLURM_JOB_GPUS": "MIG-aaaa"})
    own = ("nvidia-caps/nvidia-cap21", "nvidia-caps/nvidia-cap22")
    assert found == Entering(("nvidia1", "nvidiactl", "nvidia-uvm", *own), (1,), "MIG-aaaa", ("MIG-aaaa",))


def test_the_older_names_of_mig_parts_are_understood_without_nvml(node: Pretended) -> None:
    node.capability("gpu2/mig/gi5", 21)
    node.capability("gpu2/mig/gi5/ci1", 22)
    assert entering(node.machine, {"SLURM_JOB_GPUS": f"MIG-{UUID.format(2)}/5/1"}).minors == (2,)


def test_gpus_whose_ids_the_driver_still_hides_are_numbered_as_cuda_does(node: Pretended) -> None:
    for minor in range(4):
        node.tell(f"0000:{minor + 1:02x}:00.0", minor, "GPU-????????-????-????-????-????????????")
    assert entering(node.machine, {"SLURM_JOB_GPUS": "1,3"}).visible == "0,1"


def test_where_other_devices_play_gpus_none_enters(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    machine = Machine(tmp_path / "dev", tmp_path / "proc", lambda _: (1, 3), lambda _: True, lambda _: None)
    assert entering(machine, {"SLURM_JOB_GPUS": "0", "CUDA_VISIBLE_DEVICES": "0"}) is NOTHING


def test_on_this_machine_without_gpus_a_wall_stays_as_it_was(plain: Wall) -> None:
    if Path("/proc/driver/nvidia/gpus").is_dir():
        pytest.fail("this machine has GPUs: prove it there with tests/gpu/prove.py")
    assert admit(plain, {"SLURM_JOB_GPUS": "0", "CUDA_VISIBLE_DEVICES": "0"}) == (plain, NOTHING)


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({"SLURM_JOB_GPUS": "4"}, "none of that name"),
        ({"SLURM_JOB_GPUS": "1,1"}, "twice"),
        ({"SLURM_JOB_GPUS": "../nvidia1"}, "none of that name"),
        ({"SLURM_JOB_GPUS": "GPU-99999999-1111-2222-3333-444444444444"}, "none of that name"),
        ({"SLURM_JOB_GPUS": "MIG-unknown"}, "no such part"),
        ({"SLURM_JOB_GPUS": "0,MIG-unknown"}, "together"),
    ],
)
def test_what_is_not_certain_is_refused(node: Pretended, environment: dict[str, str], why: str) -> None:
    with pytest.raises(WallRefused, match=why):
        entering(node.machine, environment)


def test_the_order_on_the_bus_and_the_numbers_of_nodes_must_agree_unless_the_kernel_tells(tmp_path: Path) -> None:
    node = Pretended(tmp_path, minors=(1, 0))
    with pytest.raises(WallRefused, match="ConstrainDevices"):
        entering(node.machine, {"SLURM_JOB_GPUS": "0"})
    node.closed = {"nvidia0"}
    assert entering(node.machine, {"SLURM_JOB_GPUS": "0"}).minors == (1,)


def test_slurm_and_the_kernel_must_agree_on_how_many_they_are(node: Pretended) -> None:
    node.closed = {"nvidia0"}
    with pytest.raises(WallRefused, match="lets it open 3"):
        entering(node.machine, {"SLURM_JOB_GPUS": "1"})


def test_a_node_that_is_another_device_than_its_name_says_is_refused(node: Pretended) -> None:
    node.node("nvidia1", "nvidia", 2)
    with pytest.raises(WallRefused, match="195:2"):
        entering(node.machine, {"SLURM_JOB_GPUS": "1"})
    del node.numbers[node.folder / "dev/nvidia1"]  # Such as a symbolic link.
    with pytest.raises(WallRefused, match="no device of NVIDIA's"):
        entering(node.machine, {"SLURM_JOB_GPUS": "1"})


CACHE = """1024 libs found in cache `/etc/ld.so.cache'
\tlibnvidia-ml.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libnvidia-ml.so.1
\tlibnvidia-ml.so.1 (libc6) => /lib/i386-linux-gnu/libnvidia-ml.so.1
\tlibnvidia-ptxjitcompiler.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libnvidia-ptxjitcompiler.so.1
\tlibnvidia-glcore.so.580.95.05 (libc6,x86-64) => /lib/x86_64-linux-gnu/libnvidia-glcore.so.580.95.05
\tlibcuda.so.1 (libc6,x86-64) => /usr/lib/first/libcuda.so.1
\tlibcuda.so.1 (libc6,x86-64) => /usr/lib/second/libcuda.so.1
\tlibcudart.so.12 (libc6,x86-64) => /usr/local/cuda/lib64/libcudart.so.12
\tlibc.so.6 (libc6,x86-64, OS ABI: Linux 3.2.0) => /lib/x86_64-linux-gnu/libc.so.6
"""


def test_of_the_linkers_libraries_the_drivers_own_enter_in_this_machines_kind() -> None:
    assert driver_files(CACHE, "x86_64") == {
        "libnvidia-ml.so.1": Path("/lib/x86_64-linux-gnu/libnvidia-ml.so.1"),
        "libnvidia-ptxjitcompiler.so.1": Path("/lib/x86_64-linux-gnu/libnvidia-ptxjitcompiler.so.1"),
        "libcuda.so.1": Path("/usr/lib/first/libcuda.so.1"),
    }
    assert driver_files(CACHE, "riscv64") == {}


def test_the_wall_gets_nodes_libraries_and_shared_memory_up_to_the_jobs_own(node: Pretended, plain: Wall) -> None:
    devices = entering(node.machine, {"SLURM_JOB_GPUS": "2"})
    wall = replace(plain, environment={"LD_LIBRARY_PATH": "/opt/own", "CUDA_VISIBLE_DEVICES": "0,1,2,3"})
    made = walled(wall, devices, driver_files(CACHE, "x86_64"), 8 * 2**30)
    assert made.devices == (Path("/dev/nvidia2"), Path("/dev/nvidiactl"), Path("/dev/nvidia-uvm"))
    assert made.shm == 8 * 2**30
    assert Bind(Path("/usr/lib/first/libcuda.so.1"), LIBRARIES / "libcuda.so.1") in made.binds
    assert len(made.binds) == 3
    assert not any(bind.writable for bind in made.binds)
    assert made.environment == {
        "CUDA_VISIBLE_DEVICES": UUID.format(2),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "LD_LIBRARY_PATH": f"{LIBRARIES}:/opt/own",
    }


def test_a_machine_whose_driver_has_no_libraries_refuses(node: Pretended, plain: Wall) -> None:
    with pytest.raises(WallRefused, match=r"libcuda\.so\.1"):
        walled(plain, entering(node.machine, {"SLURM_JOB_GPUS": "2"}), {}, None)


@pytest.mark.attack
def test_variables_that_a_person_brings_along_open_no_device(node: Pretended, plain: Wall) -> None:
    # What a start's options or a wall's own environment can hold; Slurm's own variables cannot be submitted.
    hostile = {
        "CUDA_VISIBLE_DEVICES": "0,1,2,3", "GPU_DEVICE_ORDINAL": "0", "NVIDIA_VISIBLE_DEVICES": "all",
        "SLURM_GPUS": "4", "CUDA_DEVICE_ORDER": "FASTEST_FIRST",
    }  # fmt: skip
    assert entering(node.machine, hostile) is NOTHING
    made = walled(replace(plain, environment=hostile, devices=(Path("/dev/nvidia0"),)), NOTHING, {}, None)
    assert made.devices == ()
    assert set(made.environment) == {"SLURM_GPUS"}
    # The control: the same words from slurmd itself.
    assert entering(node.machine, hostile | {"SLURM_JOB_GPUS": "0,1,2,3"}).minors == (0, 1, 2, 3)


@pytest.mark.attack
def test_the_device_of_another_job_stays_outside_whatever_this_one_says_is_visible(node: Pretended) -> None:
    found = entering(node.machine, {"SLURM_JOB_GPUS": "1", "CUDA_VISIBLE_DEVICES": "0", "GPU_DEVICE_ORDINAL": "0"})
    assert "nvidia0" not in found.devices
    assert found.minors == (1,)
    # The control: were the visible ones believed, the other's device would be in.
    assert "0" in allotted({"SLURM_SHARDS_ON_NODE": "1", "CUDA_VISIBLE_DEVICES": "0"})
