"""`leerlab up`: from a site.yaml to a site that really answers."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from base.errors import LeerlabError
from base.paths import Installation, State
from cluster.errors import SlurmError
from cluster.settings import EmbeddedCluster
from confinement import seccomp
from hub_config.courses import release_courses
from hub_config.login import keys as login_keys
from hub_config.run import ports
from hub_config.run.doctor import see_wall
from hub_config.run.keys import secret
from hub_config.run.processes import daemons, write_configuration
from hub_config.run.supervisor_client import Supervisor
from hub_config.site import Site
from hub_config.slurm import slurm_of

READY_SECONDS = 60.0
Step = Callable[[str], None]


@dataclass(frozen=True)
class Started:
    """What `up` tells at its end.

    Args:
        address: where people go.
        login_link: the same with a one-time key for the demo login; good for one browser.
        already_running: the site ran before this call.
        seconds: how long the call took.
    """

    address: str
    login_link: str
    already_running: bool
    seconds: float


@contextmanager
def only_one(state: State) -> Iterator[None]:
    """Hold the lock that keeps two `up` or `down` of one site apart.

    Raises:
        LeerlabError: another one is at work and does not end within two minutes.
    """
    deadline = time.monotonic() + 120
    with (state.root / "up.lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LeerlabError(
                        "Another leerlab up or down of this site is still at work.",
                        "Two at once would start everything twice.",
                        "Wait until it has ended, then try again.",
                    ) from None
                time.sleep(0.2)
        yield


def site_digest(site: Site, installation: Installation) -> str:
    """Identifies the settings and the code that a running site was started from."""
    text = json.dumps([site.model_dump(mode="json"), str(installation.code), str(installation.notebook_env)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def up(site: Site, site_file: Path, state: State, installation: Installation, step: Step) -> Started:
    """Start the site, or find it running; returns when everything answers.

    Args:
        site: the checked settings.
        site_file: where they were read from.
        state: the site's state folder.
        installation: the environments to use.
        step: called with one English phrase at each step.

    Raises:
        LeerlabError: something does not start; says what, and where its log is.
    """
    begin = time.monotonic()
    state.make()
    with only_one(state):
        supervisor = Supervisor(state)
        already = supervisor.running()
        digest_file = state.run / "digest"
        if already:
            if digest_file.exists() and digest_file.read_text() != site_digest(site, installation):
                raise LeerlabError(
                    "The site is running with other settings or other code than these.",
                    "A change takes effect at the next start.",
                    "Run ./leerlab down, then ./leerlab up. Running notebooks are stopped by that.",
                )
            step("found running, checking")
        else:
            _start_daemons(site, site_file, state, installation, step)
            digest_file.write_text(site_digest(site, installation))
        _wait_until_ready(site, state, supervisor, step)
        step("releasing courses")
        release_courses(site, state, installation)
    return Started(site.hub.address, login_keys.link(site.hub.address, login_keys.mint(state)), already, time.monotonic() - begin)


def _start_daemons(site: Site, site_file: Path, state: State, installation: Installation, step: Step) -> None:
    step("checking this machine")
    see_wall(state)
    if ports.in_use(str(site.hub.bind), site.hub.port):
        raise LeerlabError(
            f"Port {site.hub.port} on {site.hub.bind} is in use by another program.",
            "Leerlab's pages cannot be served there.",
            f"Stop that program (ss -ltnp 'sport = :{site.hub.port}' names it), or set hub.port in {site_file}.",
        )
    step("writing the configuration")
    seccomp.write_filter(state.generated / "seccomp.bpf")
    for name in ("proxy-token", "grading-token", "cookie-secret", "ledger-key"):
        secret(state, name)
    nodes = len(site.cluster.nodes) if isinstance(site.cluster, EmbeddedCluster) else 0
    chosen = ports.choose(state, nodes)
    configuration = write_configuration(state, daemons(site, site_file, state, installation, chosen))
    step("starting the daemons")
    log = (state.logs / "supervisord.out").open("wb")
    result = subprocess.run(
        [str(installation.hub_env / "bin/supervisord"), "-c", str(configuration)],
        cwd=state.root,
        env={"PATH": "/usr/bin:/bin", "HOME": str(Path.home()), "LANG": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        timeout=30,
        check=False,
    )
    log.close()
    if result.returncode:
        raise LeerlabError(
            "supervisord did not start.", "Nothing is running.", f"Its message is in {state.logs / 'supervisord.out'}."
        )


def _wait_until_ready(site: Site, state: State, supervisor: Supervisor, step: Step) -> None:
    deadline = time.monotonic() + READY_SECONDS
    step("waiting for Slurm")
    _wait(lambda: slurm_ready(site, state), "Slurm", state, supervisor, deadline)
    step("waiting for the hub")
    _wait(lambda: hub_ready(site), "the hub", state, supervisor, deadline)
    sockets = [state.run / "hub-api.sock", state.run / "grading.sock"]
    _wait(lambda: ports.listening_sockets(sockets) == sockets, "the inner services", state, supervisor, deadline)


def _wait(ready: Callable[[], bool], what: str, state: State, supervisor: Supervisor, deadline: float) -> None:
    while not ready():
        broken = [process.name for process in supervisor.processes() if process.state == "FATAL"]
        if broken or time.monotonic() > deadline:
            named = broken or [process.name for process in supervisor.processes() if process.state != "RUNNING"]
            where = ", ".join(str(state.logs / f"{name}.log") for name in named) or str(state.logs)
            raise LeerlabError(
                f"{what[0].upper()}{what[1:]} did not become ready.",
                f"Not running: {', '.join(named) or 'nothing; all daemons run'}.",
                f"Look in {where}; ./leerlab down stops what did start.",
            )
        time.sleep(0.1)


def slurm_ready(site: Site, state: State) -> bool:
    """Whether Slurm answers and at least one node can take work."""
    try:
        nodes = asyncio.run(slurm_of(site, state).nodes())
    except SlurmError:
        return False
    wanted = len(site.cluster.nodes) if isinstance(site.cluster, EmbeddedCluster) else 1
    return sum(node.usable for node in nodes) >= wanted


def hub_ready(site: Site) -> bool:
    """Whether the hub's API answers through the proxy, as a person's browser would reach it."""
    try:
        answer = httpx.get(
            f"http://{site.hub.bind}:{site.hub.port}/hub/api/", headers={"Host": site.hub.host}, timeout=5, trust_env=False
        )
    except httpx.TransportError:
        return False
    return answer.status_code == httpx.codes.OK
