"""The benchmarks of hundreds of servers, with a handful: every side is measured, and nothing is left."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest

from bench import class_start, scheduler_load
from bench.light_hubs import POLLS, peer
from bench.spawn_latency import FOLDER

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(1800)]
PEERS = {peer(poll) for poll in POLLS}


def nothing_is_left() -> None:
    left = [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline"])
        if any(f"/tmp/{FOLDER}" in word for word in process.info["cmdline"] or [])
    ]
    assert left == []
    assert list(Path("/tmp").glob(f"{FOLDER}*")) == []


def test_scheduler_load_measures_every_side_at_every_level() -> None:
    levels = scheduler_load.levels(running=(0, 3), pending=(3,))
    line = json.loads(scheduler_load.measure(scheduler_load.Course(1, levels, window=20.0, settle=12.0)).as_json())
    assert (line["name"], line["n"]) == ("scheduler-load", 1)
    assert set(line["peers"]) == PEERS
    # The hub looked at least twice in 20 s, and a look costs two calls or three.
    assert line["product"] >= 6
    for level in ("0 running", "3 running", "3 pending"):
        assert any(note.startswith(f"{level}: product ") for note in line["notes"]), line["notes"]
    nothing_is_left()


def test_class_start_measures_every_side_and_nobody_is_left_behind() -> None:
    line = json.loads(class_start.measure(1, people=5, within=1.0).as_json())
    assert (line["name"], line["n"]) == ("class-start", 1)
    assert set(line["peers"]) == PEERS
    assert line["limit"] > 0.1
    assert line["product"] > 0.1
    assert any("product 0," in note for note in line["notes"]), line["notes"]
    nothing_is_left()
