"""The benchmarks of grading, with a handful: every side is measured, marks are compared, and nothing is left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench import confine_overhead, grade_class, grade_scale
from bench.graded_course import Kind, class_of_30
from bench.grading_peers import GRADER_SERVICE, NBGRADER, OTTER
from bench.result import Result
from bench.spawn_latency import FOLDER

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(2400)]


def line_of(result: Result) -> dict[str, Any]:
    left = [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline"])
        if any(f"/tmp/{FOLDER}" in word for word in process.info["cmdline"] or [])
    ]
    assert left == []
    assert list(Path("/tmp").glob(f"{FOLDER}*")) == []
    line: dict[str, Any] = json.loads(result.as_json())
    return line


def test_a_class_is_graded_by_every_side_and_all_give_harmless_work_the_same_marks() -> None:
    everybody = class_of_30()
    work = [*everybody[:3], *(one for one in everybody if one.kind is not Kind.BENIGN)][:5]
    line = line_of(grade_class.measure(1, work))
    assert (line["name"], line["n"], set(line["peers"])) == ("grade-class", 1, {NBGRADER, OTTER, GRADER_SERVICE})
    assert 0 < line["limit"] < line["product"]
    about_marks = [note for note in line["notes"] if note.startswith("marks")]
    assert len(about_marks) == 3
    # nbgrader gives up the whole notebook when its Python is killed; of the others only the killing one differs, too.
    assert all("benign" not in note.partition(":")[2] for note in about_marks), about_marks


def test_many_pieces_of_work_are_graded_and_the_pages_of_all_are_looked_at() -> None:
    line = line_of(grade_scale.measure(1, grade_scale.Course(sizes=(2, 4), people=6, limit_size=2)))
    assert (line["name"], line["n"]) == ("grade-scale", 1)
    assert set(line["peers"]) == {"the product with 2"}
    assert 0 < line["limit"] < line["product"]
    (pages,) = [note for note in line["notes"] if note.startswith("pages of 6 students")]
    assert all(name in pages for name in grade_scale.PAGES)
    assert any("MiB with 4" in note for note in line["notes"])


def test_the_wall_s_cost_is_measured_in_pairs() -> None:
    line = line_of(confine_overhead.run(1))
    assert (line["name"], line["n"]) == ("confine-overhead", confine_overhead.STARTS)
    assert 0 < line["limit"] < line["product"] < 30
    for kind in confine_overhead.KINDS:
        assert any(note.startswith(f"{kind}: ") for note in line["notes"]), line["notes"]
