"""The product's spawner in a hub for light servers: `python -m bench.light_hub`, told by the file in $BENCH_LIGHT.

Everything of a start is the product's: spawner, watcher, wrapper, wall, report. Only the program inside is a light one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jupyterhub import __version__ as hub_version
from jupyterhub.app import JupyterHub
from traitlets.config import Config

from base.messages import Message
from base.paths import State
from bench.light_slurm import MEMORY, ROOM, SETTINGS
from cluster.commands import Slurm
from cluster.watcher import Watcher
from confinement.wall import Bind, Relay, Wall
from spawners.facility import Facility
from spawners.plan import ServerPlan
from spawners.settings import Profile
from spawners.spawner import LeerlabSpawner

HUB_ID = "0be0c4e0be0c"
SERVER_PORT, HUB_PORT = 8888, 8081


class LightHub(JupyterHub):  # type: ignore[misc]  # jupyterhub has no types
    """JupyterHub that opens and closes what its spawners share, as the product's own does."""

    async def init_spawners(self) -> int:
        """Start the watcher and the sweep first."""
        await LeerlabSpawner.open(self.db)
        count: int = await super().init_spawners()
        return count

    async def cleanup(self) -> None:
        """End them."""
        await LeerlabSpawner.close()
        await super().cleanup()


def profile(partition: str) -> Profile:
    """What a light server asks of Slurm."""
    title = {"nl": partition, "en": partition}
    return Profile.model_validate(
        {"id": partition, "title": title, "partition": partition, "cpus": 1, "memory": MEMORY, "time": "4h"}
    )


def plan(state: State, report_to: str, partition: str, code: Path, home: str) -> ServerPlan:
    """A light server behind the product's wall.

    Args:
        state: where its home and the wall's filter are.
        report_to: the hub's address for jobs.
        partition: where it runs.
        code: Leerlab's code, which holds the program.
        home: name of its home.
    """
    folder = state.homes / home
    folder.mkdir(mode=0o700, exist_ok=True)
    wall = Wall(
        command=("/usr/bin/python3", "-I", "-S", "/opt/light/light_server.py"), home=folder,
        seccomp=state.generated / "seccomp.bpf", binds=(Bind(code / "bench", Path("/opt/light")),), publish=SERVER_PORT,
        relays=(Relay(HUB_PORT, report_to),), environment={"BENCH_HUB_VERSION": hub_version},
    )  # fmt: skip
    return ServerPlan(profile(partition), wall, HUB_PORT)


def facility(state: State, conf: Path, report_to: str, code: Path, reserved: frozenset[int]) -> Facility:
    """The surroundings of a light hub's spawners."""

    def plan_for(user: Any, options: Mapping[str, object]) -> ServerPlan:
        return plan(state, report_to, str(options.get("profile", ROOM)), code, user.name)

    slurm = Slurm(conf)
    return Facility(
        hub=HUB_ID, plan_for=plan_for, slurm=slurm, watcher=Watcher(slurm, SETTINGS.interval), state=state,
        report_to=report_to, wrapper=("/usr/bin/python3", "-I", "-S", str(code / "spawners/job.py")), say=_sentence,
        reserved_ports=reserved, ready_seconds=600.0, named_servers=lambda _person: 1000,
    )  # fmt: skip


def _sentence(message: Message) -> str:
    return message.code


def configure(settings: Mapping[str, Any]) -> Config:
    """JupyterHub's settings; what stands in the stock side's too is the same there."""
    c = Config()
    c.JupyterHub.bind_url = f"http://127.0.0.1:{settings['public']}"
    c.JupyterHub.hub_ip = "127.0.0.1"
    c.JupyterHub.hub_port = settings["hub_port"]
    c.JupyterHub.db_url = f"sqlite:///{settings['folder']}/jupyterhub.sqlite"
    c.JupyterHub.cookie_secret_file = f"{settings['folder']}/cookie-secret"
    c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
    c.ConfigurableHTTPProxy.command = settings["proxy"]
    c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{settings['proxy_api']}"
    c.ConfigurableHTTPProxy.pid_file = f"{settings['folder']}/proxy.pid"
    c.JupyterHub.authenticator_class = "dummy"
    c.Authenticator.allowed_users = {settings["user"]}
    c.JupyterHub.allow_named_servers = True
    c.JupyterHub.concurrent_spawn_limit = 0
    c.JupyterHub.services = [{"name": "bench", "api_token": settings["token"]}]
    c.JupyterHub.load_roles = [{"name": "bench", "scopes": ["admin:users", "admin:servers"], "services": ["bench"]}]
    c.JupyterHub.spawner_class = LeerlabSpawner
    return c


def main() -> None:
    """Start the hub."""
    settings = json.loads(Path(os.environ["BENCH_LIGHT"]).read_text())
    report_to = f"tcp:127.0.0.1:{settings['hub_port']}"
    LeerlabSpawner.facility = facility(
        State(Path(settings["state"])), Path(settings["slurm_conf"]), report_to, Path(settings["code"]),
        frozenset({settings["public"], settings["proxy_api"], settings["hub_port"]}),
    )  # fmt: skip
    LightHub.instance().update_config(configure(settings))
    LightHub.launch_instance([])


if __name__ == "__main__":
    main()
