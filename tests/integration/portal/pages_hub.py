"""The hub of the tests of its pages: the real one with a spawner that waits at a file, on the ports it is given."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from jupyterhub.spawner import SimpleLocalProcessSpawner
from traitlets.config import Config

from base.messages import Message
from base.paths import State
from hub_config.login.demo import DemoAuthenticator
from hub_config.login.gate import GuardedHub
from hub_config.login.hosts import Hosts
from hub_config.login.people import DemoLogin, DemoPerson
from portal import request
from portal.cards import AssignmentCard, CourseCard, Role, ServerState
from portal.hub_pages import template_vars
from portal.profiles import ProfileChoice, profile_form
from spawners.failures import StartFailed

SETTINGS = json.loads(os.environ["PAGES_SETTINGS"])
ROOT = Path(SETTINGS["root"])
STATE = State(ROOT / "state")
ROLES = ("nbgrader-", "formgrade-")


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
    return profile_form(
        [
            ProfileChoice(
                "cpu-small", "Gewoon" if dutch else "Ordinary", 1, "2 GB", "", "4 uur" if dutch else "4 hours"
            ),
            ProfileChoice(
                "gpu-part",
                "Met een stuk GPU" if dutch else "With a part of a GPU",
                2,
                "4 GB",
                "1/8 GPU",
                "4 uur" if dutch else "4 hours",
            ),
        ]
    )


def state_of(user: Any) -> ServerState:
    spawner = user.spawners[""]
    return {"spawn": ServerState.STARTING, "stop": ServerState.STOPPING}.get(
        str(spawner.pending), ServerState.RUNNING if spawner.ready else ServerState.STOPPED
    )


COURSES = {
    "ai-in-je-vak": (
        {"nl": "AI in je vak", "en": "AI in your trade"},
        {
            "nl": "Ontdek wat AI in jouw vak doet: in de zorg, op het land, in de werkplaats. Begin met opdracht 1.",
            "en": "Find out what AI does in your trade: in care, on the land, in the workshop. Begin with number 1.",
        },
        (
            ("herken-ai", {"nl": "Herken AI", "en": "Spot the AI"}),
            ("data-is-mensenwerk", {"nl": "Data is mensenwerk", "en": "Data is made by people"}),
        ),
    ),
    "voorspel-onderhoud": (
        {"nl": "Voorspel onderhoud", "en": "Predict maintenance"},
        {
            "nl": "Met metingen van een pomp voorspel je wanneer hij stuk gaat, voordat het gebeurt.",
            "en": "From the readings of a pump you predict when it will fail, before it does.",
        },
        (),
    ),
}


def courses(user: Any) -> list[CourseCard]:
    language = request.current().language
    cards = []
    for group in sorted(group.name for group in user.groups):
        for prefix in ROLES:
            course = group.removeprefix(prefix)
            if not group.startswith(prefix) or course not in COURSES:
                continue
            title, summary, assignments = COURSES[course]
            teacher = prefix == "formgrade-"
            cards.append(
                CourseCard(
                    id=course,
                    title=title[language],
                    role=Role.TEACHER if teacher else Role.STUDENT,
                    summary=summary[language],
                    assignments=tuple(AssignmentCard(name, texts[language]) for name, texts in assignments),
                    open_url=f"/hub/spawn/{user.name}?next=/user/{user.name}/lab",
                    formgrader_url=f"/hub/spawn/{user.name}?next=/user/{user.name}/tree" if teacher else "",
                    server_state=state_of(user),
                )
            )
    return cards


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
    c.JupyterHub.template_vars = template_vars({"nl": "Leerlab demo", "en": "Leerlab demo"}, courses, demo=True)
    c.JupyterHub.bind_url = f"http://127.0.0.1:{port}"
    c.JupyterHub.subdomain_host = f"http://{domain}:{port}"
    c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{SETTINGS['hub_port']}"
    c.ConfigurableHTTPProxy.should_start = False
    c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{SETTINGS['proxy_api']}"
    c.ConfigurableHTTPProxy.auth_token = SETTINGS["proxy_token"]
    c.JupyterHub.db_url = f"sqlite:///{ROOT}/hub.sqlite"
    c.JupyterHub.cookie_secret_file = str(ROOT / "cookie")
    c.JupyterHub.spawner_class = WaitingSpawner
    c.JupyterHub.default_url = "/hub/home"
    c.JupyterHub.redirect_to_server = False
    c.Spawner.options_form = profiles
    c.Spawner.notebook_dir = str(ROOT)
    c.Spawner.consecutive_failure_limit = 0
    c.Spawner.env_keep = ["PATH"]
    c.Spawner.cmd = [str(Path(os.environ["LEERLAB_NOTEBOOK_ENV"]) / "bin/jupyterhub-singleuser")]
    c.JupyterHub.tornado_settings = {
        "slow_spawn_timeout": 0,
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
        }
    ]
    c.JupyterHub.load_roles = [{"name": "may-look", "scopes": ["access:services!service=look"], "users": ["sanne"]}]
    if SETTINGS.get("admin_ui"):
        c.JupyterHub.load_roles += [
            {"name": "look", "scopes": ["admin-ui", "list:users", "read:servers"], "users": [SETTINGS["admin_ui"]]}
        ]
    return c


if __name__ == "__main__":
    GuardedHub.instance(config=settings())
    GuardedHub.launch_instance([])
