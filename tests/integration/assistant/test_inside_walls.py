"""What code in a lab reaches of the assistant: the gateway where a relay leads there, and a model's own port never."""

from __future__ import annotations

import json
import secrets
import subprocess

import httpx
import pytest
from gateway_site import CHAT, Gate, question

from base.paths import Installation
from confinement.run import start
from confinement.settings import ConfinementSettings
from confinement.wall import Relay, Wall
from grading.plans import NOTEBOOK_ENV, Role, lab_environment, notebook_binds, seccomp_of
from hub_config.assistant_in_labs import ASSISTANT_PORT

pytestmark = [pytest.mark.integration, pytest.mark.attack]

BY_HAND = """
import json, os, sys, time
import httpx
address, key, body = json.loads(sys.argv[1])
headers = {"Authorization": "Bearer " + (key or os.environ["JUPYTERHUB_API_TOKEN"])}
said = []
try:
    for _ in range(250):
        answer = httpx.post(address + "/chat/completions", json=body, headers=headers, timeout=60, trust_env=False)
        if answer.status_code != 503:
            break
        time.sleep(0.3)
    said = [answer.status_code, answer.json()["choices"][0]["message"]["content"] if answer.status_code == 200 else ""]
except httpx.ConnectError:
    said = ["refused", ""]
print(json.dumps(said))
"""


def in_a_lab(gate: Gate, token: str, address: str, key: str = "", *, relay: bool) -> list[object]:
    """Ask from where kernels run, with a client that nobody but the learner installed."""
    home = gate.state.homes / secrets.token_hex(4)
    home.mkdir()
    told = json.dumps([address, key, question(CHAT, "What is a median?")])
    wall = Wall(
        command=(f"{NOTEBOOK_ENV}/bin/python", "-c", BY_HAND, told),
        home=home,
        seccomp=seccomp_of(gate.state),
        binds=notebook_binds(Installation.current(), gate.state),
        relays=(Relay(ASSISTANT_PORT, f"unix:{gate.socket}"),) if relay else (),
        environment={**lab_environment(Role.STUDENT), "JUPYTERHUB_API_TOKEN": token},
        **ConfinementSettings().sizes(),
    )
    with start(wall) as walled:
        walled.wait(110)
        output = walled.output.decode(errors="replace")
    return list(json.loads(output.strip().splitlines()[-1]))


def test_a_client_installed_by_hand_gets_what_the_policy_gives(gate: Gate) -> None:
    """Off: there is no way, and where somebody made one the gateway refuses; the control is on."""
    here = f"http://127.0.0.1:{ASSISTANT_PORT}/v1"
    off, on = gate.hub.server("ot", "nbgrader-beta"), gate.hub.server("aan", "nbgrader-alpha")
    assert in_a_lab(gate, off, here, relay=False) == ["refused", ""]
    assert in_a_lab(gate, off, here, relay=True) == [403, ""]
    status, text = in_a_lab(gate, on, here, relay=True)
    assert status == 200 and text


def test_a_model_s_own_port_cannot_be_reached_from_a_lab_and_asks_for_its_key(gate: Gate) -> None:
    """The control is the same request, with the key, where there is no wall."""
    token = gate.hub.server("bob", "nbgrader-alpha")
    assert gate.patiently(token, CHAT).status_code == 200
    known = json.loads((gate.state.secrets / f"assistant-{CHAT}.json").read_text())
    address = f"http://127.0.0.1:{known['port']}/v1"
    assert in_a_lab(gate, token, address, known["key"], relay=True) == ["refused", ""]
    for key, status in (("wrong", 401), ("", 401), (known["key"], 200)):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        answer = httpx.post(
            address + "/chat/completions", json=question(CHAT, "x"), headers=headers, timeout=60, trust_env=False
        )
        assert answer.status_code == status


def test_a_job_s_report_is_believed_once_and_with_its_secret_only(gate: Gate) -> None:
    token = gate.hub.server("bob", "nbgrader-alpha")
    assert gate.patiently(token, CHAT).status_code == 200
    known = json.loads((gate.state.secrets / f"assistant-{CHAT}.json").read_text())
    way = httpx.HTTPTransport(uds=str(gate.state.run / "assistant-jobs.sock"))
    with httpx.Client(transport=way, base_url="http://x", timeout=60) as client:
        path, body = f"/starts/{known['id']}", b'{"port": 8899}'
        for secret in ("x", known["secret_hash"], known["key"]):
            assert client.post(path, content=body, headers={"Authorization": f"start {secret}"}).status_code == 403
    # The secret itself is nowhere but in the job.
    files = subprocess.run(
        ["grep", "-rlF", "-e", known["key"], str(gate.state.root)], capture_output=True, text=True, check=False
    ).stdout.splitlines()
    assert files == [str(gate.state.secrets / f"assistant-{CHAT}.json")]


def test_nothing_of_a_question_stays_with_a_small_model_either(gate: Gate) -> None:
    planted = "PLANTED-4712-vertrouwelijk"
    token = gate.hub.server("saar", "nbgrader-alpha")
    assert gate.patiently(token, CHAT, text=planted).status_code == 200
    assert gate.patiently(token, CHAT, text=f"{planted} ja nee " * 2000).status_code == 400
    files = [
        path for path in gate.state.root.rglob("*") if path.is_file() and not path.is_relative_to(gate.state.catalogue)
    ]
    assert any(path.name == "model.log" for path in files)
    assert not [path for path in files if planted.encode() in path.read_bytes()]
