"""From a request to an answer through the proxy: real hub, real Slurm, real wall."""

from __future__ import annotations

import json
import sqlite3
import time
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

pytestmark = pytest.mark.integration


def token_of(hub: Any, name: str) -> str:
    token: str = hub.api("POST", f"/users/{name}/tokens", {}).json()["token"]
    return token


def inside(hub: Any, name: str) -> dict[str, Any]:
    """What the tiny server says, asked through the proxy."""
    token = {"Authorization": f"token {token_of(hub, name)}"}
    answer = httpx.get(f"{hub.public}/user/{name}/any", headers=token, timeout=40)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def test_a_server_with_a_name_is_a_job_of_its_own_beside_the_first_with_the_same_home(hub: Any) -> None:
    hub.user("sanne")
    for server in ("", "gpu"):
        assert hub.begin("sanne", "tiny", server=server).status_code in (201, 202)
    jobs = [
        hub.ready("sanne", server=server) and hub.start_state("sanne", server)["start"]["job"] for server in ("", "gpu")
    ]
    assert len(set(jobs)) == 2
    token = {"Authorization": f"token {token_of(hub, 'sanne')}"}
    first, second = (
        httpx.get(f"{hub.public}/user/sanne/{path}any", headers=token, timeout=40).json() for path in ("", "gpu/")
    )
    assert second["path"] == "/user/sanne/gpu/any"
    assert first["environment"]["HOME"] == second["environment"]["HOME"]
    assert first["environment"]["JUPYTERHUB_API_TOKEN"] != second["environment"]["JUPYTERHUB_API_TOKEN"]
    hub.stop("sanne", server="gpu")
    assert httpx.get(f"{hub.public}/user/sanne/any", headers=token, timeout=40).status_code == 200


@pytest.mark.attack
def test_an_account_without_named_servers_gets_none_whatever_the_hub_would_allow(hub: Any) -> None:
    hub.user("none")
    assert hub.begin("none", "tiny", server="gpu").status_code == 400
    assert hub.begin("none", "tiny").status_code in (201, 202), "the control"
    hub.ready("none")


async def run_cell(address: str, token: str, code: str) -> str:
    """The text that one cell prints, in a new kernel of a lab."""
    headers = {"Authorization": f"token {token}"}
    async with httpx.AsyncClient(headers=headers, timeout=30) as client:
        kernel = (await client.post(f"{address}/api/kernels", json={"name": "python3"})).json()["id"]
    socket = await websocket_connect(
        HTTPRequest(f"{address.replace('http', 'ws', 1)}/api/kernels/{kernel}/channels", headers=headers)
    )
    header = {
        "msg_id": uuid4().hex,
        "msg_type": "execute_request",
        "username": "",
        "session": uuid4().hex,
        "version": "5.3",
    }
    content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    message = {
        "header": header,
        "parent_header": {},
        "metadata": {},
        "content": content,
        "channel": "shell",
        "buffers": [],
    }
    await socket.write_message(json.dumps(message))
    printed = ""
    while True:
        answer = json.loads(await socket.read_message())
        if answer["parent_header"].get("msg_id") != header["msg_id"]:
            continue
        if answer["msg_type"] == "stream":
            printed += answer["content"]["text"]
        # The reply has a channel of its own and may overtake what was printed; this comes after it on the same one.
        if answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle":
            socket.close()
            return printed


async def test_a_lab_starts_and_a_kernel_runs_a_cell(hub: Any) -> None:
    assert hub.begin("sanne", "lab").status_code in (201, 202)
    hub.ready("sanne", seconds=100)
    printed = await run_cell(
        f"{hub.public}/user/sanne",
        token_of(hub, "sanne"),
        "import os; print(6 * 7, os.getcwd(), os.path.exists('/run/hub.sock'))",
    )
    assert printed == "42 /home/nb False\n"


def test_a_server_knows_its_own_person_and_addresses_inside_the_wall(hub: Any) -> None:
    hub.begin("sanne")
    hub.ready("sanne")
    environment = inside(hub, "sanne")["environment"]
    assert environment["JUPYTERHUB_USER"] == "sanne"
    assert environment["JUPYTERHUB_API_URL"] == "http://127.0.0.1:8081/hub/api"
    assert environment["JUPYTERHUB_ACTIVITY_URL"] == "http://127.0.0.1:8081/hub/api/users/sanne/activity"
    assert environment["JUPYTERHUB_SERVICE_URL"] == "http://127.0.0.1:8888/user/sanne/"
    assert not [name for name in environment if name.startswith(("LEERLAB", "SLURM"))]


def test_stopping_ends_the_job_and_the_servers_token(hub: Any) -> None:
    hub.begin("sanne")
    hub.ready("sanne")
    token = inside(hub, "sanne")["environment"]["JUPYTERHUB_API_TOKEN"]
    assert hub.api("GET", "/user", token=token).status_code == 200
    assert hub.stop("sanne").status_code == 204
    assert hub.cluster.jobs("PD,R") == []
    assert hub.api("GET", "/user", token=token).status_code == 403
    assert "start" not in hub.start_state("sanne")


def test_after_a_restart_of_the_hub_stopping_still_ends_the_token(hub: Any) -> None:
    hub.begin("sanne")
    hub.ready("sanne")
    token = inside(hub, "sanne")["environment"]["JUPYTERHUB_API_TOKEN"]
    hub.restart()
    hub.ready("sanne")
    assert hub.api("GET", "/user", token=token).status_code == 200
    assert hub.stop("sanne").status_code == 204
    assert hub.api("GET", "/user", token=token).status_code == 403


def test_a_job_that_ends_early_fails_the_start_at_once_with_its_last_lines(hub: Any) -> None:
    hub.begin("sanne", "broken")
    events = hub.events("sanne", lambda seen: seen[-1].get("failed", False))
    failure = next(event for event in events if event.get("code") == "start.failed.exit")
    assert failure["params"]["exit_code"] == 3
    assert failure["params"]["log"] == "loading the model\n<b>no such file: model.bin</b>"
    assert events[-1]["failed"]
    assert not [event for event in events if "html_message" in event]
    # The next try is not held up by the failed one.
    assert hub.begin("sanne", "tiny").status_code in (201, 202)
    hub.ready("sanne")


def test_a_server_that_never_answers_is_given_up_and_its_job_ends(make_hub: Any) -> None:
    hub = make_hub(ready_seconds=2.0)
    hub.begin("sanne", "mute")
    events = hub.events("sanne", lambda seen: seen[-1].get("failed", False))
    assert [event for event in events if event.get("code") == "start.failed.slow"]
    assert hub.cluster.jobs("PD,R") == []


def test_a_waiting_person_sees_why_and_can_cancel_and_waiting_costs_no_start_time(make_hub: Any) -> None:
    hub = make_hub(ready_seconds=15.0)
    hub.begin("eerst", "queue")
    hub.ready("eerst")
    hub.begin("dan", "queue")
    events = hub.events("dan", lambda seen: seen[-1].get("code", "").startswith("start.waiting."))
    assert events[-1]["code"] in ("start.waiting.resources", "start.waiting.priority", "start.waiting.scheduling")
    assert events[-1]["params"]["position"] == 1
    time.sleep(16)  # longer than a job may take to answer
    assert hub.server("dan")["pending"] == "spawn"
    assert hub.stop("dan").status_code in (202, 204)
    assert len(hub.cluster.jobs("PD,R")) == 1
    hub.begin("dan", "queue")
    hub.stop("eerst")
    hub.ready("dan")


def test_the_database_holds_no_secret_of_a_start(hub: Any) -> None:
    hub.begin("sanne", "mute")
    state = hub.until(lambda: (seen := hub.start_state("sanne")).get("start") and seen, 30, "stored")
    assert set(state["start"]) == {
        "id", "secret_hash", "token", "profile", "requested", "attempted", "submitted", "job", "host", "port",
        "time", "step", "steps", "lengthened", "uid", "tls",
    }  # fmt: skip
    token = sqlite3.connect(f"file:{hub.folder}/hub.sqlite?mode=ro", uri=True)
    try:
        known = token.execute("select count(*) from api_tokens where id = ?", (state["start"]["token"],)).fetchone()[0]
    finally:
        token.close()
    assert known == 1
