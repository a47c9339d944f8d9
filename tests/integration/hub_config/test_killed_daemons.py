"""Each daemon of a running site is killed: it comes back by itself, and a notebook that runs meanwhile is not hurt."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from whole_site import Visitor, daemon, steps_of, wait_for, wait_until_written_down

from cluster.errors import SlurmError
from hub_config.run.doctor import see_daemons, see_job
from hub_config.run.ports import listening_sockets
from hub_config.run.ready import hub_ready, slurm_ready
from hub_config.run.supervisor_client import Supervisor
from hub_config.slurm import slurm_of

pytestmark = [pytest.mark.integration, pytest.mark.fault, pytest.mark.timeout(300)]
BACK_SECONDS = 60.0


@pytest.fixture(scope="module")
def person(running_site: Any) -> Iterator[Visitor]:
    """Somebody whose notebook runs during all tests of this module."""
    visitor = Visitor(running_site, "sanne")
    visitor.start_notebook()
    wait_until_written_down(running_site)
    yield visitor
    visitor.close()


def kill(site: Any, name: str) -> None:
    """Kill a daemon and wait until supervisord has started another."""
    process = daemon(site, name)
    process.kill()

    def another_runs() -> bool:
        found = next(one for one in Supervisor(site.state).processes() if one.name == name)
        return found.state == "RUNNING" and found.pid != process.pid

    wait_for(f"another {name}", another_runs, BACK_SECONDS)


def a_job_runs(site: Any) -> bool:
    try:
        return "a job ran" in asyncio.run(see_job(slurm_of(site.site, site.state), site.site, site.state))
    except SlurmError:
        return False


def test_a_killed_proxy_gets_its_routes_back(running_site: Any, person: Visitor) -> None:
    kill(running_site, "proxy")
    wait_for("the hub", lambda: hub_ready(running_site.site), BACK_SECONDS)
    wait_for("the notebook", person.notebook_answers, BACK_SECONDS)


def test_while_proxy_and_hub_are_away_no_kernel_is_said_to_be_gone(running_site: Any, person: Visitor) -> None:
    """JupyterLab takes a kernel for dead when its address is not found (404), and tells its learner so."""
    hub = daemon(running_site, "hub")
    hub.suspend()
    seen = set()
    try:
        kill(running_site, "proxy")
        end = time.monotonic() + 5
        while time.monotonic() < end:
            answer = person.asked("api/kernels")
            seen.add(answer.status_code if answer is not None else 0)
            time.sleep(0.1)
    finally:
        hub.resume()

    def back() -> bool:
        answer = person.asked("api/kernels")
        seen.add(answer.status_code if answer is not None else 0)
        return person.notebook_answers()

    wait_for("the notebook", back, BACK_SECONDS)
    assert 404 not in seen, seen


def test_a_killed_hub_finds_its_servers_again(running_site: Any, person: Visitor) -> None:
    before = steps_of(running_site)
    kill(running_site, "hub")
    assert person.notebook_answers(), "the way to a notebook does not lead through the hub"
    wait_for("the hub", lambda: hub_ready(running_site.site), BACK_SECONDS)
    wait_for("the hub to know the server", person.is_ready, BACK_SECONDS)
    assert steps_of(running_site) == before


def test_a_killed_grading_service_answers_again(running_site: Any, person: Visitor) -> None:
    kill(running_site, "grading")
    socket = running_site.state.run / "grading.sock"
    wait_for("the grading service", lambda: listening_sockets([socket]), BACK_SECONDS)
    assert "run" in see_daemons(running_site.state)


@pytest.mark.parametrize("name", ["slurmctld", pytest.param("slurmd-cpu01", marks=pytest.mark.slow), "munged"])
def test_a_killed_daemon_of_slurm_costs_no_notebook_and_takes_work_again(
    running_site: Any, person: Visitor, name: str
) -> None:
    kill(running_site, name)
    assert person.notebook_answers()
    wait_for("Slurm", lambda: slurm_ready(running_site.site, running_site.state), BACK_SECONDS)
    wait_for("a job", lambda: a_job_runs(running_site), BACK_SECONDS)
    assert person.notebook_answers() and person.is_ready()
