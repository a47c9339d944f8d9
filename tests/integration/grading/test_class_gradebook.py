"""A class's gradebook as the overview and the export read it, and the library of comments, on both databases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from base.database_url import for_sqlalchemy
from base.paths import Installation

pytestmark = pytest.mark.integration
SCRIPT = Path(__file__).with_name("class_script.py")
Script = Callable[..., dict[str, Any]]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, folder: Path) -> str:
    """An empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{folder}/gradebook.db"
    server = request.getfixturevalue("postgresql")
    return for_sqlalchemy(server.url(server.database()))


@pytest.fixture
def script(installation: Installation) -> Script:
    """Run the script in the notebook environment; what it printed."""

    def run(*arguments: object) -> dict[str, Any]:
        environment = {
            **os.environ,
            # nbgrader asks a program of its own, alembic, what a new gradebook's version is.
            "PATH": f"{installation.notebook_env / 'bin'}:/usr/bin:/bin",
            "PYTHONPATH": str(installation.code / "images/notebook"),
            "DRIVER": str(Path(psycopg.__file__).parents[1]),
        }
        done = subprocess.run(
            [str(installation.notebook_env / "bin/python"), str(SCRIPT), *map(str, arguments)],
            env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    return run


@pytest.mark.timeout(400)
def test_a_class_is_read_in_as_many_queries_whatever_its_size_and_as_nbgrader_has_it(url: str, script: Script) -> None:
    script("make", url, 40, 3, 4)
    told = script("read", url, 40)
    assert told["differences"] == []
    assert told["parts"] == ["week-1", "week-2", "week-3"] and told["students"] == 40
    assert told["tasks"] == [
        ["taak-1", 2.0, False], ["taak-2", 3.0, False], ["taak-3", 4.0, False], ["taak-4", 2.0, True],
    ]  # fmt: skip
    # Three of forty handed in nothing, another three each week: (place + week) % 13 == 0.
    assert told["work"] == sum((place + week) % 13 != 0 for week in range(3) for place in range(40))
    assert told["queries"] == 6


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_600_students_with_10_assignments_take_no_more_queries_than_40_with_3(url: str, script: Script) -> None:
    script("make", url, 600, 10, 8)
    told = script("read", url, 20)
    # Seen with -s; no benchmark is a test.
    sys.stdout.write(f"{told['seconds']:.2f} s on {url.partition(':')[0]}\n")
    assert told["differences"] == [] and told["students"] == 600 and len(told["parts"]) == 10
    assert told["queries"] == 6


def test_a_library_of_comments_keeps_text_once_a_task_most_used_first_and_within_its_bounds(
    url: str, script: Script
) -> None:
    told = script("library", url)
    assert told["kept"] == "Let op de eenheid.\nkWh, niet kW."
    assert told["same"] and told["elsewhere"] and told["used"] == [1, 2]
    assert told["edited"] == "\u00e9\u00e9n <b>vet</b>"
    assert told["order"][0] == "Mooi werk" and len(told["order"]) == 3
    assert told["refused"] == ["empty", "empty", "empty", "long"] and told["full"] == "full"
    assert told["none"] == [] and told["gone"] and told["removed"] == [True, False]
