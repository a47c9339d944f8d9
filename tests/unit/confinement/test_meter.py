"""A job's meter over NVML's functions, which here answer as a GPU would: there is none on this machine."""

from __future__ import annotations

import ctypes
import json
import time
from pathlib import Path
from typing import Any

import pytest

from confinement.gpu import Entering
from confinement.meter import Meter
from confinement.nvml import Nvml, NvmlSilent

WATTS = 400.0
NOT_SUPPORTED = 3


class Clock:
    """Goes on when the test says so: on a busy machine time passes between a reading and the look at its moment."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Library:
    """NVML with two GPUs, which draw 400 W each; the second may lack a counter, and be in parts.

    Args:
        counter: whether the second counts its energy.
    """

    def __init__(self, counter: bool = True) -> None:
        self._counter = counter
        self.clock = Clock()
        self._begun = self.clock()
        self.closed = 0

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlShutdown(self) -> int:
        self.closed += 1
        return 0

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:
        count._obj.value = 2
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: Any, handle: Any) -> int:
        handle._obj.value = 100 + index.value
        return 0

    def nvmlDeviceGetMinorNumber(self, handle: Any, minor: Any) -> int:
        minor._obj.value = handle.value - 100
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any, energy: Any) -> int:
        if handle.value == 101 and not self._counter:
            return NOT_SUPPORTED
        energy._obj.value = int(10**9 + WATTS * 1000 * (self.clock() - self._begun))
        return 0

    def nvmlDeviceGetPowerUsage(self, _handle: Any, power: Any) -> int:
        power._obj.value = int(WATTS * 1000)
        return 0

    def nvmlDeviceGetHandleByUUID(self, uuid: Any, handle: Any) -> int:
        if uuid.value != b"MIG-one":
            return 6
        handle._obj.value = 900
        return 0

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, _part: Any, parent: Any) -> int:
        parent._obj.value = 101
        return 0

    def nvmlDeviceGetGpuInstanceId(self, _part: Any, number: Any) -> int:
        number._obj.value = 3
        return 0

    def nvmlDeviceGetComputeInstanceId(self, _part: Any, number: Any) -> int:
        number._obj.value = 0
        return 0

    def nvmlDeviceGetMaxMigDeviceCount(self, _parent: Any, most: Any) -> int:
        most._obj.value = 7
        return 0

    def nvmlDeviceGetAttributes_v2(self, _part: Any, attributes: Any) -> int:
        attributes._obj.compute_slices = 2
        return 0


def measured(folder: Path, library: Library, devices: Entering, seconds: float = 0.6) -> dict[str, Any]:
    file, environment = folder / "use.jsonl", {"SLURM_JOB_ID": "42", "SLURM_CPUS_ON_NODE": "4"}
    with Meter(file, devices, environment, nvml=library, clock=library.clock):
        until = time.monotonic() + 60
        while not (file.exists() and file.stat().st_size):
            assert time.monotonic() < until, "the first reading"
            time.sleep(0.01)
        library.clock.now += seconds
    assert library.closed == 1
    last: dict[str, Any] = json.loads(file.read_text().splitlines()[-1])
    assert last["last"] and last["seconds"] == seconds
    return last


def test_the_energy_of_a_jobs_own_gpu_is_its_counters_and_not_the_others(tmp_path: Path) -> None:
    last = measured(tmp_path, Library(), Entering(("nvidia0",), (0,), "0"))
    assert last["gpu"]["joules"] == pytest.approx(WATTS * last["seconds"], rel=0.1)
    assert last["gpu"]["least"] < last["gpu"]["joules"] < last["gpu"]["most"]
    assert last["gpus"] == 1


def test_a_gpu_that_only_tells_its_power_is_measured_too(tmp_path: Path) -> None:
    last = measured(tmp_path, Library(counter=False), Entering(("nvidia1",), (1,), "0"))
    assert last["gpu"]["joules"] == pytest.approx(WATTS * last["seconds"], rel=0.1)


def test_two_gpus_are_added_up(tmp_path: Path) -> None:
    last = measured(tmp_path, Library(), Entering(("nvidia0", "nvidia1"), (0, 1), "0,1"))
    assert last["gpu"]["joules"] == pytest.approx(2 * WATTS * last["seconds"], rel=0.1)


def test_a_part_in_mig_mode_is_its_slices_and_anything_up_to_the_whole(tmp_path: Path) -> None:
    last = measured(tmp_path, Library(), Entering(("nvidia1",), (1,), "MIG-one", ("MIG-one",)))
    assert last["gpu"]["joules"] == pytest.approx(WATTS * last["seconds"] * 2 / 7, rel=0.1)
    assert last["gpu"]["least"] == 0 and last["gpu"]["most"] > WATTS * last["seconds"] * 0.9


@pytest.mark.fault
def test_a_machine_whose_nvml_is_silent_still_counts_processors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Silent(Library):
        def nvmlDeviceGetCount_v2(self, count: Any) -> int:
            return 9

    last = measured(tmp_path, Silent(), Entering(("nvidia0",), (0,), "0"))
    assert last["gpu"] is None and last["gpus"] == 1
    assert "not measured" in capsys.readouterr().err


def test_the_place_of_a_part_is_found_by_its_id() -> None:
    with Nvml.opened(Library()) as nvml:
        assert nvml.mig_place("MIG-one") == (1, 3, 0)
        with pytest.raises(NvmlSilent, match="code 6"):
            nvml.mig_place("MIG-two")


def test_a_machine_without_the_library_says_so() -> None:
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        with pytest.raises(NvmlSilent), Nvml.opened():
            pass
