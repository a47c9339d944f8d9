"""What fails under a running site, one cause at a time, and what is left when it is over."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from deploy import Operator
from rootfs import CODE

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.site, pytest.mark.fault, pytest.mark.timeout(7200)]


def until(what: str, true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:.0f} s")
        time.sleep(1)


def well(site: Operator) -> bool:
    """Whether the site's own examination finds nothing."""
    done = site.hub.run(
        "/var/lib/leerlab/bin/leerlab doctor --site /etc/leerlab/site.yaml --json", check=False, timeout=180
    )
    return done.returncode == 0


@pytest.fixture
def job(site: Operator) -> Iterator[str]:
    """A job that runs on the node as long as the test."""
    number = site.hub.run(
        "cd /tmp && setpriv --reuid=leerlab --regid=leerlab --clear-groups sbatch --parsable --account=courses "
        f"--mem=100M --output=/dev/null --wrap='sleep 3000' --chdir={site.state}/jobs"
    ).stdout.strip()
    until("the job runs", lambda: state_of(site, number) == "RUNNING", 60)
    yield number
    site.hub.run(f"scancel {number}", check=False)


def state_of(site: Operator, number: str) -> str:
    return site.hub.run(f"squeue --noheader --format=%T --jobs={number}", check=False).stdout.strip()


def test_the_database_restarts_and_the_site_goes_on(site: Operator) -> None:
    site.hub.run("systemctl restart postgresql@15-main")
    until("the site is well", lambda: well(site), 180)


def test_the_controller_loses_power_and_jobs_go_on(site: Operator, job: str) -> None:
    # slurmctld writes a change down within five seconds (SAVE_MAX_WAIT in its state_save.c); what it has not, is lost.
    time.sleep(10)
    site.controller.cut_power()
    site.controller.boot()
    until("slurmctld knows the job", lambda: state_of(site, job) == "RUNNING", 120)
    until("the site is well", lambda: well(site), 180)


def test_a_node_is_lost_and_comes_back(site: Operator, job: str) -> None:
    site.network.cut("node1")
    lost = lambda: "down" in site.hub.run("sinfo --noheader --format=%t", check=False).stdout  # noqa: E731
    until("Slurm knows that the node is lost", lost, 180)
    found = site.leerlab("doctor", check=False, timeout=240)
    assert any(not one["ok"] and "node1" in one["what"] for one in found), found
    site.network.cut("node1", off=False)
    # slurmctld asks a node that is down to register at every twentieth ping, and pings three times in SlurmdTimeout.
    until("the site is well", lambda: well(site), 600)


def test_a_full_disk_breaks_a_backup_off_and_leaves_the_one_before(site: Operator) -> None:
    site.play("backup.yml")
    before = site.hub.run("cat /var/lib/leerlab-backup.last").stdout
    site.hub.run("mount -t tmpfs -o size=64k tmpfs /var/lib/leerlab-backup")
    try:
        broken = site.hub.run("/usr/local/sbin/leerlab-backup", check=False, timeout=300)
    finally:
        site.hub.run("umount /var/lib/leerlab-backup")
    assert broken.returncode == 1
    assert "there is no room" in broken.stderr
    assert site.hub.run("cat /var/lib/leerlab-backup.last").stdout == before
    restic = "RESTIC_REPOSITORY=/srv/backup/repository RESTIC_PASSWORD_FILE=/etc/leerlab/backup-password restic"
    site.hub.run(f"{restic} check --read-data", timeout=300)
    site.play("backup.yml")


def test_a_playbook_that_was_broken_off_is_made_good_by_the_next(site: Operator) -> None:
    description = yaml.safe_load(site.site_file.read_text())
    description["site"]["title"]["nl"] = "Leerlab na onderbreking"
    site.write(site=description)
    words, environment = site.command("site.yml")
    with subprocess.Popen(
        words, cwd=site.folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as playing:  # fmt: skip
        assert playing.stdout is not None
        for line in playing.stdout:
            # site.yaml lies on the hub; its service still runs with the one of before.
            if "Describe the service" in line:
                os.killpg(playing.pid, signal.SIGKILL)
                break
    page = f"curl -sk --resolve leerlab.test:443:{site.hub.address} https://leerlab.test/hub/login"
    assert "na onderbreking" not in site.hub.run(page).stdout
    site.play("site.yml")
    assert "na onderbreking" in site.hub.run(page).stdout
    site.write()
    site.play("site.yml")
    again = site.play("site.yml")
    assert not any(again.changed.values()), again.changes


def test_power_fails_during_an_upgrade_and_the_site_is_whole(site: Operator, job: str, tmp_path: Path) -> None:
    newer = tmp_path / "newer"
    left_out = shutil.ignore_patterns(".git", "build", ".*_cache", "__pycache__")
    shutil.copytree(CODE, newer, symlinks=True, ignore=left_out)
    with (newer / "base/__init__.py").open("a") as file:
        file.write("# Another version.\n")
    site.tree = newer
    words, environment = site.command("site.yml")
    before = set(site.hub.file("/usr/local/lib/leerlab").iterdir())
    try:
        with subprocess.Popen(
            words, cwd=site.folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            start_new_session=True,
        ) as playing:  # fmt: skip
            arrived = lambda: any(  # noqa: E731
                path.is_dir() and path not in before for path in site.hub.file("/usr/local/lib/leerlab").iterdir()
            )
            until("the new code arrives on the hub", arrived, 600)
            site.hub.cut_power()
            playing.wait(300)
        site.hub.boot()
        site.provider.reach_from("hub1")
        until("the site is well", lambda: well(site), 240)
        assert state_of(site, job) == "RUNNING"
        site.play("site.yml")
        assert well(site)
    finally:
        site.tree = CODE
