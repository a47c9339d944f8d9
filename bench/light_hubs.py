"""Hubs with light servers: the product and stock BatchSpawner, asked for many servers and measured from outside."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from jupyterhub import __version__ as hub_version

from base.paths import Installation
from base.ports import free_ports
from bench.errors import BenchmarkFailed
from bench.light_slurm import MEMORY, QUEUE, ROOM, LightSlurm, account
from hub_config.run.processes import NODE, PROXY

PRODUCT = "product"
POLLS = (0.5, 5.0)
"""BatchSpawner's `startup_poll_interval` of each peer, in seconds."""
READY_SECONDS = 300.0
_END_SECONDS = 60.0
_REQUEST_SECONDS = 60.0
_STOCK_CONFIGURATION = Path(__file__).with_name("light_stock_config.py")


def peer(poll: float) -> str:
    """What a peer is called in the result."""
    return f"BatchSpawner 1.3.0, poll {poll:g} s"


@dataclass(frozen=True)
class LightHub:
    """A running hub with light servers of one user.

    Args:
        name: of the side.
        api: address of its API.
        user: whose servers.
        token: may start them and see how they are.
        process: the hub's.
        log: its log.
    """

    name: str
    api: str
    user: str
    token: str
    process: psutil.Process
    log: Path

    def ask_for(self, client: httpx.Client, server: str) -> None:
        """Ask for one server, and do not wait for it.

        Args:
            client: of `client()`.
            server: its name, which begins with `r` (runs) or `q` (waits in the queue).

        Raises:
            BenchmarkFailed: the hub refuses.
        """
        partition = QUEUE if server.startswith("q") else ROOM
        answer = client.post(f"{self.api}/users/{self.user}/servers/{server}", json={"profile": partition})
        if answer.status_code not in (201, 202):
            raise self.failed(f"its hub answered {answer.status_code} to the request for server {server}")

    def standing(self, client: httpx.Client) -> dict[str, str]:
        """Each server's name with `ready` or what the hub does with it (`spawn`, `stop`); failed ones are left out."""
        answer = client.get(f"{self.api}/users/{self.user}")
        if answer.status_code != 200:
            raise self.failed(f"its hub answered {answer.status_code}")
        servers = answer.json().get("servers") or {}
        return {name: "ready" if one["ready"] else str(one["pending"] or "") for name, one in servers.items()}

    def client(self) -> httpx.Client:
        """Who asks."""
        headers = {"Authorization": f"token {self.token}"}
        return httpx.Client(timeout=_REQUEST_SECONDS, headers=headers, trust_env=False)

    def processor_seconds(self) -> float:
        """Processor time of the hub and of all its children, those that have ended too; its proxy is one of them."""
        own = self.process.cpu_times()
        total = own.user + own.system + own.children_user + own.children_system
        for child in self.process.children(recursive=True):
            try:
                spent = child.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += spent.user + spent.system + spent.children_user + spent.children_system
        return float(total)

    def failed(self, what: str) -> BenchmarkFailed:
        """The error, with the end of the hub's log."""
        tail = self.log.read_text(errors="replace")[-2000:]
        return BenchmarkFailed(f"{self.name}: {what}.", "There is no figure to compare.", f"Its log ends:\n{tail}")


@contextmanager
def light_hub(slurm: LightSlurm, folder: Path, poll: float | None) -> Iterator[LightHub]:
    """Start a hub, and end it; its servers' jobs stay, and `LightSlurm.empty` ends them.

    Args:
        slurm: where its servers run.
        folder: for its files.
        poll: BatchSpawner's `startup_poll_interval` in seconds; None: the product.

    Raises:
        BenchmarkFailed: it does not start.
    """
    folder.mkdir()
    public, hub_port, proxy_api = free_ports(3)
    installation, token, log = Installation.current(), secrets.token_hex(16), folder / "hub.log"
    proxy = [str(installation.hub_env / NODE), str(installation.proxy / PROXY)]
    common = {
        "PATH": "/usr/bin:/bin", "HOME": str(Path.home()), "LANG": "C.UTF-8", "SLURM_CONF": str(slurm.conf),
        "CONFIGPROXY_AUTH_TOKEN": secrets.token_hex(16), **installation.environment(),
    }  # fmt: skip
    python = sys.executable
    if poll is None:
        settings = {
            "public": public, "hub_port": hub_port, "proxy_api": proxy_api, "folder": str(folder), "proxy": proxy,
            "user": account(), "token": token, "state": str(slurm.state.root), "slurm_conf": str(slurm.conf),
            "code": str(installation.code),
        }  # fmt: skip
        file = folder / "settings.json"
        file.touch(0o600)
        file.write_text(json.dumps(settings))
        argv: Sequence[str] = (python, "-m", "bench.light_hub")
        environment: Mapping[str, str] = {
            **common, "PYTHONPATH": str(installation.code), "BENCH_LIGHT": str(file),
        }  # fmt: skip
    else:
        environment = {**common, **_stock_environment(installation, folder, poll, token, (public, hub_port, proxy_api))}
        argv = (python, "-m", "jupyterhub", "-f", str(_STOCK_CONFIGURATION))
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    name = PRODUCT if poll is None else peer(poll)
    hub = LightHub(name, f"http://127.0.0.1:{public}/hub/api", account(), token, psutil.Process(process.pid), log)
    try:
        _wait(hub, process)
        yield hub
    finally:
        _end(process)


def _stock_environment(
    installation: Installation, folder: Path, poll: float, token: str, ports: tuple[int, int, int]
) -> dict[str, str]:
    """What `stock_hub_config.py` and `light_stock_config.py` read."""
    public, hub_port, proxy_api = ports
    (folder / "home").mkdir()
    server = folder / "light-server"
    program = Path(__file__).with_name("light_server.py").read_text()
    server.write_text(f"#!/usr/bin/python3\n{program}")
    server.chmod(0o755)
    # The job runs batchspawner's own wrapper, which needs jupyterhub and batchspawner: both are in the hub environment.
    lab = {"BENCH_HUB_VERSION": hub_version}
    return {
        "BENCH_ADDRESS": f"http://127.0.0.1:{public}", "BENCH_HUB_PORT": str(hub_port),
        "BENCH_PROXY_API": f"http://127.0.0.1:{proxy_api}",
        "BENCH_PROXY": f"{installation.hub_env / NODE}\n{installation.proxy / PROXY}",
        "BENCH_FOLDER": str(folder), "BENCH_NOTEBOOK": str(Path(sys.executable).parents[1]), "BENCH_USER": account(),
        "BENCH_TOKEN": token, "BENCH_NODE": "room", "BENCH_PARTITION": ROOM, "BENCH_REQUEST": f"1 {MEMORY} 240",
        "BENCH_LAB": "\n".join(f"{key}={value}" for key, value in lab.items()), "BENCH_VARIANTS": "",
        "BENCH_POLL": str(poll), "BENCH_LIGHT_SERVER": str(server),
    }  # fmt: skip


def _wait(hub: LightHub, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + READY_SECONDS
    with hub.client() as client:
        while time.monotonic() < until and process.poll() is None:
            try:
                if client.post(f"{hub.api}/users/{hub.user}").status_code in (201, 409):
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.2)
    raise hub.failed("its hub does not start")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the hub and its proxy, which has its session, without stopping its servers one by one."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(_END_SECONDS)


def forget(folder: Path) -> None:
    """Remove a run's files."""
    shutil.rmtree(folder, ignore_errors=True)
