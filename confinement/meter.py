"""What a job uses, written down by its wrapper while it runs: processor time, and the energy of the job's GPUs.

Each line of the file is one JSON object with all that was used since the job began, so that the last whole line tells
everything: a line that was cut off, or a wrapper that was killed, loses what came after the line before. The file is
outside the wall, and no wall has it. Standard library only.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from base.energy import Energy
from confinement.energy import Integrator, Reading
from confinement.gpu import NOTHING, Entering
from confinement.nvml import Nvml, NvmlSilent
from confinement.processor_time import Counter, counter

FILE = "use.jsonl"
LINE_SECONDS = 30.0
"""Between two lines: what a killed wrapper loses at most, besides how long its job was."""
COUNTER_SECONDS = 10.0
"""Between two readings of a GPU that counts its own energy."""
POWER_SECONDS = 1.0
"""The same of a GPU that only tells its power at the moment."""


@dataclass
class _Gpus:
    """The job's GPUs at the meter.

    Args:
        nvml: the library.
        handles: NVML's, one a GPU.
        part: which part of them is the job's; 1 for whole ones.
    """

    nvml: Nvml
    handles: list[Any]
    part: float
    sums: list[Integrator] = field(default_factory=list)
    counted: bool = True

    def read(self, at: float) -> None:
        """Take one reading of each."""
        for handle, total in zip(self.handles, self.sums, strict=True):
            reading = Reading(at, self.nvml.millijoules(handle), self.nvml.milliwatts(handle))
            self.counted &= reading.millijoules is not None
            total.add(reading)

    def told(self) -> dict[str, float]:
        """All of them together."""
        whole = sum((total.total for total in self.sums), Energy())
        # What a neighbour on the same GPU drew is not known apart: a part is anything between nothing and the whole.
        least = whole.least if self.part == 1 else 0.0
        return {
            "joules": round(whole.joules * self.part, 3), "least": round(least, 3), "most": round(whole.most, 3),
            "unseen": round(max((total.unseen for total in self.sums), default=0.0), 3),
        }  # fmt: skip


class Meter:
    """Measures one job in a thread of its own, until it is closed.

    Args:
        path: the file that gets the lines; None measures nothing.
        devices: the job's GPUs.
        environment: the job's, with Slurm's variables.
        nvml: NVML's library; None: the machine's own.
        clock: seconds that nobody sets.
    """

    def __init__(
        self,
        path: Path | None,
        devices: Entering = NOTHING,
        environment: Mapping[str, str] = os.environ,
        *,
        nvml: Any = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._devices = devices
        self._job = environment.get("SLURM_JOB_ID", "")
        self._cores = environment.get("SLURM_CPUS_ON_NODE", "")
        self._shards = bool(environment.get("SLURM_SHARDS_ON_NODE"))
        self._nvml = nvml
        self._clock = clock
        self._begun = clock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._measure, name="meter", daemon=True)

    def __enter__(self) -> Meter:
        if self._path is not None:
            self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        if self._path is not None:
            self._thread.join()

    def _measure(self) -> None:
        assert self._path is not None
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            file = os.open(self._path, flags, 0o600)
        except OSError as error:
            # A job is not ended because nobody can count it; Slurm still knows how long it was.
            sys.stderr.write(f"What this job uses is not measured: {error}\n")
            return
        with ExitStack() as stack:
            stack.callback(os.close, file)
            cpu, gpus = counter(self._job, os.getpid()), self._at_the_meter(stack)
            next_line = 0.0
            while True:
                last = self._ended.is_set()
                at = self._clock() - self._begun
                if gpus is not None:
                    gpus.read(at)
                if last or at >= next_line:
                    self._write(file, at, cpu, gpus, last=last)
                    next_line = at + LINE_SECONDS
                if last:
                    return
                pause = LINE_SECONDS
                if gpus is not None:
                    pause = COUNTER_SECONDS if gpus.counted else POWER_SECONDS
                self._ended.wait(max(0.0, min(pause, next_line - at)))

    def _at_the_meter(self, stack: ExitStack) -> _Gpus | None:
        """The job's GPUs; None where it has none or the machine cannot measure them."""
        if not self._devices:
            return None
        try:
            nvml = stack.enter_context(Nvml.opened(self._nvml))
            known = nvml.handles()
            handles = [known[minor] for minor in self._devices.minors]
            part = min(1.0, sum(map(nvml.mig_part, self._devices.mig))) if self._devices.mig else 1.0
        except (NvmlSilent, KeyError) as error:
            sys.stderr.write(f"The energy of this job's GPUs is not measured: {error!r}\n")
            return None
        return _Gpus(nvml, handles, part, [Integrator() for _ in handles])

    def _write(self, file: int, at: float, cpu: Counter, gpus: _Gpus | None, *, last: bool) -> None:
        line = {
            "job": int(self._job) if self._job.isdigit() else None,
            "time": round(time.time(), 3),
            "seconds": round(at, 3),
            "cores": int(self._cores) if self._cores.isdigit() else None,
            "cpu_seconds": round(cpu.seconds(), 3),
            "cpu_source": cpu.source,
            "gpus": len(self._devices.minors),
            "shared": self._shards,
            "gpu": gpus.told() if gpus is not None else None,
            "last": last,
        }
        # A disk that is full for a while loses lines, not the job; the next line tells everything again.
        with suppress(OSError):
            os.write(file, (json.dumps(line) + "\n").encode())
