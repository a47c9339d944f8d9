"""People at the pages of a running site, and its processes, for the tests of this folder."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from typing import Any

import httpx
import psutil

from hub_config.login import keys
from hub_config.run.browser import Browser
from hub_config.run.strays import strays_of
from hub_config.run.supervisor_client import Supervisor
from hub_config.slurm import slurm_conf_of

START_SECONDS = 90.0
PROFILE = {"profile": "cpu-small"}


def wait_for(what: str, ready: Callable[[], object], seconds: float) -> float:
    """Seconds until `ready` gave something true; fails after that many seconds."""
    begin = time.monotonic()
    while not ready():
        assert time.monotonic() - begin < seconds, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.1)
    return time.monotonic() - begin


def wait_until_written_down(site: Any) -> None:
    """slurmctld writes its state some seconds after a change; killed before that, it runs a new job once more."""
    slurm = {**os.environ, "SLURM_CONF": str(slurm_conf_of(site.site, site.state))}
    saved, changed = site.state.slurm / "controller/job_state", time.time()
    held = ["/usr/bin/sbatch", "--parsable", "--hold", "--output=/dev/null", "--wrap=true"]
    job = subprocess.run(held, env=slurm, timeout=20, check=True, capture_output=True, text=True).stdout.strip()

    def written() -> bool:
        try:
            return saved.stat().st_mtime > changed
        except FileNotFoundError:  # slurmctld takes the old one away before it gives the new one its name
            return False

    wait_for("Slurm to have written its state", written, 60)
    subprocess.run(["/usr/bin/scancel", job], env=slurm, timeout=20, check=True)


class Visitor:
    """A browser that has given a one-time key and chosen a person.

    Args:
        site: the running site.
        name: the demo person.
    """

    def __init__(self, site: Any, name: str = "sanne") -> None:
        self.name = name
        self._site = site
        self.browser = Browser(site.site, seconds=20)
        self.key = keys.mint(site.state)
        self.browser.submit("/hub/login", "/hub/login/key", key=self.key)
        self.browser.submit("/hub/login", "/hub/login", username=name)
        assert self.browser.get("/hub/home", follow_redirects=True).status_code == 200, f"{name} could not log in"

    def start_notebook(self, *, wait: bool = True) -> None:
        """Start this person's server, unless another test left it running, and wait until it answers."""
        token = self.browser.token("/hub/token")
        if not self.is_ready():
            path = f"/hub/api/users/{self.name}/server"
            answer = self.browser.post(path, headers={"X-XSRFToken": token}, json=PROFILE)
            assert answer.status_code in (201, 202), answer.text
        if wait:
            wait_for("the notebook", self.notebook_answers, START_SECONDS)

    def end_notebook(self) -> None:
        """Stop this person's server, if there is one."""
        if self.has_server():
            headers = {"X-XSRFToken": self.browser.token("/hub/token")}
            assert self.browser.delete(f"/hub/api/users/{self.name}/server", headers=headers).status_code in (202, 204)
            wait_for("the notebook's end", lambda: not self.has_server(), START_SECONDS)

    def notebook_answers(self) -> bool:
        """Whether the server answers at this person's own address."""
        answer = self.asked("api")
        return answer is not None and answer.status_code == 200 and "version" in answer.json()

    def asked(self, path: str) -> httpx.Response | None:
        """What is answered at this person's own address; None where nobody listens."""
        hub = self._site.site.hub
        try:
            return self.browser.get(f"http://{self.name}.{hub.host}/user/{self.name}/{path}")
        except httpx.TransportError:
            return None

    def is_ready(self) -> bool:
        """Whether the hub takes this person's server to be ready."""
        return bool(self._server().get("ready"))

    def has_server(self) -> bool:
        """Whether the hub knows a server of this person that is ready, starting or stopping."""
        return bool(self._server())

    def _server(self) -> dict[str, Any]:
        answer = self.browser.get(f"/hub/api/users/{self.name}")
        server: dict[str, Any] = answer.json().get("servers", {}).get("", {}) if answer.status_code == 200 else {}
        return server

    def close(self) -> None:
        self.browser.close()


Key = tuple[int, float]


def everything_of(site: Any) -> frozenset[Key]:
    """All processes of a site by number and start time; those inside walls too, known by descent alone."""
    keys_: set[Key] = set()
    for process in strays_of(site.state).all:
        try:
            keys_ |= {(one.pid, one.create_time()) for one in (process, *process.children(recursive=True))}
        except psutil.NoSuchProcess:
            continue
    return frozenset(keys_)


def alive(processes: frozenset[Key]) -> list[str]:
    """Those that still live, as phrases."""
    found = []
    for pid, created in processes:
        try:
            process = psutil.Process(pid)
            if process.create_time() == created and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{pid} {process.name()}")
        except psutil.NoSuchProcess:
            continue
    return found


def daemon(site: Any, name: str) -> psutil.Process:
    """The process of one daemon of a running site."""
    return psutil.Process(next(one.pid for one in Supervisor(site.state).processes() if one.name == name))


def steps_of(site: Any) -> frozenset[int]:
    """Process ids of Slurm's job steps."""
    return frozenset(process.pid for process in strays_of(site.state).jobs if process.name() == "slurmstepd")
