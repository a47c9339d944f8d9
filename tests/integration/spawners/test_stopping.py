"""A server can be stopped at any moment: while it starts, just when it is ready, twice, after a hub's restart."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.fault]

STOPPED = {202, 204}
SLOW_TO_CANCEL = """
import asyncio, spawners.spawner as s
stock = LeerlabSpawner.start
async def start(self):
    try:
        return await stock(self)
    finally:
        await asyncio.sleep(3)
LeerlabSpawner.start = start
"""
SLOW_CHECK = """
import asyncio
stock = LeerlabSpawner.get_url
async def get_url(self):
    print("checking", flush=True)
    await asyncio.sleep(3)
    return await stock(self)
LeerlabSpawner.get_url = get_url
"""
IMPATIENT = """
import spawners.stopping as s
async def at_once(stop, user, server_name):
    return await stop(user, server_name)
s.stop_when_settled = at_once
"""


def twice(hub: Any, name: str, apart: Callable[[], Any]) -> list[int]:
    """Ask twice to stop a server, the second time when `apart` returns."""
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(hub.stop, name)
        apart()
        second = threads.submit(hub.stop, name)
        return [first.result().status_code, second.result().status_code]


def withdrawn(hub: Any) -> Callable[[], Any]:
    """When JupyterHub has cancelled a start and waits its second before it stops the server."""
    return lambda: hub.until(lambda: hub.said("Interrupting spawner"), 30, "cancelled")


def gone(hub: Any, name: str) -> None:
    hub.until(lambda: not hub.server(name), 40, f"{name} gone")
    hub.until(lambda: not hub.cluster.jobs("PD,R"), 60, "no job")


def test_just_when_it_is_ready(hub: Any) -> None:
    for _ in range(3):
        hub.begin("sanne", "tiny")
        hub.ready("sanne")
        assert hub.stop("sanne").status_code in STOPPED
        gone(hub, "sanne")


def test_at_every_step_of_a_start(hub: Any) -> None:
    steps: dict[str, Callable[[dict[str, Any]], Any]] = {
        "requested": lambda start: True,
        "stored": lambda start: start,
        "submitted": lambda start: start.get("job"),
        "reported": lambda start: start.get("port"),
    }
    for step, reached in steps.items():
        hub.begin("sanne", "tiny")
        hub.until(lambda reached=reached: reached(hub.start_state("sanne").get("start") or {}), 20, step)
        assert hub.stop("sanne").status_code in STOPPED, step
        gone(hub, "sanne")
    # And nothing of all that is in the way of the next start.
    hub.begin("sanne", "tiny")
    hub.ready("sanne")


def test_a_start_that_is_slow_to_cancel_and_asked_twice(make_hub: Callable[..., Any]) -> None:
    hub = make_hub(patch=SLOW_TO_CANCEL)
    hub.begin("sanne", "mute")
    hub.until(hub.cluster.jobs, 20, "a job")
    assert set(twice(hub, "sanne", withdrawn(hub))) <= STOPPED
    gone(hub, "sanne")


def test_control_without_waiting_the_same_requests_are_a_server_error(make_hub: Callable[..., Any]) -> None:
    hub = make_hub(patch=SLOW_TO_CANCEL + IMPATIENT)
    hub.begin("sanne", "mute")
    hub.until(hub.cluster.jobs, 20, "a job")
    assert 500 in twice(hub, "sanne", withdrawn(hub))


@pytest.mark.slow
def test_while_a_restarted_hub_still_checks_it(make_hub: Callable[..., Any]) -> None:
    hub = make_hub()
    hub.begin("sanne", "tiny")
    hub.ready("sanne")
    hub.kill()
    hub.start(patch=SLOW_CHECK, wait=False)
    hub.until(lambda: hub.said("checking") and hub.api("GET", "").status_code == 200, 40, "answers while it checks")
    assert hub.stop("sanne").status_code in STOPPED
    gone(hub, "sanne")
    assert hub.begin("sanne", "tiny").status_code in (201, 202)
    hub.ready("sanne")
