"""What operators, nodes and jobs do to a start or a server: told with its own reason, and nobody else is touched.

One cause each; afterwards Slurm, the hub and the page are asked (`standing`).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
from standing import failed, in_slurm, is_gone, job_of, runs, shown

pytestmark = [pytest.mark.integration, pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(900)]


def scontrol(hub: Any, *words: str) -> None:
    hub.cluster.ask("scontrol", *words)


@contextmanager
def changed(hub: Any, change: tuple[str, ...], back: tuple[str, ...]) -> Iterator[None]:
    """Something of the cluster is otherwise in the block, and back afterwards whatever happens."""
    if change:
        scontrol(hub, "update", *change)
    try:
        yield
    finally:
        scontrol(hub, "update", *back)
        wanted = ["cpu01", "small"]
        hub.until(
            lambda: hub.cluster.ask("sinfo", "-h", "-N", "-t", "idle,mix,alloc", "-o", "%N").split() == wanted,
            60,
            "back",
        )


def wrapper_of(hub: Any, name: str) -> psutil.Process:
    """The process of a server's wrapper, outside the wall."""
    start = hub.start_state(name)["start"]["id"]

    def found() -> psutil.Process | None:
        for process in psutil.process_iter(["cmdline", "environ"]):
            words, environment = process.info["cmdline"] or [], process.info["environ"] or {}
            if any(word.endswith("spawners/job.py") for word in words) and start in str(environment):
                return process
        return None

    process: psutil.Process = hub.until(found, 60, "the wrapper")
    return process


def test_an_operator_cancels_the_job_of_a_start(hub: Any) -> None:
    hub.begin("anna", "tiny")
    runs(hub, "anna")
    hub.begin("sanne", "mute")
    job = job_of(hub, "sanne")
    failed(hub, "sanne", "start.failed.cancelled", lambda: hub.cluster.ask("scancel", str(job)))
    runs(hub, "anna")


def test_an_operator_cancels_a_server_that_runs(hub: Any) -> None:
    hub.begin("anna", "tiny")
    hub.begin("sanne", "tiny")
    runs(hub, "sanne")
    runs(hub, "anna")
    job = job_of(hub, "sanne")
    hub.cluster.ask("scancel", str(job))
    is_gone(hub, "sanne", job)
    runs(hub, "anna")
    hub.begin("sanne", "tiny")
    runs(hub, "sanne")


def test_an_operator_holds_the_job_and_lets_it_go(hub: Any) -> None:
    hub.begin("eerst", "queue")
    runs(hub, "eerst")
    hub.begin("sanne", "queue")
    job = job_of(hub, "sanne")
    scontrol(hub, "hold", str(job))
    event = shown(hub, "sanne", "start.waiting.held")
    assert event["params"]["reason"] in ("JobHeldAdmin", "JobHeldUser")
    hub.stop("eerst")
    is_gone(hub, "eerst")
    assert in_slurm(hub, "sanne") == ["PD"]
    scontrol(hub, "release", str(job))
    runs(hub, "sanne")


def test_a_partition_is_closed_and_opened_again(hub: Any) -> None:
    with changed(hub, ("partitionname=small", "state=down"), ("partitionname=small", "state=up")):
        hub.begin("sanne", "queue")
        shown(hub, "sanne", "start.waiting.closed")
        assert in_slurm(hub, "sanne") == ["PD"]
        assert hub.server("sanne")["pending"] == "spawn"
    runs(hub, "sanne")


def test_a_node_is_drained_and_taken_back(hub: Any) -> None:
    with changed(hub, ("nodename=small", "state=drain", "reason=test"), ("nodename=small", "state=resume")):
        hub.begin("sanne", "queue")
        event = shown(hub, "sanne", "start.waiting.")
        assert event["code"] in ("start.waiting.nodes", "start.waiting.resources", "start.waiting.scheduling")
        assert in_slurm(hub, "sanne") == ["PD"]
    runs(hub, "sanne")


def test_a_node_fails_under_a_start(hub: Any) -> None:
    hub.begin("anna", "tiny")
    runs(hub, "anna")
    hub.begin("sanne", "queue-mute")
    hub.until(lambda: "R" in in_slurm(hub, "sanne"), 60, "running")
    with changed(hub, (), ("nodename=small", "state=resume")):
        down = ("nodename=small", "state=down", "reason=test")
        failed(hub, "sanne", "start.failed.node", lambda: scontrol(hub, "update", *down))
    runs(hub, "anna")


def test_a_node_fails_under_a_server(hub: Any) -> None:
    hub.begin("anna", "tiny")
    hub.begin("sanne", "queue")
    runs(hub, "anna")
    runs(hub, "sanne")
    job = job_of(hub, "sanne")
    with changed(hub, ("nodename=small", "state=down", "reason=test"), ("nodename=small", "state=resume")):
        is_gone(hub, "sanne", job)
        runs(hub, "anna")
    hub.begin("sanne", "queue")
    runs(hub, "sanne")


def test_the_jobs_wrapper_is_killed_before_the_server_answers(hub: Any) -> None:
    hub.begin("sanne", "mute")
    job_of(hub, "sanne")
    wrapper = wrapper_of(hub, "sanne")
    said = failed(hub, "sanne", "start.failed.exit", lambda: os.kill(wrapper.pid, signal.SIGKILL))
    assert "signal=9" in said or "exit_code=137" in said


def test_the_jobs_wrapper_is_killed_under_a_server(hub: Any) -> None:
    hub.begin("sanne", "tiny")
    runs(hub, "sanne")
    job = job_of(hub, "sanne")
    os.kill(wrapper_of(hub, "sanne").pid, signal.SIGKILL)
    is_gone(hub, "sanne", job)
    hub.begin("sanne", "tiny")
    runs(hub, "sanne")


@pytest.mark.slow
def test_a_start_uses_more_memory_than_its_profile_has(hub: Any) -> None:
    hub.begin("sanne", "greedy")
    failed(hub, "sanne", "start.failed.memory")


def test_slurm_refuses_the_job_of_a_profile(hub: Any) -> None:
    hub.begin("sanne", "nowhere")
    said = failed(hub, "sanne", "start.failed.refused")
    assert "Invalid partition name" in said


@pytest.mark.slow
def test_munge_is_away_while_somebody_starts(hub: Any) -> None:
    hub.begin("anna", "tiny")
    runs(hub, "anna")
    hub.cluster.stop("munged", signal.SIGKILL)
    try:
        hub.begin("sanne", "tiny")
        shown(hub, "sanne", "start.slurm-unreachable")
        assert hub.server("anna")["ready"]
        assert hub.server("sanne")["pending"] == "spawn"
    finally:
        hub.cluster.start("munged")
    runs(hub, "sanne", seconds=150)
    runs(hub, "anna")
    assert len(hub.cluster.jobs("PD,R")) == 2


@pytest.mark.slow
def test_slurmctld_hangs_while_a_server_starts_and_another_runs(hub: Any) -> None:
    hub.begin("anna", "tiny")
    runs(hub, "anna")
    controller = psutil.Process(hub.cluster.running["slurmctld"].pid)
    everybody = [controller, *controller.children(recursive=True)]
    for process in everybody:
        process.suspend()
    try:
        hub.begin("sanne", "tiny")
        shown(hub, "sanne", "start.slurm-unreachable", seconds=120)
        assert hub.server("anna")["ready"]
    finally:
        for process in everybody:
            process.resume()
    runs(hub, "sanne", seconds=150)
    runs(hub, "anna")
    # Whatever became of the submission that got no answer: one job for each.
    hub.until(lambda: len(hub.cluster.jobs("PD,R")) == 2, 60, "one job for each")
