"""The benchmarks of the assistant's gateway, run once: what they print, and that they leave nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import psutil
import pytest

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.parametrize("name", ["assistant-overhead", "assistant-streams"])
def test_one_repetition_measures_every_side_and_leaves_nothing(name: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "bench", name, "--json", "-n", "1"],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    line = json.loads(result.stdout.splitlines()[-1])
    assert line["name"] == name and set(line["peers"]) == {"bare back end"}
    assert min(line["product"], line["peer"], line["limit"]) > 0.5, "milliseconds"
    if name == "assistant-streams":
        # Words come at a fixed rate; none of the sides can be faster, and a gateway that were slower would show.
        assert line["peer"] == pytest.approx(40, rel=0.05)
    programs = ("bench.paced_model", "bench.identities")
    left = [one for one in psutil.process_iter(["cmdline"]) if set(programs) & set(one.info["cmdline"] or [])]
    assert left == []
