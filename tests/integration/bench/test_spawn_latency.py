"""The benchmark of a start, run once: what it prints, and what it leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from bench.spawn_latency import FOLDER

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]


def test_one_repetition_measures_every_side_and_leaves_nothing() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "bench", "spawn-latency", "--json", "-n", "1"],
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    line = json.loads(result.stdout.splitlines()[-1])
    assert set(line) == {
        "name", "unit", "product", "peer", "peers", "ratio", "limit", "of_limit", "n", "spread", "notes",
    }  # fmt: skip
    assert (line["name"], line["unit"], line["n"]) == ("spawn-latency", "s", 1)
    # Nothing starts faster than its own parts, and a start that is not one would take next to no time.
    assert line["limit"] > 0.5
    assert line["product"] > 0.5
    assert line["peer"] > 0.5
    assert line["ratio"] == pytest.approx(line["product"] / line["peer"], abs=0.002)
    assert line["of_limit"] == pytest.approx(line["product"] / line["limit"], abs=0.002)
    assert set(line["spread"]) == {"product", "limit", *line["peers"]}
    left = [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline"])
        if any(f"/tmp/{FOLDER}" in word for word in process.info["cmdline"] or [])
    ]
    assert left == []
    assert list(Path("/tmp").glob(f"{FOLDER}*")) == []
