"""What becomes of questions when a small model's job, Slurm or the gateway fails."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from gateway_site import CHAT, Gate, events, put_models, question, running_gate, wait_for
from grading_slurm import RunningSlurm

from confinement.seccomp import write_filter
from grading.plans import seccomp_of

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.fault]


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def job_of(gate: Gate) -> int:
    return int(json.loads((gate.state.secrets / f"assistant-{CHAT}.json").read_text())["job"])


def model_process(gate: Gate) -> psutil.Process:
    """The model's server inside its wall: below the wrapper of this gateway's job."""
    wrappers = [
        one for one in psutil.process_iter(["cmdline"])
        if any(word.endswith("spawners/job.py") for word in one.info["cmdline"] or [])
        # Jobs of other tests' Slurms have numbers of their own.
        and one.environ().get("SLURM_JOB_ID") == str(job_of(gate))
    ]  # fmt: skip
    inside = [each for wrapper in wrappers for each in wrapper.children(recursive=True)]
    return next(one for one in inside if one.cmdline()[1:] == ["-m", "assistant.model_server"])


@pytest.fixture
def ready(gate: Gate) -> Iterator[tuple[Gate, str]]:
    """A gateway whose small model answers, and somebody who asks."""
    token = gate.hub.server("wout", "nbgrader-alpha")
    answer = gate.patiently(token, CHAT)
    assert answer.status_code == 200, answer.text
    yield gate, token
    gate.hub.stop("wout")


def test_the_model_s_job_is_cancelled(ready: tuple[Gate, str], slurm: RunningSlurm) -> None:
    gate, token = ready
    before = job_of(gate)
    slurm.ask("scancel", str(before))
    wait_for("the end", lambda: str(before) not in slurm.ask("squeue", "-h", "--format=%i").split())
    first = gate.ask(token, CHAT)
    assert error_of(first) == (503, "starting") and "Het model" in first.json()["error"]["message"]
    assert gate.patiently(token, CHAT).status_code == 200 and job_of(gate) != before


def test_the_model_is_killed_in_mid_stream(ready: tuple[Gate, str]) -> None:
    gate, token = ready
    body = question(CHAT, "Write a long story about the sea.", stream=True) | {"max_tokens": 900}
    with gate.client(token) as client, client.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("data:")
        model_process(gate).kill()
        said = events(lines)
    assert said[-1]["error"]["code"] == "broken" and "[DONE]" not in said
    assert gate.patiently(token, CHAT).status_code == 200


def test_slurm_is_down_while_the_model_answers(ready: tuple[Gate, str], slurm: RunningSlurm) -> None:
    """Unknown is not dead: the model goes on."""
    gate, token = ready
    before = job_of(gate)
    slurm.stop("slurmctld")
    try:
        time.sleep(1.5)
        assert gate.ask(token, CHAT).status_code == 200
    finally:
        slurm.start("slurmctld")
    wait_for("Slurm", lambda: " UP" in slurm.ask("scontrol", "ping"))
    assert gate.ask(token, CHAT).status_code == 200 and job_of(gate) == before


def test_the_gateway_is_killed_and_finds_its_model_again(ready: tuple[Gate, str], slurm: RunningSlurm) -> None:
    gate, token = ready
    before, running = job_of(gate), gate.jobs(slurm)
    gate.end(signal.SIGKILL)
    gate.start()
    assert gate.ask(token, CHAT).status_code == 200
    assert job_of(gate) == before and gate.jobs(slurm) == running


def test_who_asked_goes_away_and_the_model_stops_working(ready: tuple[Gate, str]) -> None:
    gate, token = ready
    body = question(CHAT, "Write a long story about the sea.", stream=True) | {"max_tokens": 1000}
    with gate.client(token) as client, client.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert next(answer.iter_lines()).startswith("data:")
    process = model_process(gate)

    def rests() -> bool:
        begun = sum(process.cpu_times()[:2])
        time.sleep(1.0)
        return sum(process.cpu_times()[:2]) - begun < 0.3

    # The whole answer would take several times as long.
    wait_for("a model that rests", rests, 5)


@pytest.fixture
def fresh(slurm: RunningSlurm) -> Iterator[Gate]:
    """A gateway of this test's own, whose models end when nobody asks for ten seconds."""
    folder = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    with running_gate(folder, slurm.conf, start=False, idle="10s") as gate:
        put_models(gate.state)
        write_filter(seccomp_of(gate.state))
        gate.start()
        yield gate
        gate.end()
        gate.end_jobs(slurm)
    shutil.rmtree(folder, ignore_errors=True)


def test_slurm_is_down_when_the_model_is_to_start(fresh: Gate, slurm: RunningSlurm) -> None:
    token = fresh.hub.server("xander", "nbgrader-alpha")
    slurm.stop("slurmctld")
    try:
        fresh.ask(token, CHAT)
        refused = wait_for(
            "the refusal", lambda: (a := fresh.ask(token, CHAT)).json()["error"]["code"] == "unreachable" and a, 40
        )
        assert refused.status_code == 503 and "cluster" in refused.json()["error"]["message"]
    finally:
        slurm.start("slurmctld")
    wait_for("Slurm", lambda: " UP" in slurm.ask("scontrol", "ping"))
    wait_for("an answer", lambda: fresh.ask(token, CHAT).status_code == 200, 60)


def test_everything_is_in_use_and_the_asker_is_told_so(fresh: Gate, slurm: RunningSlurm) -> None:
    token = fresh.hub.server("yara", "nbgrader-alpha")
    filler = subprocess.run(
        ["sbatch", "--parsable", "--cpus-per-task=4", "--mem=100M", "--time=5", "--output=/dev/null",
         "--wrap=sleep 200"],
        env={"PATH": "/usr/bin:/bin", "SLURM_CONF": str(slurm.conf)}, capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    for other in slurm.ask("squeue", "-h", "--name=assistant", "--format=%i").split():
        slurm.ask("scancel", other)
    wait_for("the filler", lambda: filler in slurm.ask("squeue", "-h", "-t", "R", "--format=%i").split(), 30)
    try:
        told = wait_for(
            "the reason",
            lambda: "alles is nu in gebruik" in (a := fresh.ask(token, CHAT)).json()["error"]["message"] and a,
            20,
        )
        assert error_of(told) == (503, "starting") and told.elapsed.total_seconds() < 3
    finally:
        slurm.ask("scancel", filler)
    assert fresh.patiently(token, CHAT).status_code == 200


def test_a_model_that_nobody_asks_ends_and_comes_back(fresh: Gate, slurm: RunningSlurm) -> None:
    token = fresh.hub.server("zoe", "nbgrader-alpha")
    assert fresh.patiently(token, CHAT).status_code == 200
    own = str(job_of(fresh))
    wait_for("its end", lambda: own not in slurm.ask("squeue", "-h", "-t", "R", "--format=%i").split(), 30)
    wait_for("no key any more", lambda: not (fresh.state.secrets / f"assistant-{CHAT}.json").exists(), 10)
    wait_for("no folder any more", lambda: not list(fresh.state.jobs.glob("assistant-*")), 10)
    assert error_of(fresh.ask(token, CHAT)) == (503, "starting")
    assert fresh.patiently(token, CHAT).status_code == 200
