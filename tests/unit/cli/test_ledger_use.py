"""`leerlab ledger use`: sums and single jobs, for people and for programs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from base.paths import State
from hub_config.audit import open_ledger
from hub_config.site import load
from ledger.use import Place, Use, UseLedger

CODE = Path(__file__).resolve().parents[3]
DEMO = CODE / "hub_config" / "demo.yaml"


def used(number: int, person: str, place: Place, place_id: str) -> Use:
    return Use(
        id=f"hub:{number}", job=number, person=person, place=place, place_id=place_id, begun=time.time() - 60,
        seconds=1800, core_seconds=3600, cpu_seconds=900.0, gpu_thousandths=900_000, joules=36_000.0, least=18_000.0,
        most=72_000.0, gpu_joules=None, measured=False, source="sacct", final=True,
    )  # fmt: skip


@pytest.fixture
def home() -> Iterator[Path]:
    # The state folder's path is bounded.
    made = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    state = State(made / "leerlab" / "demo")
    state.make()
    with closing(open_ledger(load(DEMO), state)) as ledger:
        UseLedger(ledger).put(
            [
                used(1, "sanne", Place.COURSE, "ai-in-je-vak"),
                used(2, "sanne", Place.OWN, ""),
                used(3, "mila", Place.SANDBOX, "abcdefgh"),
            ]
        )
    yield made
    shutil.rmtree(made)


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli", "ledger", "use", *arguments],
        cwd=CODE, env={**os.environ, "XDG_STATE_HOME": str(home)}, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip


def test_sums_and_single_jobs_for_programs(home: Path) -> None:
    sums = json.loads(run(home, "--json").stdout)
    assert [(one["place"], one["id"], one["seconds"]) for one in sums] == [
        ("course", "ai-in-je-vak", 1800), ("own", "", 1800), ("sandbox", "abcdefgh", 1800), ("all", "", 5400),
    ]  # fmt: skip
    assert sums[-1]["unmetered"] == 2_700_000
    people = json.loads(run(home, "--by", "person", "--json").stdout)
    assert {one["person"]: one["jobs"] for one in people} == {"sanne": 2, "mila": 1, "all": 3}
    (one,) = json.loads(run(home, "--sandbox", "abcdefgh", "--json").stdout)
    assert (one["job"], one["person"], one["source"]) == (3, "mila", "sacct")


def test_a_table_for_people(home: Path) -> None:
    shown = run(home, "--person", "sanne").stdout
    assert all(words in shown for words in ("hub:1", "ai-in-je-vak", "0.0100", "0.0050 - 0.0200"))
    assert "mila" not in shown


def test_a_course_and_a_sandbox_together_are_wrong_use(home: Path) -> None:
    assert run(home, "--course", "a", "--sandbox", "b").returncode == 2
