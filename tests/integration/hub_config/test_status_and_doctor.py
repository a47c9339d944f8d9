"""`leerlab status` and `doctor`: a healthy site is healthy, and each broken thing is found and named."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from whole_site import Visitor, wait_for

from base.errors import LeerlabError
from base.paths import Installation
from hub_config.audit import open_ledger
from hub_config.run import doctor
from hub_config.run.supervisor_client import Supervisor
from hub_config.site import load

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
CLUSTER = load(Installation.current().code / "hub_config/demo.yaml").cluster


@contextmanager
def stopped(site: Any, name: str) -> Iterator[None]:
    """One daemon stopped, as an operator may do with supervisorctl."""
    supervisorctl = Installation.current().hub_env / "bin/supervisorctl"

    def ask(verb: str) -> None:
        conf = str(site.state.generated / "supervisord.conf")
        subprocess.run([str(supervisorctl), "-c", conf, verb, name], check=True, capture_output=True, timeout=60)

    ask("stop")
    try:
        yield
    finally:
        ask("start")
        running = Supervisor(site.state).processes
        wait_for(name, lambda: all(one.state == "RUNNING" for one in running()), 60)


def files_of(site: Any) -> set[Path]:
    """The files that an examination could leave; logs and databases grow by themselves."""
    state = site.state
    return {path for folder in (state.run, state.jobs, state.secrets, state.homes) for path in folder.rglob("*")}


def test_a_healthy_site_is_healthy_and_the_examination_leaves_only_its_own_entry(running_site: Any) -> None:
    for name in ("jelmer", "sanne"):
        visitor = Visitor(running_site, name)  # the first login of a run leaves its mark
        visitor.end_notebook()  # of another test; it would write in its home meanwhile
        visitor.close()
    before = files_of(running_site)
    ledger = open_ledger(running_site.site, running_site.state)
    known = len(list(ledger.entries()))
    result = running_site.leerlab("doctor", "--json")
    findings = json.loads(result.stdout)
    names = ["write", "installation", "wall", "daemons", "job", "memory", "login", "scanner", "way out"]
    assert [finding["name"] for finding in findings] == names
    assert all(finding["ok"] and finding["what"] and not finding["do"] for finding in findings)
    assert files_of(running_site) <= before
    actions = [(entry.actor, entry.action) for entry in list(ledger.entries())[known:]]
    own = [one for one in actions if one[0] == "doctor"]
    assert own[:2] == [("doctor", "doctor.write"), ("doctor", "doctor.login")]
    assert "logout" in [action for _, action in actions]
    status = json.loads(running_site.leerlab("status", "--json").stdout)
    assert status["healthy"] and not [job for job in status["jobs"] if "doctor" in job["name"]]


def test_status_and_doctor_name_a_stopped_daemon(running_site: Any) -> None:
    with stopped(running_site, "grading"):
        status = running_site.leerlab("status", "--json", check=False)
        assert status.returncode == 1
        report = json.loads(status.stdout)
        assert not report["healthy"]
        assert [one["name"] for one in report["daemons"] if one["state"] != "RUNNING"] == ["grading"]
        with pytest.raises(LeerlabError, match="Not running: grading"):
            doctor.see_daemons(running_site.state)
        examined = running_site.leerlab("doctor", check=False)
        assert examined.returncode == 1
        assert "BROKEN daemons: Not running: grading." in examined.stdout and "grading.log" in examined.stdout


def test_up_starts_a_stopped_daemon_again(running_site: Any) -> None:
    with stopped(running_site, "proxy"):
        running_site.leerlab("up")
        assert running_site.leerlab("status").returncode == 0


def test_status_of_a_site_that_does_not_run(new_site: Callable[..., Any]) -> None:
    result = new_site().leerlab("status", check=False)
    assert result.returncode == 1 and "Not running" in result.stdout


def test_a_wrong_site_yaml_is_wrong_input(short_folder: Path, new_site: Callable[..., Any]) -> None:
    site = new_site()
    site.file.write_text(site.file.read_text() + "\nnonsense: 1\n")
    for command in ("up", "down", "status", "doctor"):
        assert site.leerlab(command, check=False).returncode == 2
    site.file.write_text(site.file.read_text().replace("\nnonsense: 1\n", ""))


def test_a_full_disk_is_found_and_said(running_site: Any) -> None:
    # The kernel's limit on a file's size plays the full disk: the same refused write.
    result = subprocess.run(
        ["/bin/bash", "-c", 'trap "" XFSZ; ulimit -f 0; exec "$@" 2>&1 | /bin/cat', "bash",
         os.sys.executable, "-m", "cli", "doctor", "--json", "--site", str(running_site.file)],
        cwd=Path(__file__).resolve().parents[3], env={**os.environ, "XDG_STATE_HOME": str(running_site.home)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    findings = {finding["name"]: finding for finding in json.loads(result.stdout)}
    assert not findings["write"]["ok"]
    assert "cannot be written" in findings["write"]["what"] and "room" in findings["write"]["do"]


def test_a_state_folder_with_little_room_is_found(running_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LEAST_FREE", 2**62)
    with pytest.raises(LeerlabError, match="MiB are free"):
        doctor.see_write(running_site.site, running_site.state)


def test_a_changed_audit_trail_is_found(new_site: Callable[..., Any]) -> None:
    site = new_site()
    site.state.make()
    ledger = open_ledger(site.site, site.state)
    ledger.record("a", "login", "a", {})
    ledger.record("b", "login", "b", {})
    assert "audit trail is whole" in doctor.see_write(site.site, site.state)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{site.state.ledger}{suffix}").unlink(missing_ok=True)
    site.state.ledger.write_bytes(b"this is no database" * 1000)
    finding = doctor.examine(site.site, site.state, Installation.current(), lambda phrase: None)[0]
    assert finding.name == "write" and not finding.ok and finding.do


def test_the_audit_trail_is_read_and_verified_from_the_command_line(new_site: Callable[..., Any]) -> None:
    site = new_site()
    never_ran = site.leerlab("ledger", "list", check=False)
    assert never_ran.returncode == 1 and "never run" in never_ran.stderr
    site.state.make()
    ledger = open_ledger(site.site, site.state)
    ledger.record("mila", "sandbox.request", "abcdefgh", {"title": "Pompen \x1b[31m"})
    ledger.record("beheer", "sandbox.active", "abcdefgh", {})
    ledger.record("beheer", "logout", "beheer", {})
    listed = site.leerlab("ledger", "list", "--action", "sandbox", "--last", "1").stdout
    assert "sandbox.active" in listed and "sandbox.request" not in listed and "logout" not in listed
    (request,) = json.loads(site.leerlab("ledger", "list", "--actor", "mila", "--json").stdout)
    assert request["sequence"] == 1 and request["details"] == {"title": "Pompen \x1b[31m"}
    assert "\x1b" not in site.leerlab("ledger", "list", "--actor", "mila").stdout
    assert json.loads(site.leerlab("ledger", "verify", "--json").stdout)["entries"] == 3
    with closing(sqlite3.connect(site.state.ledger)) as database, database:
        database.execute("DROP TRIGGER entry_no_update")
        database.execute("UPDATE entry SET actor = 'mila' WHERE sequence = 2")
    broken = site.leerlab("ledger", "verify", check=False)
    assert broken.returncode == 1 and "2" in broken.stderr


def test_a_missing_notebook_environment_is_found(tmp_path: Path) -> None:
    here = Installation.current()
    assert doctor.see_installation(here, CLUSTER)
    with pytest.raises(LeerlabError, match="notebook-env/bin/python cannot be run") as missing:
        doctor.see_installation(replace(here, notebook_env=tmp_path / "notebook-env"), CLUSTER)
    assert "./leerlab up" in missing.value.do


def test_a_damaged_notebook_environment_is_found(tmp_path: Path) -> None:
    """A Python that starts but has lost its packages."""
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", str(tmp_path / "env")], check=True, timeout=60)
    with pytest.raises(LeerlabError, match="No module named 'jupyterhub'"):
        doctor.see_installation(replace(Installation.current(), notebook_env=tmp_path / "env"), CLUSTER)


def test_a_missing_proxy_is_found(tmp_path: Path) -> None:
    with pytest.raises(LeerlabError, match="proxy is not installed"):
        doctor.see_installation(replace(Installation.current(), proxy=tmp_path), CLUSTER)
