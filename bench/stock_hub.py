"""The peer: JupyterHub and BatchSpawner as they are published, set as fast as their own options allow."""

from __future__ import annotations

import os
import pwd
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from base.ports import free_ports
from bench.errors import BenchmarkFailed
from bench.http import HubSide
from bench.site import CPUS, MEMORY, MINUTES, NODE, PARTITION, BenchSite
from hub_config.run.processes import NODE as NODE_JS
from hub_config.run.processes import PROXY

READY_SECONDS = 60.0
_END_SECONDS = 15.0
_CONFIGURATION = Path(__file__).with_name("stock_hub_config.py")


@dataclass(frozen=True)
class Variant:
    """One way to set BatchSpawner.

    Args:
        id: name of the server that is set so.
        poll: `startup_poll_interval` in seconds.
        srun: whether the server runs in a step of its own.
    """

    id: str
    poll: float
    srun: bool

    @property
    def title(self) -> str:
        return f"BatchSpawner 1.3.0, poll {self.poll:g} s, {'with' if self.srun else 'without'} srun"


VARIANTS = (
    Variant("poll-010", 0.1, False),
    Variant("poll-025", 0.25, False),
    Variant("poll-050", 0.5, False),
    Variant("poll-010-srun", 0.1, True),
)
BEST = VARIANTS[2]
"""The one with the lowest median in the run of all, within the noise (docs/reference/performance.md)."""


@dataclass(frozen=True)
class StockHub:
    """A running stock hub.

    Args:
        address: of its proxy.
        hub_api: its API, which a server asks for the hub's version when it starts.
        user: the account that it runs as; BatchSpawner wants a unix account of the person's name.
        token: may start and stop that person's servers.
        log: its log file.
    """

    address: str
    hub_api: str
    user: str
    token: str
    log: Path

    def side(self, variant: Variant) -> HubSide:
        """The measured side with one way of setting BatchSpawner."""
        host = self.address.removeprefix("http://")
        return HubSide(
            variant.title, self.address, host, host, self.user, variant.id, self.token, str(self.log)
        )  # fmt: skip


def lab_folders(site: BenchSite) -> Mapping[str, str]:
    """Where the folders that a wall shows are outside it."""
    return {
        "/opt/notebook": str(site.installation.notebook_env),
        "/opt/leerlab": str(site.installation.code / "images/notebook"),
    }


@contextmanager
def running_stock_hub(
    site: BenchSite, folder: Path, environment: Mapping[str, str], variants: Sequence[Variant]
) -> Iterator[StockHub]:
    """Start a stock hub on the product's Slurm, with a proxy and a database of its own; end it at the end.

    Args:
        site: whose Slurm, environments and proxy program are used.
        folder: an empty folder for its files and its servers' home.
        environment: of its labs: the product's own, with the paths outside the wall, or none for a lab as it is.
        variants: the ways of setting BatchSpawner to offer.

    Raises:
        BenchmarkFailed: it does not answer in time.
    """
    public, hub, api = free_ports(3)
    token, log = secrets.token_hex(16), folder / "hub.log"
    user = pwd.getpwuid(os.geteuid()).pw_name
    packages, home = folder / "packages", folder / "home"
    packages.mkdir()
    home.mkdir()
    # The notebook environment has no batchspawner; stock needs it there. This adds that package and nothing else.
    source = site.installation.hub_env / "lib/python3.11/site-packages/batchspawner"
    (packages / "batchspawner").symlink_to(source)
    path = [environment["PYTHONPATH"]] if "PYTHONPATH" in environment else []
    lab = {**environment, "PYTHONPATH": ":".join([*path, str(packages)])}
    settings = {
        "BENCH_ADDRESS": f"http://127.0.0.1:{public}",
        "BENCH_HUB_PORT": str(hub),
        "BENCH_PROXY_API": f"http://127.0.0.1:{api}",
        "BENCH_PROXY": f"{site.installation.hub_env / NODE_JS}\n{site.installation.proxy / PROXY}",
        "BENCH_FOLDER": str(folder),
        "BENCH_NOTEBOOK": str(site.installation.notebook_env),
        "BENCH_USER": user,
        "BENCH_TOKEN": token,
        "BENCH_NODE": NODE,
        "BENCH_PARTITION": PARTITION,
        "BENCH_REQUEST": f"{CPUS} {MEMORY} {MINUTES}",
        "BENCH_LAB": "\n".join(f"{name}={value}" for name, value in lab.items()),
        "BENCH_VARIANTS": "\n".join(f"{v.id} {v.poll} {int(v.srun)}" for v in variants),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(site.installation.hub_env / "bin/python"), "-m", "jupyterhub", "-f", str(_CONFIGURATION)],
            cwd=folder,
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": str(Path.home()),
                "LANG": "C.UTF-8",
                "SLURM_CONF": str(site.slurm_conf),
                "CONFIGPROXY_AUTH_TOKEN": secrets.token_hex(16),
                **settings,
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    running = StockHub(f"http://127.0.0.1:{public}", f"http://127.0.0.1:{hub}/hub/api", user, token, log)
    try:
        _wait_until_ready(running, process)
        yield running
    finally:
        _end(process)


def _wait_until_ready(hub: StockHub, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + READY_SECONDS
    with httpx.Client(timeout=5, trust_env=False) as client:
        while time.monotonic() < until and process.poll() is None:
            try:
                if client.get(f"{hub.address}/hub/api/").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
    tail = hub.log.read_text(errors="replace")[-2000:]
    raise BenchmarkFailed(
        "The stock hub does not start.", "There is nothing to compare with.", f"Its log ends:\n{tail}"
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM lets it stop its servers and its proxy; what is left of its session is killed."""
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_END_SECONDS)
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
