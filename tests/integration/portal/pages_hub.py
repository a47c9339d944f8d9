"""The hub of the tests of its pages: the real one with a spawner that waits at a file, on the ports it is given."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from jupyterhub.spawner import SimpleLocalProcessSpawner
from portal_site import CODE, LIMITS
from traitlets.config import Config

from base.messages import Message
from base.paths import State
from grading.plans import LAB, Role, lab_environment
from hub_config import named_servers
from hub_config.login.demo import DemoAuthenticator
from hub_config.login.gate import GuardedHub
from hub_config.login.hosts import Hosts
from hub_config.login.people import DemoLogin, DemoPerson
from hub_config.roles import person_roles, service_roles
from portal import request
from portal.configuration import CALLBACK, CLIENT
from portal.hub_pages import template_vars
from portal.login import SCOPES
from portal.profiles import Kind, ProfileChoice, profile_form
from spawners.failures import StartFailed

SETTINGS = json.loads(os.environ["PAGES_SETTINGS"])
ROOT = Path(SETTINGS["root"])
STATE = State(ROOT / "state")


class WaitingSpawner(SimpleLocalProcessSpawner):
    """Starts when a file `go` appears in the test's folder, fails when `fail` does, tells what `event-*.json` say."""

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted(ROOT.glob("event-*.json"))]

    @property
    def last_message(self) -> Message | None:
        """What the last event said, for a page without scripts."""
        events = self.events()
        return Message(events[-1]["code"], events[-1]["params"]) if events else None

    async def start(self) -> Any:
        while not (ROOT / "go").exists():
            if (ROOT / "fail").exists():
                failure = json.loads((ROOT / "fail").read_text())
                raise StartFailed(Message(failure["code"], failure["params"]), failure["sentence"])
            await asyncio.sleep(0.05)
        return await super().start()

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        seen = 0
        while True:
            events = self.events()
            for event in events[seen:]:
                yield event
            seen = len(events)
            await asyncio.sleep(0.1)

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        return {**super().user_env(env), "HOME": str(ROOT)}


def profiles(spawner: Any) -> str:
    if not (ROOT / "choices").exists():
        return ""
    dutch = request.current().language == "nl"
    free = json.loads((ROOT / "choices").read_text() or "{}")
    return profile_form(
        [
            ProfileChoice("cpu-small", "Gewoon" if dutch else "Ordinary", 1, "2GB", 4 * 3600.0, **free),
            ProfileChoice(
                "gpu-part", "Met een stuk GPU" if dutch else "With a part of a GPU", 2, "4GB", 4 * 3600.0,
                kind=Kind.SHARED, share="1/8", **free,
            ),
        ]
    )  # fmt: skip


async def record(actor: str, action: str, subject: str, details: Mapping[str, str]) -> None:
    with (ROOT / "record.jsonl").open("a") as file:
        file.write(json.dumps([actor, action, subject, dict(details)]) + "\n")


def settings() -> Config:
    c = Config()
    domain, port = SETTINGS["domain"], SETTINGS["port"]
    people = tuple(DemoPerson(name, title, tuple(groups)) for name, title, groups in SETTINGS["people"])
    hosts = Hosts.of(domain, port, [person.name for person in people], SETTINGS["bind"])
    STATE.make()
    c.JupyterHub.authenticator_class = DemoAuthenticator
    c.DemoAuthenticator.demo = DemoLogin(people, hosts, STATE, record)
    c.GuardedHub.hosts = hosts
    c.JupyterHub.template_vars = template_vars({"nl": "Leerlab demo", "en": "Leerlab demo"}, demo=True)
    c.JupyterHub.bind_url = f"http://127.0.0.1:{port}"
    c.JupyterHub.subdomain_host = f"http://{domain}:{port}"
    c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{SETTINGS['hub_port']}"
    c.ConfigurableHTTPProxy.should_start = False
    c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{SETTINGS['proxy_api']}"
    c.ConfigurableHTTPProxy.auth_token = SETTINGS["proxy_token"]
    c.JupyterHub.db_url = f"sqlite:///{ROOT}/hub.sqlite"
    c.JupyterHub.cookie_secret_file = str(ROOT / "cookie")
    c.JupyterHub.spawner_class = WaitingSpawner
    c.JupyterHub.allow_named_servers = True
    c.JupyterHub.named_server_limit_per_user = named_servers.limit(LIMITS)
    c.SimpleLocalProcessSpawner.home_dir_template = f"{ROOT}/homes/{{username}}"
    c.JupyterHub.default_url = "/hub/home"
    c.JupyterHub.redirect_to_server = False
    c.Spawner.options_form = profiles
    c.Spawner.notebook_dir = str(ROOT)
    c.Spawner.consecutive_failure_limit = 0
    c.Spawner.env_keep = ["PATH"]
    # The lab that people have, without its wall: as it comes, it loads for half a minute on a busy machine.
    c.Spawner.environment = {
        name: value.replace(str(LAB), str(CODE / "images/notebook"))
        for name, value in lab_environment(Role.PLAIN).items()
        if name != "PATH"
    }
    c.Spawner.cmd = [str(Path(os.environ["LEERLAB_NOTEBOOK_ENV"]) / "bin/jupyterhub-singleuser")]
    c.JupyterHub.tornado_settings = {
        "slow_spawn_timeout": 0,
        "leerlab_portal": f"http://portal.{domain}:{port}",
        "leerlab_domain": domain,
        "headers": {
            "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; object-src 'none'",
        },
    }
    c.JupyterHub.services = [
        {
            "name": "look",
            "oauth_client_id": "service-look",
            "api_token": SETTINGS["proxy_token"] * 2,
            "oauth_redirect_uri": f"http://look--service.{domain}:{port}/services/look/oauth_callback",
        },
        {
            "name": "portal",
            "oauth_client_id": CLIENT,
            "api_token": SETTINGS["portal_token"],
            "oauth_redirect_uri": f"http://portal.{domain}:{port}{CALLBACK}",
            "oauth_no_confirm": True,
            "oauth_client_allowed_scopes": list(SCOPES),
        },
        {"name": "grading", "api_token": SETTINGS["portal_token"][::-1]},
        {"name": "metrics", "api_token": SETTINGS["portal_token"][1:] + "0"},
    ]
    c.Proxy.extra_routes = {f"portal.{domain}/": f"http://127.0.0.1:{SETTINGS['portal_port']}"}
    c.JupyterHub.load_roles = [
        *person_roles(),
        *service_roles(),
        {"name": "may-look", "scopes": ["access:services!service=look"], "users": ["sanne"]},
    ]
    if SETTINGS.get("admin_ui"):
        c.JupyterHub.load_roles += [
            {"name": "look", "scopes": ["admin-ui", "list:users", "read:servers"], "users": [SETTINGS["admin_ui"]]}
        ]
    return c


if __name__ == "__main__":
    GuardedHub.instance(config=settings())
    GuardedHub.launch_instance([])
