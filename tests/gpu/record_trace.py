"""Record what this machine's GPU meters say, once per interval, for the integrator's tests and for looking at.

    python tests/gpu/record_trace.py trace.jsonl --seconds 300 --every 0.1

Standard library and `confinement` only, so it runs with Debian's Python on a bare node with NVIDIA's driver. Each line:
the GPU's minor number, seconds of a clock that nobody sets, and millijoules and milliwatts as NVML says them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from confinement.nvml import Nvml, NvmlSilent


def record(path: Path, seconds: float, every: float) -> int:
    """Record for so many seconds; returns how many readings there are."""
    count, begun = 0, time.monotonic()
    with Nvml.opened() as nvml, path.open("x") as file:
        handles = nvml.handles()
        while (at := time.monotonic() - begun) <= seconds:
            for minor, handle in sorted(handles.items()):
                line = {"gpu": minor, "at": round(at, 6), "mj": nvml.millijoules(handle), "mw": nvml.milliwatts(handle)}
                file.write(json.dumps(line) + "\n")
                count += 1
            time.sleep(max(0.0, begun + at + every - time.monotonic()))
    return count


def main() -> int:
    """Record, or say why nothing can be recorded."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--every", type=float, default=0.1)
    asked = parser.parse_args()
    try:
        count = record(asked.file, asked.seconds, asked.every)
    except (NvmlSilent, FileExistsError) as error:
        sys.stderr.write(f"Nothing was recorded: {error}\n")
        return 1
    sys.stdout.write(f"{count} readings in {asked.file}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
