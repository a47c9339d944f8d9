"""`leerlab bench NAME [--json] [-n N]` and `leerlab bench --list`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from importlib import import_module

from base.errors import LeerlabError
from bench.result import Result

# name -> (module, its function `(n: int) -> Result`, what it measures)
BENCHMARKS = {
    "assistant-overhead": ("bench.assistant_overhead", "run", "from a question to the model's first word"),
    "assistant-streams": ("bench.assistant_overhead", "run_streams", "each word of twenty answers at one time"),
    "class-start": ("bench.class_start", "run", "100 light servers asked for within 10 s, until 95 are ready"),
    "confine-overhead": ("bench.confine_overhead", "run", "start and run of a process behind the wall and without one"),
    "first-cell": ("bench.first_cell", "run", "from the click to the output of a first cell that imports PyTorch"),
    "grade-class": ("bench.grade_class", "run", "a class of 30 from the click until all marks stand in the gradebook"),
    "grade-scale": ("bench.grade_scale", "run", "300 and 1,000 pieces of work, and a teacher's pages of 600 students"),
    "sandbox-start": ("bench.sandbox_start", "run", "from the request for a sandbox to the answer of its walled lab"),
    "scheduler-load": (
        "bench.scheduler_load",
        "run",
        "remote calls of Slurm and processor time, by servers that run and wait",
    ),
    "spawn-latency": ("bench.spawn_latency", "run", "from the request for a server to HTTP 200 through the proxy"),
    "spawn-latency-peers": ("bench.spawn_latency", "run_variants", "the same with each way of setting BatchSpawner"),
}


def main() -> int:
    """Parse the arguments, run one benchmark, print its table and, with --json, its line."""
    parser = argparse.ArgumentParser(prog="leerlab bench", description=__doc__)
    parser.add_argument("name", nargs="?", choices=sorted(BENCHMARKS), help="which benchmark")
    parser.add_argument("--list", action="store_true", help="name the benchmarks and what they measure")
    parser.add_argument("--json", action="store_true", help="end with one JSON object on the last line")
    parser.add_argument(
        "-n", type=int, default=7, help="repetitions of each side (7 or more for a figure that is quoted)"
    )
    arguments = parser.parse_args()
    if arguments.list:
        for name, (_, _, meaning) in sorted(BENCHMARKS.items()):
            print(f"{name:20} {meaning}")  # noqa: T201
        return 0
    if not arguments.name or arguments.n < 1:
        parser.print_usage(sys.stderr)
        return 2
    module, function, _ = BENCHMARKS[arguments.name]
    run: Callable[[int], Result] = getattr(import_module(module), function)
    try:
        result = run(arguments.n)
    except LeerlabError as error:
        print(f"leerlab bench: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(result.as_text(), file=sys.stderr if arguments.json else sys.stdout)
    if arguments.json:
        print(result.as_json())  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
