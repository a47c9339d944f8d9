"""A site beside a Slurm that is not its own: notebooks run there, and nothing else there is touched."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from real_cluster import RealCluster, real_cluster
from whole_site import Visitor, wait_for

from hub_config.run.supervisor_client import Supervisor

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]
NewSite = Callable[..., Any]
CODE = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def running() -> Iterator[RealCluster]:
    """A school's cluster with accounting, of which our account is an administrator."""
    root = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    try:
        with real_cluster(root, accounting=True) as cluster:
            user = getpass.getuser()
            cluster.run("sacctmgr", "-i", "modify", "user", f"name={user}", "set", "adminlevel=Administrator")
            yield cluster
    finally:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def school(running: RealCluster) -> Iterator[RealCluster]:
    """The same, without jobs at the end of each test."""
    yield running
    running.run("scancel", f"--user={getpass.getuser()}")
    wait_for("no jobs", lambda: not running.states(), 20)


def findings(site: Any) -> dict[str, dict[str, Any]]:
    """What the doctor says, by name."""
    return {each["name"]: each for each in json.loads(site.leerlab("doctor", "--json", check=False).stdout)}


def jobs_of(site: Any) -> dict[int, str]:
    """The site's own jobs."""
    return {job["id"]: job["state"] for job in json.loads(site.leerlab("status", "--json").stdout)["jobs"]}


def test_a_notebook_runs_there_a_restarted_hub_finds_it_and_down_leaves_other_jobs_alone(
    school: RealCluster, new_site: NewSite
) -> None:
    foreign = school.foreign_job()
    site = new_site(cluster=school.section(), sandboxes=None)
    site.leerlab("up")
    person = Visitor(site)
    person.start_notebook()
    assert list(jobs_of(site).values()) == ["RUNNING"]
    (ours,) = jobs_of(site)
    assert school.states() == {str(foreign): "RUNNING", str(ours): "RUNNING"}

    supervisor = Supervisor(site.state)
    supervisor.stop(["hub"])
    supervisor.start_stopped()
    wait_for("the same notebook", person.notebook_answers, 40)
    wait_for("the hub to know it", person.is_ready, 40)
    assert list(jobs_of(site)) == [ours]
    person.close()

    stopped = json.loads(site.leerlab("down", "--json").stdout)
    assert stopped["jobs"] == 1
    assert school.states() == {str(foreign): "RUNNING"}


class Service:
    """`leerlab up --foreground`, as systemd starts it.

    Args:
        site: whose.
        folder: for the socket at which it tells that it is ready.
    """

    def __init__(self, site: Any, folder: Path) -> None:
        import socket

        self.told: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = folder / f"notify-{os.urandom(3).hex()}"
        self._socket.bind(str(address))
        self._socket.settimeout(120)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cli", "up", "--foreground", "--site", str(site.file)],
            cwd=CODE, env={**os.environ, "XDG_STATE_HOME": str(site.home), "NOTIFY_SOCKET": str(address)},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def wait_until_ready(self) -> None:
        """Until it says so."""
        while not (self.told and self.told[-1].startswith("READY=1")):
            self.told.append(self._socket.recv(4096).decode())

    def end(self, how: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; its exit code and what it printed."""
        self.process.send_signal(how)
        out, err = self.process.communicate(timeout=60)
        self._socket.close()
        return self.process.returncode, out + err


@pytest.mark.slow
def test_in_the_foreground_it_tells_when_it_is_ready_and_sigterm_leaves_jobs_for_the_next_start(
    school: RealCluster, new_site: NewSite, short_folder: Path
) -> None:
    site = new_site(cluster=school.section())
    service = Service(site, short_folder)
    service.wait_until_ready()
    person = Visitor(site)
    person.start_notebook()
    (ours,) = jobs_of(site)
    seen = findings(site)
    code, printed = service.end()
    assert code == 0 and "as it was asked to" in printed
    assert "key=" not in printed, "what a service prints is kept in a journal"
    assert service.told[-1].startswith("READY=1")
    assert all(each["ok"] for each in seen.values()), seen
    assert {"Slurm", "partitions", "accounting", "job", "nodes"} <= set(seen)
    assert not Supervisor(site.state).running()
    assert school.states() == {str(ours): "RUNNING"}

    again = Service(site, short_folder)
    again.wait_until_ready()
    wait_for("the same notebook", person.notebook_answers, 40)
    assert list(jobs_of(site)) == [ours]
    refused = site.leerlab("up", "--foreground", check=False)
    assert refused.returncode == 1 and "runs already" in refused.stderr
    assert json.loads(site.leerlab("up", "--json").stdout)["already_running"]

    # Killed: its supervisord ends with it, and the next one starts all the same.
    again.end(signal.SIGKILL)
    third = Service(site, short_folder)
    third.wait_until_ready()
    wait_for("the same notebook", person.notebook_answers, 40)
    assert json.loads(site.leerlab("down", "--json").stdout)["jobs"] == 1
    assert third.process.wait(timeout=30) == 0, "a site that was told to stop is no failure"
    third.end()
    assert school.states() == {}
    person.close()


@pytest.mark.slow
def test_down_cancels_jobs_that_a_service_has_left(school: RealCluster, new_site: NewSite, short_folder: Path) -> None:
    foreign = school.foreign_job()
    site = new_site(cluster=school.section())
    service = Service(site, short_folder)
    service.wait_until_ready()
    person = Visitor(site)
    person.start_notebook()
    person.close()
    service.end()
    assert len(school.states()) == 2
    assert json.loads(site.leerlab("down", "--json").stdout)["jobs"] == 1
    assert school.states() == {str(foreign): "RUNNING"}


@pytest.mark.slow
@pytest.mark.fault
def test_the_controller_away_is_named_and_the_notebook_goes_on(school: RealCluster, new_site: NewSite) -> None:
    site = new_site(cluster=school.section(interval={"answer": 3}))
    site.leerlab("up")
    person = Visitor(site)
    person.start_notebook()
    school.supervisor.stop(["slurmctld"])
    seen = findings(site)["Slurm"]
    assert not seen["ok"] and "controller does not answer" in seen["what"] and "scontrol ping" in seen["do"]
    assert person.notebook_answers()
    refused = site.leerlab("down", check=False)
    assert refused.returncode == 1 and "may still run" in refused.stderr
    school.supervisor.start_stopped()
    wait_for("Slurm", lambda: findings(site)["Slurm"]["ok"], 60)
    assert json.loads(site.leerlab("down", "--json").stdout)["jobs"] == 1
    person.close()


@pytest.mark.slow
@pytest.mark.fault
def test_munge_away_is_named(school: RealCluster, new_site: NewSite) -> None:
    site = new_site(cluster=school.section(interval={"answer": 3}))
    site.leerlab("up")
    school.supervisor.stop(["munged"])
    seen = findings(site)["Slurm"]
    assert not seen["ok"] and seen["what"].startswith("munge does not answer") and "munge.key" in seen["do"]
    school.supervisor.start_stopped()
