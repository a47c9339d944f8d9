"""People's servers as people's own unix accounts: real accounts, munge, MariaDB, slurmdbd, root's slurmd, and sudo."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import sqlite3
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from roots_slurm import CODE, SITE, Cluster, roots_slurm, until

from base.ports import free_ports
from hub_config.run.browser import Browser
from hub_config.site import Site
from hub_config.unix_accounts import LAUNCHER
from hub_config.unix_accounts_files import SUDOERS, SYSUSERS, TMPFILES
from spawners.launcher import POLICY

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(900)]
# An address of this machine that no other machine can reach: it is on the loopback interface.
ADDRESS, NETWORK = "10.231.9.1", "10.231.9.0/24"
NAME, PREFIX, GROUP, FIRST, COUNT = "accounts", "lltest", "lltest-people", 71000, 3
MARKER = "alleen-voor-mij"


@dataclass(frozen=True)
class Place:
    """A running site whose people have accounts.

    Args:
        cluster: the Slurm beside it.
        folder: where site.yaml and the homes lie.
        site: its settings.
    """

    cluster: Cluster
    folder: Path
    site: Site

    @property
    def state(self) -> Path:
        return Path(pwd.getpwnam(SITE).pw_dir) / ".local/state/leerlab" / NAME

    def leerlab(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return leerlab(*words, "--site", str(self.folder / "site.yaml"), check=check)

    def visitor(self, name: str) -> Browser:
        """Somebody who has logged in."""
        browser = Browser(self.site, seconds=20)
        link = json.loads(self.leerlab("key", "--json").stdout)["login_link"]
        browser.submit("/hub/login", "/hub/login/key", key=link.partition("#key=")[2])
        browser.submit("/hub/login", "/hub/login", username=name)
        assert browser.get("/hub/home", follow_redirects=True).status_code == 200
        return browser

    def start(self, browser: Browser, name: str) -> None:
        token = browser.token("/hub/token")
        answer = browser.post(
            f"/hub/api/users/{name}/server", headers={"X-XSRFToken": token}, json={"profile": "cpu-small"}
        )
        assert answer.status_code in (201, 202), answer.text

    def answers(self, browser: Browser, name: str) -> bool:
        answer = browser.get(f"http://{name}.{self.site.hub.host}/user/{name}/api")
        return answer.status_code == 200 and "version" in answer.json()

    def jobs(self) -> dict[str, tuple[str, str]]:
        """The account and the charge of each job, by its state and number."""
        rows = self.cluster.run("root", "squeue", "-h", "-o", "%i|%u|%a").stdout.split()
        return {number: (user, account) for number, user, account in (row.split("|") for row in rows)}


def leerlab(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(CODE / "leerlab"), *words],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"},
        cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=800, check=False,
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def described(conf: Path, folder: Path) -> dict[str, Any]:
    description = yaml.safe_load((CODE / "hub_config/demo.yaml").read_text())
    description["site"]["name"] = NAME
    description["hub"]["port"] = free_ports(1)[0]
    for absent in ("assistant", "sandboxes"):
        description.pop(absent, None)
    description["courses"] = description["courses"][:1]
    kept = f"-{description['courses'][0]['id']}"
    for person in description["login"]["people"]:
        person["groups"] = [one for one in person.get("groups", ()) if one.endswith(kept)]
    description["login"]["people"] = [
        one for one in description["login"]["people"] if one["groups"] or one.get("operator")
    ]
    description["cluster"] = {
        "kind": "existing", "slurm_conf": str(conf), "accounting": True, "network": NETWORK,
        "partitions": [{"name": "cpu", "time": "1h", "cpus": 8, "memory": "8G", "default": True}],
    }  # fmt: skip
    data = folder / "data"
    data.mkdir(mode=0o755)
    (data / "metingen.csv").write_text("uur,stand\n1,3\n")
    description["profiles"] = [
        {**one, "time": "1h", "memory": "1G", "data": [{"name": "waterstanden", "folder": str(data)}]}
        for one in description["profiles"]
        if one["partition"] == "cpu"
    ]
    description["limits"] = [{"id": "klas", "each": {"servers": 1}}]
    description["unix_accounts"] = {
        "kind": "made", "prefix": PREFIX, "group": GROUP, "first_uid": FIRST, "count": COUNT,
        "homes": str(folder / "people"),
    }  # fmt: skip
    return description


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """The site, with all that it made on this machine taken away afterwards."""
    assert os.geteuid() == 0
    assert not SUDOERS.exists(), "this machine is a site's own"
    folder = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    folder.chmod(0o755)
    subprocess.run(["ip", "address", "add", f"{ADDRESS}/32", "dev", "lo"], check=True)
    with roots_slurm(ADDRESS, cgroups=True) as cluster:
        description = described(cluster.conf, folder)
        (folder / "site.yaml").write_text(yaml.safe_dump(description))
        made = Place(cluster, folder, Site.of_plain(description))
        try:
            made.leerlab("accounts", "make")
            leerlab("install")
            started = made.leerlab("up", check=False)
            assert started.returncode == 0, started.stdout + started.stderr + logs(made)
            yield made
        finally:
            made.leerlab("down", check=False)
            for path in (SUDOERS, SYSUSERS, TMPFILES, POLICY, LAUNCHER):
                path.unlink(missing_ok=True)
            for number in range(COUNT):
                subprocess.run(["userdel", f"{PREFIX}{number:05d}"], check=False, capture_output=True)
            subprocess.run(["gpasswd", "-d", SITE, GROUP], check=False, capture_output=True)
            subprocess.run(["groupdel", GROUP], check=False, capture_output=True)
            subprocess.run(["ip", "address", "del", f"{ADDRESS}/32", "dev", "lo"], check=False)
            shutil.rmtree(folder)
            shutil.rmtree(made.state, ignore_errors=True)


def logs(place: Place) -> str:
    """What the site and the jobs say, for the report of a test that fails."""
    files = [*place.state.glob("logs/*.log"), *place.folder.glob("people/*/leerlab/jobs/*/*.log")]
    kept = (
        (file, [line for line in file.read_text(errors="replace").splitlines() if " 302 GET " not in line][-40:])
        for file in files
    )
    queue = place.cluster.run("root", "squeue", "-o", "%i %u %a %T %r").stdout
    return queue + "\n".join(f"{file}:\n" + "\n".join(lines) for file, lines in kept)


@pytest.fixture(scope="module")
def people(place: Place) -> Iterator[dict[str, Browser]]:
    """Two students, each with a server that answers."""
    found = {name: place.visitor(name) for name in ("sanne", "jelmer")}
    for name, browser in found.items():
        place.start(browser, name)
    for name, browser in found.items():
        begin = time.monotonic()
        while not place.answers(browser, name):
            assert time.monotonic() - begin < 90, logs(place)
            time.sleep(0.3)
    yield found
    for browser in found.values():
        browser.close()


def home(number: int) -> Path:
    return Path(pwd.getpwnam(f"{PREFIX}{number:05d}").pw_dir) / "leerlab"


def as_account(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["setpriv", f"--reuid={name}", f"--regid={pwd.getpwnam(name).pw_gid}", "--init-groups", "--", *words],
        cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
    )  # fmt: skip


def processes(word: str) -> list[psutil.Process]:
    """Those with this in their arguments."""
    return [one for one in psutil.process_iter(["cmdline"]) if word in " ".join(one.info["cmdline"] or ())]


def test_again_nothing_is_made(place: Place) -> None:
    assert json.loads(place.leerlab("accounts", "make", "--json").stdout) == {"changed": []}


def test_the_doctor_starts_something_as_an_account(place: Place) -> None:
    findings = {one["name"]: one for one in json.loads(place.leerlab("doctor", "--json", check=False).stdout)}
    assert findings["accounts"]["ok"], findings["accounts"]
    assert "are left" in findings["accounts"]["what"]


def test_each_server_runs_as_its_persons_own_account(place: Place, people: dict[str, Browser]) -> None:
    running = place.jobs()
    assert sorted(running.values()) == [(f"{PREFIX}00000", "person-sanne"), (f"{PREFIX}00001", "person-jelmer")]
    # Other sites on this machine have servers too.
    assert {one.username() for one in processes("jupyterhub.singleuser")} >= {f"{PREFIX}00000", f"{PREFIX}00001"}
    daemons = {one.username() for one in processes(str(place.state))}
    assert "root" not in daemons and SITE in daemons


def test_what_slurm_lets_a_job_take_holds_for_all_that_runs_behind_its_wall(
    place: Place, people: dict[str, Browser]
) -> None:
    jobs = {user: number for number, (user, _) in place.jobs().items()}
    for user, number in jobs.items():
        uid = pwd.getpwnam(user).pw_uid
        inside = [one for one in psutil.process_iter(["username"]) if one.info["username"] == user]
        assert len(inside) >= 4, "wrapper, wall, relays and lab"
        for process in inside:
            try:
                groups = Path(f"/proc/{process.pid}/cgroup").read_text().splitlines()
            except ProcessLookupError:  # it has ended meanwhile
                continue
            kept = {line.split(":")[1]: line.split(":")[2] for line in groups}
            for kind in ("memory", "freezer", "cpuset"):
                assert f"/uid_{uid}/job_{number}/" in f"{kept[kind]}/", (process.cmdline(), kept)
        limit = Path(f"/sys/fs/cgroup/memory{kept['memory'].partition('/job_')[0]}/job_{number}/memory.limit_in_bytes")
        assert int(limit.read_text()) == 2**30


def test_files_made_in_a_lab_are_the_persons_own(place: Place, people: dict[str, Browser]) -> None:
    sanne = people["sanne"]
    address = f"http://sanne.{place.site.hub.host}/user/sanne"
    assert sanne.get(f"{address}/lab", follow_redirects=True).status_code == 200
    token = sanne.get(f"{address}/lab").cookies.get("_xsrf") or next(
        cookie.value for cookie in sanne.cookies.jar if cookie.name == "_xsrf" and "/user/sanne" in cookie.path
    )
    answer = sanne.put(
        f"{address}/api/contents/geheim.txt", headers={"X-XSRFToken": token},
        json={"type": "file", "format": "text", "content": MARKER},
    )  # fmt: skip
    assert answer.status_code == 201, answer.text
    file = home(0) / "home/geheim.txt"
    assert file.read_text() == MARKER
    assert file.owner() == f"{PREFIX}00000"


@pytest.mark.attack
def test_neither_the_neighbour_nor_the_hub_reads_a_persons_files(place: Place, people: dict[str, Browser]) -> None:
    file = str(home(0) / "home/geheim.txt")
    for who in (f"{PREFIX}00001", SITE, "nobody"):
        assert as_account(who, "cat", file).returncode != 0, who
    assert as_account(f"{PREFIX}00000", "cat", file).stdout == MARKER
    # What walls use can be passed through; what else is in the state folder cannot.
    state = place.state
    for closed in ("secrets", "jobs", "homes", "courses", "exchange"):
        assert as_account(f"{PREFIX}00000", "ls", str(state / closed)).returncode, closed
    assert as_account(f"{PREFIX}00000", "cat", str(state / "jupyterhub.sqlite")).returncode
    assert as_account("nobody", "ls", str(state / "catalogue")).returncode
    assert as_account(f"{PREFIX}00000", "ls", str(state / "catalogue")).returncode == 0
    # The control: the same account reads the file once its owner lets it.
    Path(file).chmod(0o644)
    for folder in (home(0) / "home", home(0), home(0).parent):
        folder.chmod(0o755)
    try:
        assert as_account(f"{PREFIX}00001", "cat", file).stdout == MARKER
    finally:
        for folder in (home(0) / "home", home(0), home(0).parent):
            folder.chmod(0o700)
        Path(file).chmod(0o600)


@pytest.mark.attack
def test_the_sites_account_can_do_nothing_as_a_person_but_what_the_launcher_does(place: Place) -> None:
    account, order = f"{PREFIX}00000", ["/usr/bin/python3", "-I", "-S", str(LAUNCHER)]

    def sudo(*words: str) -> subprocess.CompletedProcess[str]:
        return as_account(SITE, "sudo", "-n", *words)

    for words in (
        ("-u", account, "/usr/bin/id"),
        ("-u", account, "/usr/bin/python3", "-I", "-S", "-c", "import os"),
        ("-u", account, *order, "--extra"),
        ("-u", account, "/usr/bin/python3", "-I", "-S", "/tmp/launcher.py"),
        ("-u", "root", *order),
        ("-u", "nobody", *order),
        ("-u", "#0", *order),
        ("/usr/bin/id",),
    ):
        tried = sudo(*words)
        assert tried.returncode == 1 and "a password is required" in tried.stderr, (words, tried.stdout, tried.stderr)
    # The control: the launcher itself runs, as the person, and refuses what is no order.
    allowed = sudo("-u", account, *order)
    assert allowed.returncode == 2 and "not JSON" in json.loads(allowed.stdout)["error"]
    # A member of the group outside the range of numbers is refused by the launcher.
    subprocess.run(["usermod", "--append", "--groups", GROUP, "nobody"], check=True)
    try:
        outside = sudo("-u", "nobody", *order)
        assert outside.returncode == 3 and "is not one of" in json.loads(outside.stdout)["error"]
    finally:
        subprocess.run(["gpasswd", "-d", "nobody", GROUP], check=True, capture_output=True)


def test_servers_are_offered_on_the_network_behind_tls_alone(place: Place, people: dict[str, Browser]) -> None:
    rows = sqlite3.connect(f"file:{place.state}/jupyterhub.sqlite?mode=ro", uri=True).execute(
        "SELECT proto, ip, port FROM servers WHERE base_url LIKE '/user/%'"
    )
    servers = rows.fetchall()
    assert {(proto, ip) for proto, ip, _ in servers} == {("https", ADDRESS)}
    for _, ip, port in servers:
        with pytest.raises(OSError):
            urllib.request.urlopen(f"http://{ip}:{port}/user/sanne/api", timeout=5)
        unknown = ssl.create_default_context(cafile=str(place.state / "secrets/labs-authority.pem"))
        with pytest.raises(OSError):
            urllib.request.urlopen(f"https://{ip}:{port}/user/sanne/api", timeout=5, context=unknown)


@pytest.mark.attack
def test_a_person_at_the_cluster_cannot_pass_a_job_off_as_somebody_elses(
    place: Place, people: dict[str, Browser]
) -> None:
    """Jelmer has read the comment of sanne's job, and gives it to a newer job of his."""
    told = place.cluster.run("root", "squeue", "-h", "-o", "%i|%u|%k").stdout.split()
    rows = [row.split("|") for row in told]
    number, _, comment = next(row for row in rows if row[1] == f"{PREFIX}00000")
    forged = place.cluster.run(
        f"{PREFIX}00001", "sbatch", "--parsable", "--account=person-jelmer", f"--comment={comment}", "--mem=50M",
        "--output=/dev/null", "--chdir=/tmp", "--wrap=exec sleep 100",
    )  # fmt: skip
    assert forged.returncode == 0, forged.stderr
    place.leerlab("status")
    time.sleep(6)
    sanne = people["sanne"]
    server = sanne.get("/hub/api/users/sanne").json()["servers"][""]
    assert server["ready"] and place.answers(sanne, "sanne")
    place.cluster.run(f"{PREFIX}00001", "scancel", forged.stdout.strip())
    assert number in place.jobs()


def test_a_server_that_fails_tells_its_last_lines(place: Place, people: dict[str, Browser]) -> None:
    """Its log is the account's own; the hub gets to see the end of it through the launcher."""
    jelmer = people["jelmer"]
    number = next(job for job, (user, _) in place.jobs().items() if user == f"{PREFIX}00001")
    place.cluster.run("root", "scancel", "--signal=KILL", "--full", number)
    until(lambda: not jelmer.get("/hub/api/users/jelmer").json()["servers"], "the hub has seen the end")
    failure = next(place.state.glob("jobs/*/failure.json"))
    assert (failure.parent / "server.log").read_text(), "the log was brought"


def test_stopping_and_going_down_end_jobs_of_other_accounts(place: Place, people: dict[str, Browser]) -> None:
    sanne = people["sanne"]
    token = sanne.token("/hub/token")
    begin = time.monotonic()
    assert sanne.delete("/hub/api/users/sanne/server", headers={"X-XSRFToken": token}).status_code in (202, 204)
    until(lambda: f"{PREFIX}00000" not in {user for user, _ in place.jobs().values()}, "the job has ended")
    assert time.monotonic() - begin < 15
    place.start(sanne, "sanne")
    until(lambda: place.answers(sanne, "sanne"), "it starts again")
    stopped = json.loads(place.leerlab("down", "--json").stdout)
    assert stopped["jobs"] == 1
    assert not [user for user, _ in place.jobs().values() if user.startswith(PREFIX)]


def test_what_the_jobs_used_is_fetched_from_the_accounts(place: Place, people: dict[str, Browser]) -> None:
    place.leerlab("up")
    sanne = place.visitor("sanne")
    try:
        place.start(sanne, "sanne")
        until(lambda: place.answers(sanne, "sanne"), "it starts again")
        token = sanne.token("/hub/token")
        sanne.delete("/hub/api/users/sanne/server", headers={"X-XSRFToken": token})
        until(lambda: [one for one in place.state.glob("jobs/use/*/use.jsonl") if one.stat().st_size], "it is fetched")
    finally:
        sanne.close()


def test_a_person_beyond_the_last_account_is_told(place: Place, people: dict[str, Browser]) -> None:
    names = [one.name for one in place.site.login.people]  # type: ignore[union-attr]
    others = [name for name in names if name not in people][:2]
    visitors = {name: place.visitor(name) for name in others}
    try:
        for name, browser in visitors.items():
            place.start(browser, name)
        last = visitors[others[1]]
        waiting = f"/hub/spawn-pending/{others[1]}"
        told = lambda: last.get(waiting, follow_redirects=True).text  # noqa: E731
        until(lambda: "nog geen account op het cluster" in told(), "the page says why")
    finally:
        for browser in visitors.values():
            browser.close()
