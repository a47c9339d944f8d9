"""`leerlab up` and `down` as an ordinary account: what is started, found, refused and left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from whole_site import Key, Visitor, alive, daemon, everything_of, steps_of, wait_for, wait_until_written_down

from hub_config.run.ready import READY_SECONDS
from hub_config.run.strays import leftovers
from hub_config.run.supervisor_client import Supervisor

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
NewSite = Callable[..., Any]
CODE = Path(__file__).resolve().parents[3]


def begin(site: Any, *arguments: str) -> subprocess.Popen[str]:
    """Start the command without waiting for it."""
    return subprocess.Popen(
        [sys.executable, "-m", "cli", *arguments, "--site", str(site.file)],
        cwd=CODE,
        env={**os.environ, "XDG_STATE_HOME": str(site.home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Whoever started the tests in the background has Ctrl-C ignored, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no other thread runs
    )


def pids(site: Any) -> dict[str, int]:
    return {process.name: process.pid for process in Supervisor(site.state).processes()}


def test_a_second_up_finds_the_first_and_starts_nothing_twice(running_site: Any) -> None:
    before = pids(running_site)
    result = json.loads(running_site.leerlab("up", "--json").stdout)
    assert result["already_running"] and result["seconds"] < 60
    assert pids(running_site) == before
    assert result["login_link"].startswith(running_site.address + "/hub/login#key=")


def test_the_printed_address_and_key_let_a_person_in(running_site: Any) -> None:
    person = Visitor(running_site, "jelmer")
    assert "Jelmer" in person.browser.get("/hub/home", follow_redirects=True).text
    person.close()


def test_changed_settings_are_not_taken_silently(running_site: Any, short_folder: Path) -> None:
    description = yaml.safe_load(running_site.file.read_text())
    description["site"]["title"] = {"nl": "Anders", "en": "Other"}
    other = short_folder / "site.yaml"
    other.write_text(yaml.safe_dump(description))
    before = pids(running_site)
    from_other = begin(type(running_site)(other, running_site.home, running_site.site, running_site.state), "up")
    _, errors = from_other.communicate(timeout=60)
    assert from_other.returncode == 1
    assert "other settings" in errors and "./leerlab down, then ./leerlab up" in errors
    assert pids(running_site) == before


def test_a_busy_port_is_named_and_nothing_is_started(new_site: NewSite) -> None:
    site = new_site()
    with socket.create_server(("127.0.0.1", site.site.hub.port)):
        result = site.leerlab("up", check=False)
    assert result.returncode == 1
    assert str(site.site.hub.port) in result.stderr and "in use" in result.stderr and "hub.port" in result.stderr
    assert not everything_of(site)


def test_a_state_folder_too_deep_for_sockets_is_refused(new_site: NewSite, short_folder: Path) -> None:
    site = new_site()
    deep = type(site)(site.file, short_folder / ("d" * 60), site.site, site.state)
    result = deep.leerlab("up", check=False)
    assert result.returncode == 1
    assert "too long" in result.stderr and "XDG_STATE_HOME" in result.stderr


def test_a_state_folder_that_cannot_be_written_is_refused(new_site: NewSite, short_folder: Path) -> None:
    site = new_site()
    closed = short_folder / "closed"
    closed.mkdir(mode=0o500)
    result = type(site)(site.file, closed, site.site, site.state).leerlab("up", check=False)
    assert result.returncode == 1
    assert "cannot be written" in result.stderr and "Traceback" not in result.stderr


def test_a_machine_without_user_namespaces_is_refused(new_site: NewSite) -> None:
    site = new_site()
    # Inside bubblewrap's --disable-userns no further namespace can be made, as where the kernel forbids them.
    result = subprocess.run(
        ["/usr/bin/bwrap", "--dev-bind", "/", "/", "--unshare-user", "--disable-userns", "--die-with-parent",
         sys.executable, "-m", "cli", "up", "--site", str(site.file)],
        cwd=CODE, env={**os.environ, "XDG_STATE_HOME": str(site.home)}, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert result.returncode == 1, result.stdout
    assert "namespace" in result.stderr and "Traceback" not in result.stderr
    assert not everything_of(site)


def test_a_machine_without_bubblewrap_is_refused(new_site: NewSite) -> None:
    site = new_site()
    # The same machine with nothing at the program's place.
    result = subprocess.run(
        ["/usr/bin/bwrap", "--dev-bind", "/", "/", "--bind", "/dev/null", "/usr/bin/bwrap", "--die-with-parent",
         sys.executable, "-m", "cli", "up", "--site", str(site.file)],
        cwd=CODE, env={**os.environ, "XDG_STATE_HOME": str(site.home)}, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert result.returncode == 1, result.stdout
    assert "bubblewrap is not installed" in result.stderr
    assert not everything_of(site)


@pytest.mark.slow
def test_two_ups_at_once_start_one_site_and_down_leaves_nothing(new_site: NewSite) -> None:
    site = new_site()
    both = [begin(site, "up", "--json") for _ in range(2)]
    said = [one.communicate(timeout=250) for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    results = [json.loads(output) for output, _ in said]
    assert sorted(result["already_running"] for result in results) == [False, True]

    person = Visitor(site)
    person.start_notebook()
    person.close()
    running = everything_of(site)
    assert any("bwrap" in name for name in alive(running)), "the control: what runs inside the wall is looked at too"
    stopped = json.loads(site.leerlab("down", "--json").stdout)
    assert stopped["was_running"] and stopped["jobs"] == 1
    assert alive(running) == []
    assert leftovers(site.state) == []
    assert "Nothing was running" in site.leerlab("down").stdout


@pytest.mark.slow
def test_ctrl_c_during_up_leaves_what_down_can_stop(new_site: NewSite) -> None:
    site = new_site()
    site.leerlab("up")
    site.leerlab("down")
    with sqlite3.connect(site.state.ledger, isolation_level=None) as ledger:
        ledger.execute("BEGIN EXCLUSIVE")  # the hub waits for it, so `up` cannot end before the interruption
        starting = begin(site, "up")
        wait_for("supervisord", Supervisor(site.state).running, 60)
        os.killpg(starting.pid, signal.SIGINT)
        _, errors = starting.communicate(timeout=30)
        ledger.execute("ROLLBACK")
    ledger.close()
    assert starting.returncode == 1
    assert "./leerlab down" in errors and "Traceback" not in errors
    started = everything_of(site)
    assert started
    site.leerlab("down")
    assert alive(started) == [] and leftovers(site.state) == []


@pytest.mark.slow
def test_down_waits_for_an_up_under_way(new_site: NewSite) -> None:
    site = new_site()
    starting = begin(site, "up")
    wait_for("supervisord", Supervisor(site.state).running, 60)
    stopping = begin(site, "down", "--json")
    starting.communicate(timeout=150)
    assert starting.returncode == 0
    assert json.loads(stopping.communicate(timeout=60)[0])["was_running"]
    assert leftovers(site.state) == []


@pytest.mark.slow
@pytest.mark.fault
def test_a_hub_that_crashes_at_its_start_is_named_with_the_end_of_its_log(new_site: NewSite) -> None:
    site = new_site()
    site.state.make()
    site.state.hub_database.mkdir()
    begun = time.monotonic()
    result = site.leerlab("up", check=False)
    assert result.returncode == 1
    assert "hub ended each time" in result.stderr and "database" in result.stderr
    assert str(site.state.logs / "hub.log") in result.stderr
    assert time.monotonic() - begun < READY_SECONDS, "not only when the time for being ready is over"
    assert not everything_of(site), "a failed up leaves nothing running"
    site.state.hub_database.rmdir()


def crash(site: Any, processes: frozenset[Key]) -> None:
    """Kill supervisord and all daemons; jobs go on."""
    doomed = [Supervisor(site.state).pid(), *pids(site).values()]
    for pid in doomed:
        os.kill(pid, signal.SIGKILL)
    wait_for("all daemons to be gone", lambda: not alive(frozenset(one for one in processes if one[0] in doomed)), 10)


def notebooks(site: Any) -> list[str]:
    """The states of the jobs that run notebook servers."""
    jobs = json.loads(site.leerlab("status", "--json").stdout)["jobs"]
    return [job["state"] for job in jobs if job["name"] == "leerlab-server"]


@pytest.mark.slow
@pytest.mark.fault
def test_after_a_crash_of_everything_but_the_jobs_up_finds_the_notebook_again(new_site: NewSite) -> None:
    site = new_site()
    site.leerlab("up")
    person = Visitor(site)
    person.start_notebook()
    running = everything_of(site)
    wait_until_written_down(site)
    ports = (site.state.run / "ports.json").read_text()
    crash(site, running)

    again = json.loads(site.leerlab("up", "--json").stdout)
    assert not again["already_running"]
    assert (site.state.run / "ports.json").read_text() == ports
    wait_for("the same notebook", person.notebook_answers, 30)
    assert notebooks(site) == ["RUNNING"]
    person.close()
    site.leerlab("down")
    assert alive(running) == [] and leftovers(site.state) == []


@pytest.mark.slow
@pytest.mark.fault
def test_after_a_crash_right_after_a_start_the_person_has_one_notebook_again(new_site: NewSite) -> None:
    """Slurm may not have written down that the job runs, and runs it a second time: that one may not stay."""
    site = new_site()
    site.leerlab("up")
    person = Visitor(site)
    person.start_notebook()
    running = everything_of(site)
    crash(site, running)

    site.leerlab("up")

    def works() -> bool:
        if person.notebook_answers():
            return True
        if not person.has_server():
            person.start_notebook(wait=False)
        return False

    wait_for("a notebook", works, 90)
    wait_for("one job", lambda: notebooks(site) == ["RUNNING"], 30)
    assert person.notebook_answers()
    assert len(steps_of(site)) == 1
    person.close()
    site.leerlab("down")
    assert alive(running) == [] and leftovers(site.state) == []


@pytest.mark.slow
@pytest.mark.fault
def test_down_ends_the_jobs_also_when_slurmctld_was_just_killed(new_site: NewSite) -> None:
    site = new_site()
    site.leerlab("up")
    person = Visitor(site)
    person.start_notebook()
    person.close()
    running = everything_of(site)
    daemon(site, "slurmctld").kill()
    stopped = json.loads(site.leerlab("down", "--json").stdout)
    assert stopped["jobs"] == 1
    assert alive(running) == [] and leftovers(site.state) == []


@pytest.mark.slow
@pytest.mark.fault
def test_down_ends_the_jobs_also_when_slurmctld_cannot_run_any_more(new_site: NewSite) -> None:
    site = new_site()
    site.leerlab("up")
    person = Visitor(site)
    person.start_notebook()
    person.close()
    running = everything_of(site)
    (site.state.generated / "slurm.conf").rename(site.state.root / "slurm.conf.lost")
    daemon(site, "slurmctld").kill()
    stopped = json.loads(site.leerlab("down", "--json").stdout)
    assert stopped["was_running"]
    assert alive(running) == [] and leftovers(site.state) == []

    site.leerlab("up")
    assert json.loads(site.leerlab("status", "--json").stdout)["jobs"] == [], "no job of before comes back"


@pytest.mark.slow
@pytest.mark.fault
def test_down_after_a_crash_of_everything_ends_the_jobs(new_site: NewSite) -> None:
    site = new_site()
    site.leerlab("up")
    person = Visitor(site)
    person.start_notebook()
    person.close()
    running = everything_of(site)
    for pid in (Supervisor(site.state).pid(), *pids(site).values()):
        os.kill(pid, signal.SIGKILL)
    stopped = json.loads(site.leerlab("down", "--json").stdout)
    assert stopped["was_running"]
    assert alive(running) == [] and leftovers(site.state) == []
