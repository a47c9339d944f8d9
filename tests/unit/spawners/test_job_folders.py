"""Which folders of starts are removed."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cluster.errors import SlurmUnavailable
from cluster.settings import Interval
from cluster.watcher import Watcher
from spawners import job_folders

NOW = datetime.now(UTC)
LONG_AGO = (NOW - timedelta(days=30)).timestamp()


def start_folder(jobs: Path, name: str, folder_age: float = LONG_AGO, log_age: float = LONG_AGO) -> Path:
    folder = jobs / name
    folder.mkdir()
    (folder / "server.log").write_text("regel")
    os.utime(folder / "server.log", (log_age, log_age))
    os.utime(folder, (folder_age, folder_age))
    return folder


def test_only_old_folders_of_starts_that_are_over_go(tmp_path: Path) -> None:
    start_folder(tmp_path, "a" * 16)
    kept = [
        start_folder(tmp_path, "b" * 16, log_age=NOW.timestamp()),
        start_folder(tmp_path, "c" * 16, folder_age=NOW.timestamp()),
        start_folder(tmp_path, "d" * 16),
        start_folder(tmp_path, "e" * 24),
    ]
    outside = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    outside.mkdir()
    (tmp_path / ("f" * 16)).symlink_to(outside)
    removed = job_folders.remove_old(tmp_path, {"d" * 16}, NOW - timedelta(days=7))
    assert removed == ["a" * 16]
    assert [folder for folder in (*kept, outside) if not folder.is_dir()] == []


def test_one_start_of_a_hub_removes_a_bounded_number(tmp_path: Path) -> None:
    for number in range(5):
        start_folder(tmp_path, f"{number:016x}")
    assert len(job_folders.remove_old(tmp_path, (), NOW, most=3)) == 3
    assert len(list(tmp_path.iterdir())) == 2


class SilentSlurm:
    async def queue(self):
        raise SlurmUnavailable("No answer.")

    async def jobs(self, job_ids):
        raise SlurmUnavailable("No answer.")


async def test_while_slurm_is_silent_nothing_is_removed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(job_folders, "ANSWER_SECONDS", 0.2)
    folder = start_folder(tmp_path, "a" * 16)
    async with Watcher(SilentSlurm(), Interval()) as watcher:
        await job_folders.prune(tmp_path, (), watcher)
    assert folder.is_dir()
