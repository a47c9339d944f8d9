"""The job of a small model: what its wall lets in and out, and where its secrets are."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant.model_jobs import ModelJob
from assistant.model_server import VARIABLE, Served
from base.paths import Installation, State
from base.quantities import Duration, Size
from cluster.request import JobRequest
from confinement.settings import ConfinementSettings
from spawners.job import VARIABLE as TASK
from spawners.job import Task
from spawners.settings import Profile, Title

PROFILE = Profile(
    id="model", title=Title(nl="m", en="m"), partition="cpu", cpus=3, memory=Size.parse("2G"), time=Duration.parse("1h")
)
START, KEY, SECRET = "a" * 24, "the-model-s-key", "the-start-s-secret"


@pytest.fixture
def job() -> Iterator[ModelJob]:
    with tempfile.TemporaryDirectory(prefix="ll-", dir="/tmp") as folder:
        state = State(Path(folder) / "s")
        state.make()
        yield ModelJob(
            id="small", does="chat", weights="small/1/w.gguf", context=2048, at_once=2, profile=PROFILE, state=state,
            installation=Installation.current(), confinement=ConfinementSettings(), account="courses",
        )  # fmt: skip


def asked(job: ModelJob) -> JobRequest:
    return job.request(START, "hub:assistant:", KEY, SECRET)


def test_its_wall_has_no_way_out_and_nothing_to_write_but_its_own_home(job: ModelJob) -> None:
    task = Task.from_json(asked(job).environment[TASK])
    assert task.wall.relays == () and not any(bind.writable for bind in task.wall.binds)
    assert task.wall.home == job.folder(START) / "home" and task.publish_on == "127.0.0.1"
    assert {str(bind.target) for bind in task.wall.binds} == {
        "/opt/assistant",
        "/opt/model/assistant",
        "/opt/model/base",
        "/opt/catalogue",
    }


def test_its_secrets_are_in_its_environment_alone(job: ModelJob) -> None:
    request = asked(job)
    shown = json.dumps([request.name, request.comment, request.script, str(request.output), repr(request)])
    assert KEY not in shown and SECRET not in shown
    task = Task.from_json(request.environment[TASK])
    assert task.secret == SECRET and Served.from_json(task.wall.environment[VARIABLE]).key == KEY
    assert not any(KEY in word or SECRET in word for word in task.wall.command)


def test_it_gets_what_its_profile_says_and_is_charged_for_it(job: ModelJob) -> None:
    request = asked(job)
    assert (request.cpus, request.partition, request.account) == (3, "cpu", "courses")
    assert request.comment == f"hub:assistant:{START}"
    assert Served.from_json(Task.from_json(request.environment[TASK]).wall.environment[VARIABLE]).cores == 3


def test_folders_of_its_starts_are_cleared_and_of_nobody_else_s(job: ModelJob) -> None:
    jobs = job.state.jobs
    names = [f"assistant-small-{'b' * 24}", f"assistant-small-{'c' * 24}", f"assistant-small-2-{'d' * 24}", "e" * 24]
    for name in names:
        (jobs / name / "home").mkdir(parents=True)
    job.clear("b" * 24)
    assert {path.name for path in jobs.iterdir()} - {"use"} == {names[0], names[2], names[3]}
    job.clear(None)
    assert {path.name for path in jobs.iterdir()} - {"use"} == {names[2], names[3]}
