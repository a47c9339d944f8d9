"""How a server ended that its owner did not stop: found out from Slurm, kept over a restart, and told on the page."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from cluster.embedded import slurm_conf
from confinement.home_size import LOOK_SECONDS

pytestmark = [pytest.mark.integration, pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(600)]

# Jobs of `urgent` take the only core of `small` from whoever has it (slurm.conf(5), PreemptType).
PREEMPTION = (
    "PreemptType=preempt/partition_prio\nPreemptMode=CANCEL\n"
    "PartitionName=urgent Nodes=small PriorityTier=10 MaxTime=60 State=UP\n"
)


@contextmanager
def precedence(cluster: Any) -> Iterator[None]:
    """While inside, the partition `urgent` has precedence over `small`."""
    conf = slurm_conf(cluster.state)
    before = conf.read_text()
    conf.write_text(before + PREEMPTION)
    cluster.ask("scontrol", "reconfigure")
    try:
        yield
    finally:
        cluster.cancel_all()
        conf.write_text(before)
        cluster.ask("scontrol", "reconfigure")


def urgent_job(cluster: Any) -> None:
    """A job of somebody with precedence."""
    cluster.ask(
        "sbatch", "--partition=urgent", "--cpus-per-task=1", "--mem=100M", "--time=5", "--output=/dev/null",
        "--chdir=/", "--wrap=exec sleep 300",
    )  # fmt: skip


def ended(hub: Any, name: str) -> str:
    """The code of why somebody's server ended, once the hub has noticed."""
    hub.until(lambda: not hub.server(name), 60, f"{name} ended")
    return str(hub.until(lambda: hub.start_state(name).get("last_end"), 10, "why")["code"])


def folder_of(hub: Any, name: str) -> Any:
    return hub.cluster.state.jobs / hub.start_state(name)["start"]["id"]


def test_a_server_that_was_preempted(make_hub: Any, cluster: Any) -> None:
    hub = make_hub(poll_interval=1)
    with precedence(cluster):
        hub.begin("sanne", "queue")
        hub.ready("sanne")
        folder = folder_of(hub, "sanne")
        urgent_job(cluster)
        assert ended(hub, "sanne") == "server.ended.preempted"
        # The operator's page finds it too.
        assert json.loads((folder / "failure.json").read_text())["code"] == "server.ended.preempted"
        # It is still told after a restart of the hub, and forgotten with the next start.
        hub.restart()
        assert hub.start_state("sanne")["last_end"]["code"] == "server.ended.preempted"
    hub.begin("sanne", "tiny")
    hub.ready("sanne")
    assert "last_end" not in hub.start_state("sanne")


def test_a_start_that_was_preempted(make_hub: Any, cluster: Any) -> None:
    hub = make_hub(ready_seconds=90.0, delay="60")
    with precedence(cluster):
        hub.begin("sanne", "slow-queue")
        hub.until(lambda: hub.cluster.jobs("R"), 30, "the job runs")
        urgent_job(cluster)
        events = hub.events("sanne", lambda seen: seen[-1].get("failed", False))
        assert [event for event in events if event.get("code") == "start.failed.preempted"]


def test_a_machine_that_goes_down(make_hub: Any, cluster: Any) -> None:
    hub = make_hub(poll_interval=1)
    hub.begin("sanne", "queue")
    hub.ready("sanne")
    cluster.ask("scontrol", "update", "nodename=small", "state=down", "reason=test")
    try:
        assert ended(hub, "sanne") == "server.ended.node"
    finally:
        cluster.ask("scontrol", "update", "nodename=small", "state=resume")
        hub.until(lambda: cluster.ask("sinfo", "-h", "-n", "small", "-o", "%T").strip() == "idle", 60, "it is back")


def test_an_operator_who_cancels_the_job(make_hub: Any) -> None:
    hub = make_hub(poll_interval=1)
    hub.begin("sanne", "tiny")
    hub.ready("sanne")
    hub.cluster.ask("scancel", str(hub.start_state("sanne")["start"]["job"]))
    assert ended(hub, "sanne") == "server.ended.cancelled"


def test_a_site_that_was_stopped_is_nobody_s_failure(make_hub: Any) -> None:
    hub = make_hub(poll_interval=1)
    hub.begin("sanne", "tiny")
    hub.ready("sanne")
    folder = folder_of(hub, "sanne")
    hub.cluster.state.stopped.touch()
    try:
        hub.cluster.ask("scancel", str(hub.start_state("sanne")["start"]["job"]))
        assert ended(hub, "sanne") == "server.ended.site"
    finally:
        hub.cluster.state.stopped.unlink()
    assert not (folder / "failure.json").exists()


def test_a_home_that_is_full_and_whoever_comes_to_clean_it_up(make_hub: Any) -> None:
    hub = make_hub(poll_interval=1)
    hub.begin("sanne", "small-home")
    hub.ready("sanne")
    data = hub.cluster.state.homes / "sanne" / "data"
    data.write_bytes(b"x" * (100 << 20))
    assert ended(hub, "sanne") == "server.ended.home_full"
    assert data.stat().st_size == 100 << 20, "nothing is removed"
    hub.begin("sanne", "small-home")
    hub.ready("sanne")
    # Two looks long, while it only becomes less.
    time.sleep(2 * LOOK_SECONDS + 2)
    assert hub.server("sanne")
    data.unlink()
    hub.stop("sanne")


def test_the_owner_who_stops_it_is_told_nothing(hub: Any) -> None:
    hub.begin("sanne", "tiny")
    hub.ready("sanne")
    folder = folder_of(hub, "sanne")
    hub.stop("sanne")
    hub.until(lambda: not hub.server("sanne"), 40, "stopped")
    assert "last_end" not in hub.start_state("sanne")
    assert not (folder / "failure.json").exists()


def test_nothing_of_a_job_lives_on_when_it_is_cancelled(hub: Any, record_property: Any) -> None:
    hub.begin("sanne", "stubborn")
    hub.ready("sanne")
    start = hub.start_state("sanne")["start"]
    (wrapper,) = [
        process for process in psutil.process_iter() if f"SLURM_JOB_ID={start['job']}" in environment(process)
        and "spawners/job.py" in " ".join(process.cmdline())
    ]  # fmt: skip
    inside = wrapper.children(recursive=True)
    assert len(inside) > 2
    begin = time.monotonic()
    hub.cluster.ask("scancel", str(start["job"]))
    hub.until(lambda: not any(process.is_running() for process in (wrapper, *inside)), 30, "all gone")
    record_property("seconds until all processes are gone", round(time.monotonic() - begin, 2))


def environment(process: psutil.Process) -> set[str]:
    try:
        return {f"{name}={value}" for name, value in process.environ().items()}
    except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
        return set()
