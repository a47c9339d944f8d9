"""Attempts to tell the hub a port, or anything else, that it should not believe; each with its positive control."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = [pytest.mark.integration, pytest.mark.attack]

LENIENT = (
    "import json, spawners.report as r; r.BODY_LIMIT = 10**6; "
    "r.read_port = lambda body: int(float(json.loads(body)['port']))"
)
ANY_SECRET = "from spawners.starts import Start; Start.is_secret = lambda self, secret: True"
NEVER_BURNT = (
    "from spawners.report import Expected; Expected.port = property(lambda self: None, lambda self, value: None)"
)
STOCK = (
    "import batchspawner.api as a; from jupyterhub import apihandlers; "
    "apihandlers.default_handlers.append((r'/api/batchspawner', a.BatchSpawnerAPIHandler))"
)


def secret_of(start: str) -> str:
    """The secret of a start, which only the environment of its wrapper holds, outside the wall."""
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = environ.read_bytes().split(b"\0")
        except OSError:
            continue
        for variable in variables:
            if variable.startswith(b"LEERLAB_JOB=") and start.encode() in variable:
                secret: str = json.loads(variable.partition(b"=")[2])["secret"]
                return secret
    return ""


def waiting_start(hub: Any, name: str = "sanne") -> tuple[str, str]:
    """Id and secret of a start whose job runs and does not report by itself."""
    hub.begin(name, "mute")
    job = hub.until(lambda: hub.start_state(name).get("start", {}).get("job"), 30, "submitted")
    hub.until(lambda: (job, "R") in [(number, state) for number, state, _ in hub.cluster.jobs()], 30, "running")
    start = hub.start_state(name)["start"]["id"]
    secret: str = hub.until(lambda: secret_of(start), 30, "the wrapper runs")
    return start, secret


def report(hub: Any, start: str, secret: str, body: bytes, **headers: str) -> int:
    return httpx.post(
        f"{hub.inner}/hub/api/leerlab/starts/{start}", content=body, timeout=30,
        headers={"Authorization": f"start {secret}", **headers},
    ).status_code  # fmt: skip


@pytest.fixture
def listening() -> Any:
    """A port on which somebody answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_only_the_starts_own_secret_counts(hub: Any, listening: int) -> None:
    body = b'{"port": %d}' % listening
    start, secret = waiting_start(hub)
    other, _ = waiting_start(hub, "ander")
    for wrong in ("x", secret[:-1], secret + "x", hub.start_state("sanne")["start"]["secret_hash"]):
        assert report(hub, start, wrong, body) == 403
    assert report(hub, other, secret, body) == 403
    assert report(hub, "0" * 16, secret, body) == 404
    for scheme in ("token", "bearer", "Start", "x"):
        assert report(hub, start, secret, body, Authorization=f"{scheme} {secret}") == 403
    # A hub's administrator is nobody here, and cookies mean nothing.
    assert report(hub, start, secret, body, Authorization=f"token {hub.settings['token']}") == 403
    assert hub.start_state("sanne")["start"]["port"] is None
    # Control: the same body with the secret itself.
    assert report(hub, start, secret, body) == 204


def test_control_without_the_comparison_a_wrong_secret_is_believed(
    make_hub: Callable[..., Any], listening: int
) -> None:
    hub = make_hub(patch=ANY_SECRET)
    start, _ = waiting_start(hub)
    assert report(hub, start, "x", b'{"port": %d}' % listening) == 204
    assert hub.start_state("sanne")["start"]["port"] == listening


def test_a_secret_works_once(hub: Any, listening: int) -> None:
    start, secret = waiting_start(hub)
    assert report(hub, start, secret, b'{"port": %d}' % listening) == 204
    assert report(hub, start, secret, b'{"port": 40000}') == 409
    assert hub.start_state("sanne")["start"]["port"] == listening
    # A job that did not hear the answer asks again.
    assert report(hub, start, secret, b'{"port": %d}' % listening) == 204


def test_control_without_burning_the_second_report_wins(make_hub: Callable[..., Any], listening: int) -> None:
    hub = make_hub(patch=NEVER_BURNT)
    start, secret = waiting_start(hub)
    assert report(hub, start, secret, b'{"port": %d}' % listening) == 204
    assert report(hub, start, secret, b'{"port": 40000}') == 204
    assert hub.start_state("sanne")["start"]["port"] == 40000


BODIES = [
    b'{"port": true}', b'{"port": 40000.0}', b'{"port": "40000"}', b'{"port": 40000, "ip": "10.0.0.1"}',
    b'{"port": 80}',
    b'{"port": 40000, "cmd": ["sh"]}', b'{"port": 40000}' + b" " * 100_000,
]  # fmt: skip


def test_anything_but_one_whole_port_is_refused(hub: Any) -> None:
    start, secret = waiting_start(hub)
    for body in BODIES:
        assert report(hub, start, secret, body) == 400, body[:60]
    for own in hub.settings["reserved"]:
        assert report(hub, start, secret, b'{"port": %d}' % own) == 400
    assert hub.start_state("sanne")["start"]["port"] is None


def test_control_without_the_strict_reading_each_of_these_is_taken(make_hub: Callable[..., Any]) -> None:
    hub = make_hub(patch=f"{LENIENT}\n{NEVER_BURNT}", reserved=[])
    start, secret = waiting_start(hub)
    for body in BODIES:
        assert report(hub, start, secret, body) == 204, body[:60]
    assert report(hub, start, secret, b'{"port": %d}' % hub.settings["hub_port"]) == 204


def test_no_attribute_of_a_spawner_can_be_set(hub: Any) -> None:
    assert set_attribute(hub) == 404
    assert hub.server("sanne")["state"]["job_id"].isdecimal()


def test_control_the_stock_handler_sets_any_attribute(make_hub: Callable[..., Any]) -> None:
    hub = make_hub(patch=STOCK)
    assert set_attribute(hub) in (200, 201)
    assert hub.server("sanne")["state"]["job_id"] == "chosen by the server"


def set_attribute(hub: Any) -> int:
    """What a server's own token gets for naming an attribute at BatchSpawner's address."""
    hub.begin("sanne", "tiny")
    hub.ready("sanne")
    token = hub.api("POST", "/users/sanne/tokens", {}).json()["token"]
    given = {"Authorization": f"token {token}"}
    seen = httpx.get(f"{hub.public}/user/sanne/x", headers=given, timeout=40).json()["environment"]
    answer = hub.api("POST", "/batchspawner", {"job_id": "chosen by the server"}, token=seen["JUPYTERHUB_API_TOKEN"])
    status: int = answer.status_code
    return status
