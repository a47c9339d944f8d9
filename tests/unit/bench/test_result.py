"""What a benchmark says of its figures."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bench.result import Result

RESULT = Result(
    name="example",
    unit="s",
    product=[3.0, 2.0, 10.0],
    peers={"slow": [8.0, 9.0, 1.0], "fast": [4.0, 5.0, 4.5]},
    limit=[1.0, 1.6, 2.0],
    notes=["a note"],
)


def test_the_line_holds_medians_and_not_means() -> None:
    line = json.loads(RESULT.as_json())
    assert (line["product"], line["limit"], line["n"]) == (3.0, 1.6, 3)


def test_the_peer_is_the_best_of_the_peers_by_its_median() -> None:
    line = json.loads(RESULT.as_json())
    assert line["peers"] == {"slow": 8.0, "fast": 4.5}
    assert line["peer"] == 4.5


def test_ratios_are_product_to_peer_and_product_to_limit() -> None:
    line = json.loads(RESULT.as_json())
    assert line["ratio"] == pytest.approx(3.0 / 4.5, abs=0.001)
    assert line["of_limit"] == pytest.approx(3.0 / 1.6, abs=0.001)


def test_the_spread_shows_what_the_medians_hide() -> None:
    spread = json.loads(RESULT.as_json())["spread"]
    assert spread == {"product": [2.0, 10.0], "limit": [1.0, 2.0], "slow": [1.0, 9.0], "fast": [4.0, 5.0]}


def test_the_line_is_one_line_and_the_table_names_every_side_and_note() -> None:
    assert "\n" not in RESULT.as_json()
    for word in ("product", "slow", "fast", "limit", "a note"):
        assert word in RESULT.as_text()


@pytest.mark.parametrize("arguments", [["no-such-benchmark"], ["spawn-latency", "-n", "0"], []])
def test_wrong_use_ends_with_two_and_measures_nothing(arguments: list[str]) -> None:
    result = subprocess.run([sys.executable, "-m", "bench", *arguments], capture_output=True, timeout=60, check=False)
    assert result.returncode == 2
    assert not result.stdout


def test_the_list_names_each_benchmark() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "bench", "--list"], capture_output=True, text=True, timeout=60, check=True
    )
    assert "spawn-latency " in result.stdout
