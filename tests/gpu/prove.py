"""Prove, on a machine with an NVIDIA GPU, what the tests without one can only reckon.

    LEERLAB_NOTEBOOK_ENV=/var/lib/leerlab/env/notebook-...-cuda \\
        $LEERLAB_HUB_ENV/bin/python tests/gpu/prove.py [--gpu 0] [--seconds 60]

Run it as an ordinary account, from the tree, with the hub's environment (it compiles the wall's filter) and a notebook
environment that was installed with LEERLAB_TORCH=cuda. It proves, and ends with 0 only if all of it holds:

1. torch computes on CUDA inside a real wall, and sees exactly one GPU;
2. the device nodes of all other GPUs, and those that configure GPUs, are absent inside, and cannot be opened;
3. shared memory inside is as large as the job's memory; no limit on the address space is set;
4. the energy that the job's own meter wrote down agrees with what `nvidia-smi` says of the same time, within 5 %.

Where there is no GPU it ends with 2 and proves nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from confinement import gpu, seccomp
from confinement.meter import Meter
from confinement.run import start
from confinement.wall import Bind, Wall

MEMORY = 8 * 2**30
WITHIN = 0.05
INSIDE = """
import json, os, resource, sys, time
import torch
seen = sorted(name for name in os.listdir("/dev") if name.startswith("nvidia"))
opened = []
for minor in range(64):
    for name in (f"nvidia{minor}", "nvidia-modeset", f"nvidia-caps/nvidia-cap{minor}"):
        try:
            os.close(os.open(f"/dev/{name}", os.O_RDWR)); opened.append(name)
        except OSError:
            pass
a = torch.randn(8192, 8192, device="cuda")
end, rounds = time.monotonic() + float(sys.argv[1]), 0
while time.monotonic() < end:
    a = torch.tanh(a @ a); torch.cuda.synchronize(); rounds += 1
b = torch.ones(1000, device="cuda")
shm = os.statvfs("/dev/shm")
print(json.dumps({
    "devices": torch.cuda.device_count(), "name": torch.cuda.get_device_name(0), "sum": float(b.sum()),
    "rounds": rounds,
    "seen": seen, "opened": sorted(set(opened)), "shm": shm.f_blocks * shm.f_frsize,
    "address_space": resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY,
}))
"""


class Watch(threading.Thread):
    """Adds up what `nvidia-smi` says of one GPU's power, ten times a second, by trapezoids of its own."""

    def __init__(self, uuid: str) -> None:
        super().__init__(daemon=True)
        self.joules = 0.0
        self._process = subprocess.Popen(
            ["nvidia-smi", f"--id={uuid}", "--query-gpu=power.draw", "--format=csv,noheader,nounits", "--loop-ms=100"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self) -> None:
        """Read until it ends."""
        assert self._process.stdout is not None
        before: tuple[float, float] | None = None
        for line in self._process.stdout:
            now, watts = time.monotonic(), float(line)
            if before is not None:
                self.joules += (watts + before[1]) / 2 * (now - before[0])
            before = (now, watts)

    def end(self) -> float:
        """Stop; the joules so far."""
        self._process.terminate()
        self.join(10)
        return self.joules


def uuid_of(minor: int) -> str:
    """The id of a GPU, as `nvidia-smi` knows it."""
    for folder in Path("/proc/driver/nvidia/gpus").iterdir():
        text = dict(line.split(":", 1) for line in (folder / "information").read_text().splitlines() if ":" in line)
        if int(text["Device Minor"]) == minor:
            return text["GPU UUID"].strip()
    raise SystemExit(f"There is no GPU {minor}.")


def prove(number: str, seconds: float) -> dict[str, object]:
    """Run all of it; the facts, with `proved` for the verdict of each."""
    with tempfile.TemporaryDirectory(prefix="ll-", dir="/tmp") as made:
        folder = Path(made)
        (folder / "home").mkdir()
        seccomp.write_filter(folder / "seccomp.bpf")
        environment = Bind(Path(os.environ["LEERLAB_NOTEBOOK_ENV"]), Path("/opt/notebook"))
        plain = Wall(
            command=("/opt/notebook/bin/python", "-I", "-c", INSIDE, str(seconds)), home=folder / "home",
            seccomp=folder / "seccomp.bpf", binds=(environment,),
        )  # fmt: skip
        job = {"SLURM_JOB_GPUS": number, "SLURM_MEM_PER_NODE": str(MEMORY // 2**20), "SLURM_JOB_ID": "0"}
        wall, devices = gpu.admit(plain, job)
        if not devices:
            raise SystemExit("Slurm's word for a GPU let none in.")
        watch = Watch(uuid_of(devices.minors[0]))
        watch.start()
        with Meter(folder / "use.jsonl", devices, job), start(wall) as walled:
            code = walled.wait(seconds + 300)
        by_smi = watch.end()
        if code:
            raise SystemExit(f"Inside it failed ({code}):\n{walled.output.decode(errors='replace')}")
        inside = json.loads(walled.output.decode().strip().splitlines()[-1])
        last = json.loads((folder / "use.jsonl").read_text().splitlines()[-1])
    own = {f"nvidia{devices.minors[0]}", "nvidiactl", "nvidia-uvm"}
    metered = last["gpu"]["joules"] if last["gpu"] else 0.0
    proved = {
        "torch on CUDA inside the wall": inside["sum"] == 1000.0 and inside["rounds"] > 0 and inside["devices"] == 1,
        "other devices absent": set(inside["seen"]) == own and set(inside["opened"]) <= own,
        "shared memory as large as the job's": inside["shm"] == MEMORY,
        "no limit on the address space": bool(inside["address_space"]),
        "energy agrees with nvidia-smi": bool(by_smi) and abs(metered / by_smi - 1) <= WITHIN,
    }
    return {"inside": inside, "joules": metered, "nvidia_smi_joules": by_smi, "use": last, "proved": proved}


def main() -> int:
    """Prove it, print the facts as JSON, and say by the exit code whether all of it holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gpu", default="0", help="as Slurm would name it")
    parser.add_argument("--seconds", type=float, default=60.0)
    asked = parser.parse_args()
    if not Path("/proc/driver/nvidia/gpus").is_dir():
        sys.stderr.write("This machine has no NVIDIA GPU: nothing was proved.\n")
        return 2
    facts = prove(asked.gpu, asked.seconds)
    sys.stdout.write(json.dumps(facts, indent=1) + "\n")
    proved = facts["proved"]
    assert isinstance(proved, dict)
    return 0 if all(proved.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
