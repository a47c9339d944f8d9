"""The benchmark of a first cell, run once in Chromium: its figures fit together, and nothing of it stays behind."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.spawn_latency import FOLDER

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(560)]


def test_one_repetition_measures_every_side_and_names_the_parts_of_the_limit() -> None:
    before = set(Path("/tmp").glob(f"{FOLDER}*"))
    result = subprocess.run(
        [sys.executable, "-m", "bench", "first-cell", "--json", "-n", "1"],
        capture_output=True, text=True, timeout=540, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    line = json.loads(result.stdout.splitlines()[-1])
    assert (line["name"], line["unit"], line["n"], len(line["peers"])) == ("first-cell", "s", 1, 2)
    # Nobody sees an output sooner than a server's start, an empty job and a page with all imports done.
    assert 0 < line["limit"] < min(line["product"], line["peer"])
    assert line["ratio"] == pytest.approx(line["product"] / line["peer"], abs=0.002)
    limit = next(note for note in line["notes"] if note.startswith("limit"))
    assert sum(float(each) for each in re.findall(r"(\d+\.\d+) s", limit)) == pytest.approx(line["limit"], abs=0.02)
    assert set(Path("/tmp").glob(f"{FOLDER}*")) <= before
