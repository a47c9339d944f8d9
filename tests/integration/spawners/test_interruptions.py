"""The hub is killed or Slurm is away at the worst moments: nothing is lost, nothing is cancelled by mistake."""

from __future__ import annotations

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
IMPATIENT = "import spawners.spawner as s; s.LATE_SUBMISSION_SECONDS = 1.0"


def reachable(hub: Any, name: str) -> bool:
    token = hub.api("POST", f"/users/{name}/tokens", {}).json()["token"]
    answer = httpx.get(f"{hub.public}/user/{name}/x", headers={"Authorization": f"token {token}"})
    return answer.status_code == 200


def test_killed_before_sbatch_the_start_is_told_lost_and_a_new_one_works(make_hub: Callable[..., Any]) -> None:
    hub = make_hub(patch=HANG_BEFORE)
    hub.begin("sanne", "tiny")
    hub.until(lambda: hub.start_state("sanne").get("start"), 5, "committed before sbatch")
    hub.kill()
    lost = hub.start_state("sanne")["start"]["id"]
    hub.start(patch=IMPATIENT)
    hub.until(lambda: "start" not in hub.start_state("sanne"), 20, "given up")
    assert lost in hub.start_state("sanne")["ended"]
    assert hub.begin("sanne", "tiny").status_code in (201, 202)
    hub.ready("sanne")


def test_killed_between_sbatch_and_its_answer_the_job_is_found_by_its_comment(make_hub: Callable[..., Any]) -> None:
    hub = make_hub(patch=HANG_AFTER)
    hub.begin("sanne", "tiny")
    hub.until(hub.cluster.jobs, 10, "a job")
    hub.kill()
    assert hub.start_state("sanne")["start"]["job"] is None
    hub.start(patch="")
    hub.ready("sanne")
    assert len(hub.cluster.jobs()) == 1
    assert reachable(hub, "sanne")


def test_killed_while_a_job_waits_the_next_hub_shows_it_and_lets_people_cancel_or_get_it(
    make_hub: Callable[..., Any],
) -> None:
    hub = make_hub()
    hub.begin("eerst", "queue")
    hub.ready("eerst")
    for name in ("tweede", "derde"):
        hub.begin(name, "queue")
        hub.until(lambda name=name: hub.start_state(name).get("start", {}).get("job"), 10, "submitted")
    hub.restart()
    assert reachable(hub, "eerst")
    events = hub.events("derde", lambda seen: seen[-1].get("code", "").startswith("start.waiting."))
    assert events[-1]["code"].startswith("start.waiting.")
    job = hub.start_state("derde")["start"]["job"]
    assert hub.stop("derde").status_code in (202, 204)
    hub.until(lambda: job not in [number for number, _, _ in hub.cluster.jobs()], 10, "cancelled")
    hub.stop("eerst")
    hub.ready("tweede")
    assert reachable(hub, "tweede")
    # The cancelled one can begin again, and nothing of the restart's check ends it.
    assert hub.begin("derde", "tiny").status_code in (201, 202)
    hub.ready("derde")


def test_a_server_that_becomes_ready_while_the_hub_is_away_is_adopted(make_hub: Callable[..., Any]) -> None:
    hub = make_hub(delay="3")
    hub.begin("sanne", "slow")
    hub.until(lambda: [each for each in hub.cluster.jobs() if each[1] == "R"], 10, "the job runs")
    hub.kill()
    time.sleep(4)
    hub.start()
    began = time.monotonic()
    hub.ready("sanne")
    assert time.monotonic() - began < 8
    assert reachable(hub, "sanne")
    assert len(hub.cluster.jobs()) == 1


def test_a_job_that_ends_while_the_hub_is_away_is_told_so(make_hub: Callable[..., Any]) -> None:
    hub = make_hub()
    hub.begin("sanne", "tiny")
    hub.ready("sanne")
    hub.kill()
    hub.cluster.cancel_all()
    hub.start()
    hub.until(lambda: not hub.server("sanne"), 20, "known to have ended")


def test_slurm_away_for_20_seconds_ends_no_server_and_a_new_start_waits_for_it(make_hub: Callable[..., Any]) -> None:
    hub = make_hub()
    hub.begin("eerst", "tiny")
    hub.ready("eerst")
    hub.cluster.stop("slurmctld")
    try:
        hub.begin("tweede", "tiny")
        began = time.monotonic()
        events = hub.events("tweede", lambda seen: seen[-1].get("code") == "start.slurm-unreachable", 30)
        assert events[-1]["code"] == "start.slurm-unreachable"
        time.sleep(max(0.0, 20 - (time.monotonic() - began)))
        assert hub.server("eerst")["ready"]
        assert reachable(hub, "eerst")
    finally:
        hub.cluster.start("slurmctld")
    hub.ready("tweede", seconds=40)
    assert hub.server("eerst")["ready"]
    assert len(hub.cluster.jobs()) == 2


def test_an_empty_database_cancels_nothing_and_a_known_end_does(make_hub: Callable[..., Any]) -> None:
    hub = make_hub()
    hub.begin("sanne", "tiny")
    hub.ready("sanne")
    start = hub.start_state("sanne")["start"]["id"]
    hub.kill()
    (hub.folder / "hub.sqlite").rename(hub.folder / "kept.sqlite")
    hub.start()
    time.sleep(6)
    assert [state for _, state, _ in hub.cluster.jobs()] == ["R"]
    # Control: what this hub's database knows to have ended is cancelled at its start.
    hub.kill()
    hub.start(patch=f"import spawners.spawner as s; s.ended_starts = lambda session: {{{start!r}}}")
    hub.until(lambda: not hub.cluster.jobs(), 15, "the ended start's job cancelled")
