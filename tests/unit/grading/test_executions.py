"""Folders of executions that nobody took away are cleared, those that an earlier version left as well."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from base.paths import Installation, State
from grading.configuration import VARIABLE, ServiceConfiguration
from grading.executions import ExecutionLimits, Executions
from hub_config.run.processes import grading_daemon
from hub_config.site import load

CODE = Path(__file__).resolve().parents[3]

EXECUTION = "a" * 24


class NoJobs:
    """A cluster that has forgotten all jobs."""

    async def find(self, _comment):
        return []

    async def job(self, _number):
        return None


@pytest.fixture
def executions(tmp_path):
    state = State(tmp_path / "s")
    state.make()
    installation = Installation(CODE, tmp_path, tmp_path, tmp_path, tmp_path, tmp_path)
    daemon = grading_daemon(load(CODE / "hub_config/demo.yaml"), state, installation, {})
    configuration = ServiceConfiguration.model_validate_json(Path(daemon.environment[VARIABLE]).read_text())
    return Executions(
        hub="0" * 12,
        state=state,
        installation=installation,
        limits=ExecutionLimits(1, 1, configuration.limits),
        profile=configuration.profile,
        confinement=configuration.confinement,
        cluster=NoJobs(),
        interval=1,
    )


@pytest.mark.parametrize("since", [{"items": ["0", "1"]}, {}], ids=["now", "before-there-were-several"])
def test_what_nobody_took_away_goes(executions, tmp_path, since):
    asked = {"id": EXECUTION, "course": "klein", "by": "course-klein", "time": datetime.now(UTC).isoformat(), "job": 7}
    folder = State(tmp_path / "s").jobs / EXECUTION
    folder.mkdir()
    (folder / "execution.json").write_text(json.dumps(asked | since))
    assert asyncio.run(executions.clear_old()) == []
    assert folder.exists()
    assert asyncio.run(executions.clear_old(timedelta(days=-1))) == [EXECUTION]
    assert not folder.exists()
