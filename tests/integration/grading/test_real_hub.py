"""The service against a real JupyterHub: what a server's own token says, and what a token given away does not."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from grading_site import wait_until

from base.ports import free_ports
from grading.errors import NotAllowed, NotIdentified
from grading.identity import Hub, hub_client

pytestmark = pytest.mark.integration

CONFIG = """
import json, os
from pathlib import Path
from hub_config.people import HANDLERS
from jupyterhub.proxy import Proxy

class NoProxy(Proxy):
    "Routes nothing: these tests ask the hub itself."
    should_start = False
    async def add_route(self, routespec, target, data): pass
    async def delete_route(self, routespec): pass
    async def get_all_routes(self): return {"/": {"routespec": "/", "target": "http://hub", "data": {"hub": True}}}

c = get_config()
c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{os.environ['HUB_PORT']}"
c.JupyterHub.db_url = "sqlite://"
c.JupyterHub.extra_handlers = HANDLERS
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.load_groups = {"nbgrader-alpha": {"users": ["anna"]}, "formgrade-beta": {"users": ["anna"]}}
c.JupyterHub.services = [
    {"name": "grading", "api_token": os.environ["GRADING_TOKEN"]},
    {"name": "starter", "api_token": os.environ["STARTER_TOKEN"]},
]
c.JupyterHub.load_roles = [
    {"name": "grading", "scopes": ["read:users:name", "read:users:groups", "read:groups"], "services": ["grading"]},
    {"name": "starter", "scopes": ["admin:users", "admin:servers", "tokens"], "services": ["starter"]},
]
c.JupyterHub.spawner_class = "simple"
c.Spawner.cmd = ["/bin/sh", "-c", 'echo "$JUPYTERHUB_API_TOKEN" > "$0"; exec sleep 60', os.environ["TOKEN_FILE"]]
c.Spawner.http_timeout = 30
"""


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


@pytest.fixture
def hub(folder: Path, port: int) -> Iterator[httpx.Client]:
    (folder / "config.py").write_text(CONFIG)
    environment = {
        **os.environ, "HUB_PORT": str(port), "GRADING_TOKEN": "g" * 32, "STARTER_TOKEN": "s" * 32,
        "TOKEN_FILE": str(folder / "token"), "HOME": str(folder),
    }  # fmt: skip
    with (folder / "hub.log").open("wb") as log:
        command = [sys.executable, "-m", "jupyterhub", "-f", str(folder / "config.py")]
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}/hub/api/", headers={"Authorization": f"token {'s' * 32}"}, timeout=30
        ) as client:

            def up() -> bool:
                assert process.poll() is None, (folder / "hub.log").read_text()
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", port)) == 0

            wait_until(up, 80)
            yield client
    finally:
        process.terminate()
        process.wait(20)


# The hub is asked to start a server and to make a token; nothing else runs in this loop meanwhile.
# ruff: noqa: ASYNC212
async def test_a_server_s_own_token_names_its_owner_and_a_narrow_token_does_not_act(
    hub: httpx.Client, folder: Path, port: int
) -> None:
    assert hub.post("users/anna/server").status_code in {201, 202}
    token = wait_until(lambda: (folder / "token").exists() and (folder / "token").read_text().strip())
    asks = Hub(hub_client(f"http://127.0.0.1:{port}/hub/api"), "g" * 32, frozenset({"alpha", "beta"}))
    try:
        caller = await asks.caller(f"token {token}")
        assert (caller.name, caller.studies, caller.teaches) == ("anna", {"alpha"}, {"beta"})
        assert caller.account == ""
        assert await asks.students("alpha") == {"anna": "anna"} and await asks.students("gamma") == {}
        assert [await asks.owns(*of) for of in (("anna", "beta"), ("anna", "alpha"), ("bram", "beta"))] == [
            True,
            False,
            False,
        ]
        narrow = hub.post("users/anna/tokens", content=json.dumps({"scopes": ["access:servers!user=anna"]})).json()
        with pytest.raises(NotAllowed):
            await asks.caller(f"token {narrow['token']}")
        # By such a token a course's server knows its visitor's groups, and from them the role.
        about = hub.get("user", headers={"Authorization": f"token {narrow['token']}"}).json()
        assert sorted(about["groups"]) == ["formgrade-beta", "nbgrader-alpha"]
        with pytest.raises(NotIdentified):
            await asks.caller("token niet-van-hier")
    finally:
        await asks.close()
