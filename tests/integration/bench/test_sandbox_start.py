"""The benchmark of a sandbox's start, run once: its figures fit together, and every part of the start is named."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]


def test_one_repetition_measures_every_side_and_names_the_parts() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "bench", "sandbox-start", "--json", "-n", "1"],
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    line = json.loads(result.stdout.splitlines()[-1])
    assert (line["name"], line["unit"], line["n"]) == ("sandbox-start", "s", 1)
    # Nothing starts faster than an empty job, and a new sandbox's lab not faster than a lab.
    assert 0 < line["limit"] < line["peer"]
    assert line["ratio"] == pytest.approx(line["product"] / line["peer"], abs=0.002)
    own = next(note for note in line["notes"] if note.startswith("own part"))
    whole, files, accounts, page = (float(each) for each in re.findall(r"(\d+\.\d+) s", own))
    assert whole == pytest.approx(files + accounts + page, abs=0.002)
    assert min(files, accounts, page) > 0
    start = next(float(re.findall(r"(\d+\.\d+) s", note)[0]) for note in line["notes"] if "the start itself" in note)
    assert line["product"] == pytest.approx(whole + start, abs=0.01)
