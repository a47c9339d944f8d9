"""A hub for the tests of spawners: JupyterHub with LeerlabSpawner, settings from the JSON file in SPAWNER_TEST."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from jupyterhub.app import JupyterHub
from traitlets.config import Config

from base.messages import Message
from base.paths import State
from cluster.commands import Slurm
from cluster.settings import Interval
from cluster.watcher import Watcher
from confinement.wall import Bind, Relay, Wall
from spawners.facility import Facility
from spawners.options import choose_profile, profiles_of
from spawners.plan import ServerPlan
from spawners.settings import Profile
from spawners.spawner import LeerlabSpawner

# A server as small as can be, for tests that are not about Jupyter: answers every path, and says its environment.
TINY = """
import http.server, json, os, sys, time
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = json.dumps({"path": self.path, "environment": dict(os.environ)}).encode()
        self.send_response(200)
        self.send_header("X-JupyterHub-Version", os.environ["JUPYTERHUB_TEST_VERSION"])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass
delay = float(os.environ.get("TEST_DELAY", "0"))
print("waiting", delay, flush=True)
time.sleep(delay)
while "TEST_WAIT" in os.environ and not os.path.exists("go"):
    time.sleep(0.05)
http.server.ThreadingHTTPServer(("127.0.0.1", 8888), Answer).serve_forever()
"""
# It ends only when the test follows its progress.
BROKEN = (
    "import sys, time; time.sleep(1); print('loading the model'); print('<b>no such file: model.bin</b>'); sys.exit(3)"
)
GREEDY = "import time; held = b'x' * (1500 << 20); print('loaded', flush=True); time.sleep(3600)"
# Processes in sessions of their own that take no notice of SIGTERM.
STUBBORN = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(3):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
"""
MUTE = "import time; print('thinking', flush=True); time.sleep(3600)"


class SpawnerHub(JupyterHub):
    """JupyterHub that opens and closes what its spawners share, as LeerlabHub does."""

    async def init_spawners(self) -> int:
        await LeerlabSpawner.open(self.db)
        count: int = await super().init_spawners()
        return count

    async def cleanup(self) -> None:
        await LeerlabSpawner.close()
        await super().cleanup()


def say(message: Message) -> str:
    return f"[{message.code}] " + " ".join(f"{key}={value}" for key, value in message.params.items())


def facility(settings: dict[str, Any]) -> Facility:
    state = State(Path(settings["state"]))
    slurm = Slurm(Path(settings["slurm_conf"]))
    profiles = [Profile.model_validate(each) for each in settings["profiles"]]
    binds = tuple(Bind(Path(source), Path(target)) for source, target in settings["binds"])
    code = Path(settings["code"])

    def plan_for(user: Any, options: Any) -> ServerPlan:
        profile = choose_profile(profiles, {group.name for group in user.groups}, options)
        home = state.homes / user.name
        home.mkdir(mode=0o700, exist_ok=True)
        command: tuple[str, ...] = ("/usr/bin/python3", "-c", TINY)
        environment = {"JUPYTERHUB_TEST_VERSION": settings["version"]}
        if profile.id == "broken":
            command = ("/usr/bin/python3", "-c", BROKEN)
        elif profile.id == "greedy":
            command = ("/usr/bin/python3", "-c", GREEDY)
        elif profile.id in ("mute", "queue-mute"):
            command = ("/usr/bin/python3", "-c", MUTE)
        elif profile.id == "stubborn":
            command = ("/usr/bin/python3", "-c", STUBBORN + TINY)
        elif profile.id == "slow":
            # It answers from when the test says so: by a file in the person's home.
            environment["TEST_WAIT"] = "go"
        elif profile.id == "slow-queue":
            environment["TEST_DELAY"] = settings["delay"]
        elif profile.id == "lab":
            command = ("/opt/notebook/bin/python", "-m", "jupyterhub.singleuser")
            environment["JUPYTER_CONFIG_PATH"] = "/opt/config"
        wall = Wall(
            command=command, home=home, seccomp=state.generated / "seccomp.bpf", binds=binds, publish=8888,
            relays=(Relay(8081, settings["report_to"]),), environment=environment,
        )  # fmt: skip
        return ServerPlan(profile, wall, home_size=profile.home_size)

    return Facility(
        hub=settings["hub"], plan_for=plan_for, slurm=slurm, watcher=Watcher(slurm, Interval()), state=state,
        report_to=settings["report_to"], wrapper=("/usr/bin/python3", "-I", "-S", str(code / "spawners" / "job.py")),
        say=say, reserved_ports=frozenset(settings["reserved"]),
        ready_seconds=settings["ready_seconds"],
        # Slurm and JupyterHub say the rest; `none` stands for an account that has no servers with a name.
        named_servers=lambda user: 0 if user.name == "none" else 3,
        profiles_for=lambda user: profiles_of(profiles, {group.name for group in user.groups}),
    )  # fmt: skip


def configure(app: SpawnerHub, settings: dict[str, Any]) -> None:
    c = Config()
    c.JupyterHub.bind_url = f"http://127.0.0.1:{settings['public']}"
    c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{settings['hub_port']}"
    c.JupyterHub.db_url = settings["database"]
    c.JupyterHub.cookie_secret = bytes.fromhex(settings["cookie_secret"])
    c.JupyterHub.authenticator_class = "dummy"
    c.Authenticator.allow_all = True
    c.JupyterHub.spawner_class = LeerlabSpawner
    c.LeerlabSpawner.poll_interval = settings.get("poll_interval", 5)
    c.JupyterHub.init_spawners_timeout = 1
    c.JupyterHub.concurrent_spawn_limit = settings.get("concurrent_spawn_limit", 0)
    c.JupyterHub.allow_named_servers = True
    c.JupyterHub.cleanup_servers = False
    c.JupyterHub.cleanup_proxy = False
    c.ConfigurableHTTPProxy.should_start = False
    c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{settings['proxy_api']}"
    c.ConfigurableHTTPProxy.auth_token = settings["proxy_token"]
    c.JupyterHub.services = [{"name": "tester", "api_token": settings["token"]}]
    c.JupyterHub.load_roles = [
        {
            "name": "tester",
            "scopes": [
                "admin:users",
                "admin:servers",
                "admin:groups",
                "read:hub",
                "admin:server_state",
                "tokens",
                "read:metrics",
            ],
            "services": ["tester"],
        }
    ]
    c.JupyterHub.load_groups = {name: {"users": users} for name, users in settings["groups"].items()}
    c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0, "slow_stop_timeout": 60}
    c.JupyterHub.log_level = "DEBUG" if os.environ.get("SPAWNER_TEST_DEBUG") else "INFO"
    app.update_config(c)


def main() -> None:
    settings = json.loads(Path(os.environ["SPAWNER_TEST"]).read_text())
    LeerlabSpawner.facility = facility(settings)
    if "patch" in settings:
        # A positive control or a fault that a test writes itself.
        exec(compile(settings["patch"], "patch", "exec"), {"LeerlabSpawner": LeerlabSpawner})
    configure(SpawnerHub.instance(), settings)
    SpawnerHub.launch_instance([])


if __name__ == "__main__":
    main()
