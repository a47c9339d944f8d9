"""The hub is killed or Slurm is away at the worst moments: nothing is lost, nothing is cancelled by mistake."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

pytestmark = [pytest.mark.integration, pytest.mark.fault]

HANG_BEFORE = """
import asyncio
from cluster.commands import Slurm
async def submit(self, request):
    await asyncio.sleep(3600)
Slurm.submit = submit
"""
HANG_AFTER = """
import asyncio
from cluster.commands import Slurm
stock = Slurm.submit
async def submit(self, request):
    await stock(self, request)
    await asyncio.sleep(3600)
Slurm.submit = submit
"""
LOOKED = "looked at a server"
LOOKS_OFTEN = f"""
stock = LeerlabSpawner.poll
async def poll(self):
    self.log.warning("{LOOKED}")
    return await stock(self)
LeerlabSpawner.poll = poll
"""
SWEPT = "swept"
SWEEPS_OFTEN = f"""
import spawners.orphans as o
o.LOOK_SECONDS = 0.1
stock = o.Sweep.look
async def look(self):
    found = await stock(self)
    if self._watcher.queue is not None and self._watcher.queue.jobs:
        o.log.warning("{SWEPT} %s", found)
    return found
o.Sweep.look = look
"""
IMPATIENT = "import spawners.spawner as s; s.LATE_SUBMISSION_SECONDS = 1.0"


def reachable(hub: Any, name: str) -> bool:
    token = hub.api("POST", f"/users/{name}/tokens", {}).json()["token"]
    answer = httpx.get(f"{hub.public}/user/{name}/x", headers={"Authorization": f"token {token}"}, timeout=40)
    return answer.status_code == 200


@pytest.mark.slow
def test_killed_before_sbatch_the_start_is_told_lost_and_a_new_one_works(make_hub: Callable[..., Any]) -> None:
    hub = make_hub(patch=HANG_BEFORE)
    hub.begin("sanne", "tiny")
    hub.until(lambda: hub.start_state("sanne").get("start"), 30, "committed before sbatch")
    hub.kill()
    lost = hub.start_state("sanne")["start"]["id"]
    hub.start(patch=IMPATIENT)
    hub.until(lambda: "start" not in hub.start_state("sanne"), 20, "given up")
    assert lost in hub.start_state("sanne")["ended"]
    assert hub.begin("sanne", "tiny").status_code in (201, 202)
    hub.ready("sanne")


@pytest.mark.slow
def test_killed_between_sbatch_and_its_answer_the_job_is_found_by_its_comment(make_hub: Callable[..., Any]) -> None:
    hub = make_hub(patch=HANG_AFTER)
    hub.begin("sanne", "tiny")
    hub.until(hub.cluster.jobs, 30, "a job")
    hub.kill()
    assert hub.start_state("sanne")["start"]["job"] is None
    hub.start(patch="")
    hub.ready("sanne")
    assert len(hub.cluster.jobs()) == 1
    assert reachable(hub, "sanne")


def test_killed_while_a_job_waits_the_next_hub_shows_it_and_lets_people_cancel_or_get_it(hub: Any) -> None:
    hub.begin("eerst", "queue")
    hub.ready("eerst")
    for name in ("tweede", "derde"):
        hub.begin(name, "queue")
        hub.until(lambda name=name: hub.start_state(name).get("start", {}).get("job"), 30, "submitted")
    hub.restart()
    assert reachable(hub, "eerst")
    events = hub.events("derde", lambda seen: seen[-1].get("code", "").startswith("start.waiting."))
    assert events[-1]["code"].startswith("start.waiting.")
    job = hub.start_state("derde")["start"]["job"]
    assert hub.stop("derde").status_code in (202, 204)
    hub.until(lambda: job not in [number for number, _, _ in hub.cluster.jobs()], 40, "cancelled")
    hub.stop("eerst")
    hub.ready("tweede")
    assert reachable(hub, "tweede")
    # The cancelled one can begin again, and nothing of the restart's check ends it.
    assert hub.begin("derde", "tiny").status_code in (201, 202)
    hub.ready("derde")


def test_a_server_that_becomes_ready_while_the_hub_is_away_is_adopted(hub: Any) -> None:
    go = hub.cluster.state.homes / "sanne" / "go"
    go.unlink(missing_ok=True)
    hub.begin("sanne", "slow")
    hub.until(lambda: [each for each in hub.cluster.jobs() if each[1] == "R"], 30, "the job runs")
    hub.kill()
    go.touch()
    start = hub.start_state("sanne")["start"]["id"]
    log = hub.cluster.state.jobs / start / "slurm.log"
    hub.until(lambda: log.exists() and "did not take the report" in log.read_text(), 60, "reported to nobody")
    assert hub.start_state("sanne")["start"]["port"] is None
    hub.start()
    hub.ready("sanne")
    assert reachable(hub, "sanne")
    assert len(hub.cluster.jobs()) == 1


def test_a_job_that_ends_while_the_hub_is_away_is_told_so(hub: Any) -> None:
    hub.begin("sanne", "tiny")
    hub.ready("sanne")
    hub.kill()
    hub.cluster.cancel_all()
    hub.start()
    hub.until(lambda: not hub.server("sanne"), 60, "known to have ended")


@pytest.mark.slow
def test_slurm_away_ends_no_server_and_a_new_start_waits_for_it(make_hub: Callable[..., Any]) -> None:
    hub = make_hub(patch=LOOKS_OFTEN, poll_interval=1)
    hub.begin("eerst", "tiny")
    hub.ready("eerst")
    hub.cluster.stop("slurmctld")
    try:
        hub.begin("tweede", "tiny")
        events = hub.events("tweede", lambda seen: seen[-1].get("code") == "start.slurm-unreachable", 60)
        assert events[-1]["code"] == "start.slurm-unreachable"
        looked = hub.said(LOOKED)
        hub.until(lambda: hub.said(LOOKED) >= looked + 5, 20, "looked five times")
        assert hub.server("eerst")["ready"]
        assert reachable(hub, "eerst")
    finally:
        hub.cluster.start("slurmctld")
    hub.ready("tweede", seconds=40)
    assert hub.server("eerst")["ready"]
    assert len(hub.cluster.jobs()) == 2


@pytest.mark.slow
def test_an_empty_database_cancels_nothing_and_a_known_end_does(make_hub: Callable[..., Any]) -> None:
    hub = make_hub()
    hub.begin("sanne", "tiny")
    hub.ready("sanne")
    start = hub.start_state("sanne")["start"]["id"]
    hub.kill()
    (hub.folder / "hub.sqlite").rename(hub.folder / "kept.sqlite")
    hub.start(patch=SWEEPS_OFTEN)
    hub.until(lambda: hub.said(SWEPT) >= 3, 20, "swept with the job in the queue")
    assert [state for _, state, _ in hub.cluster.jobs()] == ["R"]
    # Control: what this hub's database knows to have ended is cancelled at its start.
    hub.kill()
    hub.start(patch=f"import spawners.spawner as s; s.ended_starts = lambda session: {{{start!r}}}")
    hub.until(lambda: not hub.cluster.jobs(), 15, "the ended start's job cancelled")


@pytest.mark.slow
def test_folders_of_starts_that_ended_long_ago_go_when_a_hub_begins_and_those_of_live_jobs_stay(hub: Any) -> None:
    hub.begin("sanne", "tiny")
    hub.ready("sanne")
    jobs = hub.cluster.state.jobs
    live = jobs / hub.start_state("sanne")["start"]["id"]
    old, recent, other = jobs / ("a" * 16), jobs / ("b" * 16), jobs / "geen-start"
    for folder in (old, recent, other):
        folder.mkdir()
        (folder / "server.log").write_text("regel")
    long_ago = time.time() - 30 * 24 * 3600
    for folder in (live, old, other):
        for path in (*folder.iterdir(), folder):
            os.utime(path, (long_ago, long_ago))
    hub.restart()
    hub.until(lambda: not old.exists(), 20, "the old one is removed")
    assert live.is_dir() and recent.is_dir() and other.is_dir()
