"""Each command of Slurm is counted once, by what came of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from cluster.command import Commands
from cluster.errors import SlurmUnavailable


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("leerlab_slurm_commands_total", {"command": "squeue", "outcome": outcome}) or 0.0


@pytest.mark.parametrize(
    ("script", "outcome"), [("exit 0", "answered"), ("exit 1", "failed"), ("exec sleep 30", "no-answer")]
)
async def test_a_command_is_counted_by_what_came_of_it(script: str, outcome: str, tmp_path: Path) -> None:
    (tmp_path / "slurm.conf").touch()
    (tmp_path / "squeue").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "squeue").chmod(0o755)
    before = {each: counted(each) for each in ("answered", "failed", "no-answer")}
    timed = REGISTRY.get_sample_value("leerlab_slurm_command_seconds_count", {"command": "squeue"}) or 0.0
    # What does answer has time for it on a busy machine too.
    commands = Commands(tmp_path / "slurm.conf", tmp_path, answer=1.0 if outcome == "no-answer" else 60.0)
    try:
        await commands.run("squeue", [])
    except SlurmUnavailable:
        assert outcome == "no-answer"
    assert {each: counted(each) - before[each] for each in before} == {
        each: 1.0 if each == outcome else 0.0 for each in before
    }
    assert REGISTRY.get_sample_value("leerlab_slurm_command_seconds_count", {"command": "squeue"}) == timed + 1
