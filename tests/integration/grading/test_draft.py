"""Marks that do not count yet come into nbgrader's gradebook all at once, on SQLite and on PostgreSQL."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import psycopg
import pytest

from base.paths import Installation

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

SCRIPT = Path(__file__).with_name("draft_script.py")
KINDS = ("sqlite", "postgresql")


def address(kind: str, folder: Path, request: pytest.FixtureRequest) -> str:
    if kind == "sqlite":
        return f"sqlite:///{folder / 'gradebook.db'}"
    return on(request.getfixturevalue("postgresql"))


def on(server: Any) -> str:
    """An empty database of a server of `tests/postgresql.py`, as SQLAlchemy names it."""
    return str(server.url(server.emptied())).replace("postgresql:", "postgresql+psycopg:")


def started(installation: Installation, scenario: str, url: str, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    environment = installation.notebook_env
    # nbgrader writes down which version a new gradebook is of, by Alembic's command.
    variables = {
        "PATH": f"{environment / 'bin'}:/usr/bin:/bin",
        "PYTHONPATH": str(installation.code / "images" / "notebook"),
        "HOME": "/nonexistent",
    }
    drivers = Path(psycopg.__file__).parents[1]
    return subprocess.Popen(
        [*before, environment / "bin" / "python", SCRIPT, scenario, url, drivers],
        env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def succeeds(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "scenario",
    [
        "a_draft_changes_nothing_and_what_came_of_it_comes_in_once",
        "what_a_person_typed_meanwhile_stays",
        "work_that_has_no_marks_gets_all_of_them",
        "lateness_is_worked_out_with_the_marks_of_this_moment",
        "other_tests_refuse_the_marks",
        "differences_say_what_goes_up_and_what_a_mark_by_hand_keeps",
    ],
)
def test_marks(
    scenario: str, kind: str, installation: Installation, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    succeeds(started(installation, scenario, address(kind, tmp_path, request)))


@pytest.mark.fault
@pytest.mark.parametrize("kind", KINDS)
def test_what_stops_it_half_way_leaves_the_marks_that_were_there(
    kind: str, installation: Installation, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    scenario = "what_stops_it_half_way_leaves_the_marks_that_were_there"
    succeeds(started(installation, scenario, address(kind, tmp_path, request)))


def until_it_waits(process: subprocess.Popen[str], away: Callable[[], object], back: Callable[[], object]) -> None:
    """Have the gradebook go away when the marks are ready, and come back when two tries have failed."""
    assert process.stdin is not None and process.stdout is not None
    said: IO[str] = process.stdout
    assert said.readline() == "ready\n", process.communicate(timeout=60)
    away()
    process.stdin.write("\n")
    process.stdin.flush()
    for _ in range(2):
        assert said.readline() == "trying\n", process.communicate(timeout=60)
    back()
    succeeds(process)


@pytest.mark.fault
def test_a_gradebook_that_somebody_else_keeps_locked_is_waited_for(installation: Installation, tmp_path: Path) -> None:
    file = tmp_path / "gradebook.db"
    process = started(installation, "a_gradebook_that_is_locked_or_away_is_waited_for", f"sqlite:///{file}")
    writer = sqlite3.connect(file, isolation_level=None)
    until_it_waits(process, lambda: writer.execute("BEGIN EXCLUSIVE"), lambda: writer.execute("ROLLBACK"))
    writer.close()


@pytest.mark.fault
def test_a_gradebook_whose_server_restarts_is_waited_for(installation: Installation, postgresql: Any) -> None:
    # One of its own: others use the one that is running.
    with sys.modules["postgresql"].running() as server:
        process = started(installation, "a_gradebook_that_is_locked_or_away_is_waited_for", on(server))
        until_it_waits(process, lambda: server.stop(signal.SIGQUIT), server.start)


@pytest.mark.fault
def test_a_full_disk_leaves_the_marks_and_the_plan_that_were_there(installation: Installation, tmp_path: Path) -> None:
    # A file system of its own, which only this process sees.
    mount = 'mount -t tmpfs -o size=1m none "$0" && exec "$@"'
    before = ("unshare", "--user", "--map-root-user", "--mount", "/bin/sh", "-c", mount, str(tmp_path))
    url = f"sqlite:///{tmp_path / 'gradebook.db'}"
    succeeds(started(installation, "a_full_disk_leaves_the_marks_and_the_plan_that_were_there", url, before))
    assert not list(tmp_path.iterdir())
