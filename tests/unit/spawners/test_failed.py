"""What failed is written down beside its log: newest first, and with its secrets hidden."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from base.messages import Message
from cluster.jobs import Job, JobState
from spawners.ends import Ended, ending
from spawners.failed import MOST, lines_of, recent, write_down
from spawners.failures import LAST_LINES, ended_early

NOW = datetime(2026, 9, 1, 9, 0, tzinfo=UTC)
START = "0123456789abcdef"
JOB = Job(
    id=7, state=JobState.FAILED, reason="", nodes=("cpu01",), comment="", name="leerlab-server", partition="cpu",
    submitted=NOW,
)  # fmt: skip


def folder(jobs: Path, start: str = START, log: str = "no such file: model.bin\n") -> Path:
    made = jobs / start
    made.mkdir()
    (made / "owner").write_text("sanne")
    (made / "server.log").write_text(log)
    return made


def test_an_operator_finds_who_when_why_and_the_last_lines(tmp_path: Path) -> None:
    folder(tmp_path, log="Traceback\nJUPYTERHUB_API_TOKEN=0123456789abcdef0123456789abcdef\n")
    write_down(tmp_path, START, Message("start.failed.exit", {"exit_code": 3, LAST_LINES: "x"}), NOW)
    (one,) = recent(tmp_path, datetime.now(UTC))
    assert (one.start, one.owner, one.message, one.at) == (
        START, "sanne", Message("start.failed.exit", {"exit_code": 3}), NOW,
    )  # fmt: skip
    assert one.log == "Traceback\nJUPYTERHUB_API_TOKEN=[redacted]"


def test_the_newest_stand_first_and_the_old_not_at_all(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    for number in range(MOST + 5):
        start = f"{number:016x}"
        made = folder(tmp_path, start)
        write_down(tmp_path, start, Message("start.failed.memory"), now)
        then = (now - timedelta(days=8 if number == MOST + 4 else 0, minutes=number)).timestamp()
        os.utime(made / "failure.json", (then, then))
    assert [int(one.start, 16) for one in recent(tmp_path, now)] == list(range(MOST))


@pytest.mark.parametrize("code", ["start.failed.cancelled", "server.ended.itself", "server.ended.idle"])
def test_what_people_did_themselves_is_no_failure(tmp_path: Path, code: str) -> None:
    folder(tmp_path)
    write_down(tmp_path, START, Message(code), NOW)
    assert recent(tmp_path, datetime.now(UTC)) == []


def test_a_folder_that_is_gone_stops_nothing(tmp_path: Path) -> None:
    write_down(tmp_path, START, Message("start.failed.node"), NOW)
    assert recent(tmp_path / "nowhere", NOW) == []
    assert lines_of(tmp_path, "../../etc/passwd") == ""


@pytest.mark.attack
def test_no_link_leads_an_operator_to_another_file(tmp_path: Path) -> None:
    jobs, secret = tmp_path / "jobs", tmp_path / "secret"
    secret.write_text('{"code": "start.failed.node", "params": {}, "at": "2026-09-01T09:00:00+00:00"}')
    made = folder(jobs.mkdir() or jobs)
    (made / "server.log").unlink()
    for name in ("failure.json", "server.log"):
        (made / name).symlink_to(secret)
    assert recent(jobs, datetime.now(UTC)) == []
    write_down(jobs, START, Message("start.failed.memory"), NOW)
    assert "start.failed.node" in secret.read_text()
    # The control: the same file in the folder itself is read.
    (made / "failure.json").unlink()
    (made / "failure.json").write_text(secret.read_text())
    assert [one.message.code for one in recent(jobs, datetime.now(UTC))] == ["start.failed.node"]


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (JobState.PREEMPTED, "preempted"),
        (JobState.NODE_FAIL, "node"),
        (JobState.TIMEOUT, "time"),
        (JobState.OUT_OF_MEMORY, "memory"),
        (JobState.CANCELLED, "cancelled"),
        (JobState.COMPLETED, "itself"),
        (JobState.FAILED, "exit"),
    ],
)
def test_how_a_server_ended_is_told_by_what_slurm_says_of_its_job(state: JobState, code: str) -> None:
    assert ending(Job(**{**JOB.__dict__, "state": state})).code == f"server.ended.{code}"


def test_nobody_is_told_a_reason_that_slurm_has_forgotten() -> None:
    assert ending(None).code == "server.ended.unknown"


def test_an_end_is_remembered_and_anything_else_is_not_taken_for_one() -> None:
    ended = Ended(Message("server.ended.preempted"), NOW, START)
    assert Ended.from_state(ended.to_state()) == ended
    for other in (None, "x", {}, {"code": "x", "params": {}, "at": "yesterday", "start": START}):
        assert Ended.from_state(other) is None


def test_a_start_that_was_preempted_says_so() -> None:
    assert ended_early(Job(**{**JOB.__dict__, "state": JobState.PREEMPTED}), "").code == "start.failed.preempted"
