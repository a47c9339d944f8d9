"""The hub or its database fails, or there are two: every server is found again, nothing is cancelled by mistake.

One cause each; afterwards Slurm, the hub and the page are asked (`standing`).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from standing import in_slurm, is_gone, job_of, runs, shown

pytestmark = [pytest.mark.integration, pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(900)]

# The hub is killed at a step: what comes before it has happened, what comes after has not.
STEP = "reached the step"
HANG = f"""
import asyncio, sys
async def hang():
    print("{STEP}", file=sys.stderr, flush=True)
    await asyncio.sleep(3600)
"""
HANG_BEFORE_CANCEL = (
    HANG
    + """
from cluster.commands import Slurm
async def cancel(self, jobs):
    await hang()
Slurm.cancel = cancel
"""
)
HANG_AFTER_CANCEL = (
    HANG
    + """
from cluster.commands import Slurm
stock = Slurm.cancel
async def cancel(self, jobs):
    await stock(self, jobs)
    await hang()
Slurm.cancel = cancel
"""
)
HANG_BEFORE_STORED = (
    HANG
    + """
async def submit(self, plan):
    await hang()
LeerlabSpawner._submit = submit
"""
)
HANG_AFTER_REPORT = (
    HANG
    + """
async def host(self, start, known):
    await hang()
LeerlabSpawner._host = host
"""
)
WATCHER_HANGS = f"""
import asyncio, sys
from cluster.commands import Slurm
async def queue(self):
    print("{STEP}", file=sys.stderr, flush=True)
    await asyncio.sleep(3600)
Slurm.queue = queue
"""
ANSWER_LOST = """
from cluster.commands import Slurm
from cluster.errors import SlurmUnavailable
stock = Slurm.submit
async def submit(self, request):
    number = await stock(self, request)
    Slurm.submit = stock
    raise SlurmUnavailable(f"the answer for job {number} is lost")
Slurm.submit = submit
"""
# Some answers of squeue are cut off in the middle, as by a full pipe or a killed command.
GARBLED = f"""
import sys
from cluster.answers import QueueFormat
stock, count = QueueFormat.parse, 0
def parse(self, text):
    global count
    count += 1
    if count % 3:
        print("{STEP}", file=sys.stderr, flush=True)
        return stock(self, text[:-9] + "|")
    return stock(self, text)
QueueFormat.parse = parse
"""
NODES_UNKNOWN = f"""
import sys
from cluster.commands import Slurm
from cluster.errors import SlurmUnavailable
stock, count = Slurm.address, 0
async def address(self, node):
    global count
    count += 1
    if count <= 3:
        print("{STEP}", file=sys.stderr, flush=True)
        raise SlurmUnavailable("no answer")
    return await stock(self, node)
Slurm.address = address
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


def at_step(hub: Any, times: int = 1) -> None:
    hub.until(lambda: hub.said(STEP) >= times, 120, f"{STEP}\n{hub.log()}")


def token_of_server(hub: Any, name: str) -> str:
    """The token that the server itself holds."""
    token = hub.api("POST", f"/users/{name}/tokens", {}).json()["token"]
    answer = httpx.get(f"{hub.public}/user/{name}/x", headers={"Authorization": f"token {token}"}, timeout=20)
    found: str = answer.json()["environment"]["JUPYTERHUB_API_TOKEN"]
    return found


def is_dead(hub: Any, token: str) -> bool:
    return bool(hub.api("GET", "/user", token=token).status_code == 403)


def put_back(hub: Any, copy: Path) -> None:
    """Yesterday's database in place of today's; the hub does not run."""
    for file in hub.folder.glob("hub.sqlite*"):
        file.unlink()
    shutil.copy(copy, hub.folder / "hub.sqlite")


def copied(hub: Any) -> Path:
    """The database as it is now, whole, as a backup makes it."""
    copy: Path = hub.folder / "yesterday.sqlite"
    with sqlite3.connect(hub.folder / "hub.sqlite") as now, sqlite3.connect(copy) as then:
        now.backup(then)
    return copy


def swept(hub: Any) -> None:
    """The sweep has looked often enough at a queue with jobs in it."""
    before = hub.said(SWEPT)
    hub.until(lambda: hub.said(SWEPT) >= before + 5, 60, "swept")


def test_killed_before_anything_of_a_start_is_stored(make_hub: Callable[..., Any]) -> None:
    hub = make_hub(patch=HANG_BEFORE_STORED)
    hub.begin("sanne", "tiny")
    at_step(hub)
    hub.kill()
    assert hub.cluster.jobs() == []
    hub.start(patch="")
    is_gone(hub, "sanne")
    hub.begin("sanne", "tiny")
    runs(hub, "sanne")


def test_killed_when_the_report_is_stored_and_the_server_not_yet_ready(make_hub: Callable[..., Any]) -> None:
    hub = make_hub(patch=HANG_AFTER_REPORT)
    hub.begin("sanne", "tiny")
    at_step(hub)
    hub.until(lambda: hub.start_state("sanne")["start"]["port"], 30, "reported")
    job = job_of(hub, "sanne")
    hub.kill()
    hub.start(patch="")
    runs(hub, "sanne")
    assert job_of(hub, "sanne") == job


def test_killed_while_stopping_before_scancel_the_job_is_cancelled_and_its_token_dead(
    make_hub: Callable[..., Any],
) -> None:
    hub = make_hub(patch=HANG_BEFORE_CANCEL)
    hub.begin("sanne", "tiny")
    hub.begin("anna", "tiny")
    runs(hub, "sanne")
    runs(hub, "anna")
    token, job = token_of_server(hub, "sanne"), job_of(hub, "sanne")
    assert not is_dead(hub, token)
    hub.stop("sanne")
    at_step(hub)
    assert in_slurm(hub, "sanne") == ["R"]
    hub.kill()
    hub.start(patch="")
    is_gone(hub, "sanne", job)
    assert is_dead(hub, token)
    runs(hub, "anna")


def test_killed_while_stopping_after_scancel(make_hub: Callable[..., Any]) -> None:
    hub = make_hub(patch=HANG_AFTER_CANCEL)
    hub.begin("sanne", "tiny")
    runs(hub, "sanne")
    token, job = token_of_server(hub, "sanne"), job_of(hub, "sanne")
    hub.stop("sanne")
    at_step(hub)
    hub.kill()
    hub.start(patch="")
    is_gone(hub, "sanne", job)
    assert is_dead(hub, token)
    hub.begin("sanne", "tiny")
    runs(hub, "sanne")


def test_killed_again_while_it_takes_up_what_the_first_one_left(make_hub: Callable[..., Any]) -> None:
    hub = make_hub()
    hub.begin("eerst", "queue")
    runs(hub, "eerst")
    hub.begin("sanne", "queue")
    job = job_of(hub, "sanne")
    for _ in range(2):
        hub.kill()
        hub.start()
        shown(hub, "sanne", "start.waiting.")
    assert in_slurm(hub, "sanne") == ["PD"]
    hub.stop("eerst")
    runs(hub, "sanne")
    assert job_of(hub, "sanne") == job


def test_ended_in_good_order_while_a_start_waits(make_hub: Callable[..., Any]) -> None:
    hub = make_hub()
    hub.begin("eerst", "queue")
    runs(hub, "eerst")
    hub.begin("sanne", "queue")
    job = job_of(hub, "sanne")
    os.kill(hub.process.pid, signal.SIGTERM)
    hub.process.wait(60)
    assert len(hub.cluster.jobs("PD,R")) == 2
    hub.start()
    runs(hub, "eerst")
    shown(hub, "sanne", "start.waiting.")
    hub.stop("eerst")
    runs(hub, "sanne")
    assert job_of(hub, "sanne") == job


def test_a_database_of_before_a_server_began_cancels_nothing_and_its_person_starts_again(
    make_hub: Callable[..., Any],
) -> None:
    hub = make_hub(patch=SWEEPS_OFTEN)
    hub.begin("anna", "tiny")
    runs(hub, "anna")
    hub.user("sanne")
    copy = copied(hub)
    hub.begin("sanne", "tiny")
    runs(hub, "sanne")
    forgotten = job_of(hub, "sanne")
    hub.kill()
    put_back(hub, copy)
    hub.start()
    swept(hub)
    assert {number for number, _, _ in hub.cluster.jobs("R")} == {job_of(hub, "anna"), forgotten}
    runs(hub, "anna")
    assert not hub.server("sanne")
    hub.begin("sanne", "tiny")
    runs(hub, "sanne")
    assert job_of(hub, "sanne") != forgotten
    assert forgotten in {number for number, _, _ in hub.cluster.jobs("R")}


def test_a_database_in_which_a_server_runs_that_has_ended_since(make_hub: Callable[..., Any]) -> None:
    hub = make_hub(patch=SWEEPS_OFTEN)
    hub.begin("anna", "tiny")
    hub.begin("sanne", "tiny")
    runs(hub, "anna")
    runs(hub, "sanne")
    copy, token, job = copied(hub), token_of_server(hub, "sanne"), job_of(hub, "sanne")
    assert hub.stop("sanne").status_code in (202, 204)
    is_gone(hub, "sanne", job)
    hub.kill()
    put_back(hub, copy)
    hub.start()
    # The restored database holds the token again, and the start: as soon as Slurm says that it is over, both are dead.
    is_gone(hub, "sanne", job)
    hub.until(lambda: is_dead(hub, token), 60, "the token is dead again")
    runs(hub, "anna")


def test_a_second_hub_on_the_same_addresses_does_not_get_up_and_harms_nothing(make_hub: Callable[..., Any]) -> None:
    hub = make_hub(patch=SWEEPS_OFTEN)
    hub.begin("sanne", "tiny")
    runs(hub, "sanne")
    first, job = hub.process, job_of(hub, "sanne")
    hub.start(wait=False, patch=SWEEPS_OFTEN)
    second, hub.process = hub.process, first
    try:
        assert second.wait(90) != 0
    finally:
        if second.poll() is None:
            second.kill()
    assert first.poll() is None
    runs(hub, "sanne")
    assert job_of(hub, "sanne") == job
    assert hub.stop("sanne").status_code in (202, 204)
    is_gone(hub, "sanne", job)


def test_a_second_hub_with_a_copy_of_the_database_cancels_nothing_of_the_first(make_hub: Callable[..., Any]) -> None:
    """A machine that was cloned: the same hub id, the same past, and from then on each its own."""
    hub = make_hub(patch=SWEEPS_OFTEN)
    hub.begin("anna", "tiny")
    runs(hub, "anna")
    shared = job_of(hub, "anna")
    clone = make_hub(start=False, patch=SWEEPS_OFTEN)
    shutil.copy(copied(hub), clone.folder / "hub.sqlite")
    clone.start()
    hub.begin("sanne", "tiny")
    clone.begin("piet", "tiny")
    runs(hub, "sanne")
    runs(clone, "piet")
    for each in (hub, clone):
        swept(each)
    wanted = {shared, job_of(hub, "sanne"), job_of(clone, "piet")}
    assert {number for number, _, _ in hub.cluster.jobs("R")} == wanted
    # What one of them stops is gone, and the other one's stays.
    clone.stop("piet")
    is_gone(clone, "piet")
    swept(hub)
    runs(hub, "sanne")
    runs(hub, "anna")


def test_a_watcher_whose_query_never_ends_delays_no_start(make_hub: Callable[..., Any]) -> None:
    hub = make_hub(patch=WATCHER_HANGS)
    at_step(hub)
    hub.begin("sanne", "tiny")
    runs(hub, "sanne")
    # Not one answer of the watcher: the job's own report was the signal.
    assert hub.said(STEP) == 1
    job = job_of(hub, "sanne")
    hub.stop("sanne")
    is_gone(hub, "sanne", job)


def test_the_answer_to_a_submission_is_lost(make_hub: Callable[..., Any]) -> None:
    hub = make_hub(patch=ANSWER_LOST)
    hub.begin("sanne", "tiny")
    runs(hub, "sanne")
    # Found by its comment: the same job, no second one.
    assert len(hub.cluster.jobs("PD,R")) == 1


def test_answers_of_squeue_are_cut_off(make_hub: Callable[..., Any]) -> None:
    hub = make_hub(patch=GARBLED, poll_interval=1)
    hub.begin("anna", "tiny")
    runs(hub, "anna")
    at_step(hub, 4)
    hub.begin("sanne", "queue")
    runs(hub, "sanne")
    assert hub.server("anna")["ready"]
    assert len(hub.cluster.jobs("R")) == 2


def test_slurm_cannot_say_where_the_node_is_at_first(make_hub: Callable[..., Any]) -> None:
    hub = make_hub(patch=NODES_UNKNOWN)
    hub.begin("sanne", "tiny")
    runs(hub, "sanne")
    assert hub.said(STEP) == 3


def test_the_state_of_a_start_in_the_database_is_unreadable(make_hub: Callable[..., Any]) -> None:
    hub = make_hub(patch=SWEEPS_OFTEN)
    hub.begin("anna", "tiny")
    hub.begin("sanne", "tiny")
    runs(hub, "anna")
    runs(hub, "sanne")
    job = job_of(hub, "sanne")
    hub.kill()
    with sqlite3.connect(hub.folder / "hub.sqlite") as database:
        (number, state), *_ = [
            (number, json.loads(state))
            for number, state in database.execute("select id, state from spawners where state is not null")
            if state and json.loads(state).get("start", {}).get("job") == job
        ]
        state["start"]["attempted"] = "yesterday"
        database.execute("update spawners set state = ? where id = ?", (json.dumps(state), number))
    hub.start()
    is_gone(hub, "sanne")
    swept(hub)
    # It is not known to have ended, so its job is left alone; the others go on, and so does the person.
    assert job in {number for number, _, _ in hub.cluster.jobs("R")}
    runs(hub, "anna")
    hub.begin("sanne", "tiny")
    runs(hub, "sanne")
