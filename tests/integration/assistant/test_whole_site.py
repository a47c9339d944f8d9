"""The assistant on a whole site, with real hub, labs and model: on for who may, shut by every way for others."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "sandboxes"))

from sandbox_people import CompanySite, Person, account_of, logged_in

from assistant.configuration import SOCKET
from base.paths import Installation, State
from base.ports import free_ports
from hub_config.audit import existing_ledger
from hub_config.run import start, stop
from hub_config.run.doctor import see_assistant
from hub_config.run.supervisor_client import Supervisor
from hub_config.site import load
from ledger.answers import AnswerLedger

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
DEMO = Path(__file__).resolve().parents[3] / "hub_config/demo.yaml"
MODEL = "smollm2-135m"
ASK = """
import json, os, time, httpx
told = {"offer": json.loads(os.environ["LEERLAB_ASSISTANT"]), "token": os.environ["JUPYTERHUB_API_TOKEN"]}
body = {"model": "smollm2-135m", "messages": [{"role": "user", "content": "What is a median?"}], "max_tokens": 24}
headers = {"Authorization": "Bearer " + told["token"]}
try:
    for _ in range(100):
        answer = httpx.post("http://127.0.0.1:8083/v1/chat/completions", json=body, headers=headers, timeout=60)
        if answer.status_code != 503:
            break
        time.sleep(0.3)
    told |= {"status": answer.status_code, "said": answer.json()}
except httpx.ConnectError:
    told |= {"status": "refused"}
print(json.dumps(told))
"""
MAGIC = """
import json
from IPython.utils.capture import capture_output
with capture_output() as heard:
    get_ipython().run_cell_magic("ai", "", "What is a median?")
print(json.dumps({"out": heard.stdout, "err": heard.stderr, "rich": [one.data for one in heard.outputs]}))
"""


@pytest.fixture(scope="module")
def site() -> Iterator[CompanySite]:
    folder = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    description = yaml.safe_load(DEMO.read_text())
    description["hub"]["port"] = free_ports(1)[0]
    description["login"]["people"] += [
        {"name": "ina", "title": "Ina", "groups": ["companies", "nbgrader-ai-in-je-vak"]},
    ]
    description["assistant"]["sandboxes"] = {"models": [MODEL], "tokens_per_hour": 5000}
    file = folder / "site.yaml"
    file.write_text(yaml.safe_dump(description, allow_unicode=True))
    made, state, steps = load(file), State(folder / "s").checked(), list[str]()
    say: Callable[[str], None] = steps.append
    mask = os.umask(0o077)
    try:
        start.up(made, file, state, Installation.current(), say)
        yield CompanySite(made, state)
    finally:
        stop.down(made, state, say)
        os.umask(mask)
        shutil.rmtree(folder, ignore_errors=True)


def directly(site: CompanySite, token: str) -> httpx.Response:
    """A question at the gateway's own socket, where no wall is in the way."""
    way = httpx.HTTPTransport(uds=str(site.state.run / SOCKET))
    with httpx.Client(transport=way, base_url="http://x", headers={"Authorization": f"Bearer {token}"}) as client:
        return client.get("/v1/models")


def asked(person: Person, account: str) -> dict[str, Any]:
    told: dict[str, Any] = person.run(account, ASK)
    return told


@pytest.mark.attack
@pytest.mark.slow
def test_a_learner_asks_where_it_is_on_and_is_shut_out_where_it_is_off(site: CompanySite) -> None:
    """By a client of their own, by the magic, and at the gateway's own socket; who may is the control."""
    with logged_in(site, "noor", "sanne") as (noor, sanne):
        noor.start("noor")
        sanne.start("sanne")
        on, off = asked(noor, "noor"), asked(sanne, "sanne")
        assert on["offer"]["on"] and on["offer"]["models"] == [MODEL, "e5-small"] and on["status"] == 200, on
        assert on["said"]["usage"]["leerlab"]["joules"] > 0
        assert off["offer"] == {
            "on": False,
            "because": {"nl": off["offer"]["because"]["nl"], "en": off["offer"]["because"]["en"]},
        }
        assert off["status"] == "refused"
        assert directly(site, on["token"]).status_code == 200
        refused = directly(site, off["token"])
        assert refused.status_code == 403 and off["offer"]["because"]["nl"].removeprefix("de cursus ") in refused.text
        magic, silent = noor.run("noor", MAGIC), sanne.run("sanne", MAGIC)
        assert "median" in str(magic).lower() and MODEL in str(magic) and "ongeveer" in str(magic), magic
        assert silent["err"].startswith("De assistent staat uit, vanwege de cursus") and not silent["rich"]
        # A stopped server's token is dead at once, or as soon as the gateway asks the hub again.
        assert noor.hub("DELETE", "/users/noor/server").status_code in {202, 204}
        begin = time.monotonic()
        while directly(site, on["token"]).status_code == 200:
            assert time.monotonic() - begin < 20
            time.sleep(0.2)
        assert directly(site, on["token"]).status_code == 401
    with existing_ledger(site.site, site.state) as ledger:
        rows = AnswerLedger(ledger).all("noor")
    assert {row["place_id"] for row in rows} == {"machine-learning"} and rows[-1]["tokens_out"] > 0


@pytest.mark.attack
@pytest.mark.slow
def test_a_sandbox_gives_nothing_while_a_server_runs_for_which_it_is_off(site: CompanySite) -> None:
    """The control is the same lab before, and again after, that other server."""
    with logged_in(site, "ina") as (ina,):
        account = account_of(ina.ask_for_sandbox("Meting"), "ina")
        ina.start(account)
        before = asked(ina, account)
        assert before["status"] == 200 and before["offer"]["tokens_per_hour"] == 5000, before
        ina.start("ina")
        time.sleep(5.5)  # what the hub said is believed for five seconds
        during = asked(ina, account)
        assert during["status"] == 403 and during["said"]["error"]["code"] == "off"
        assert ina.hub("DELETE", "/users/ina/server").status_code in {202, 204}
        time.sleep(5.5)
        assert asked(ina, account)["status"] == 200


@pytest.mark.slow
def test_pages_say_where_it_is_on(site: CompanySite) -> None:
    with logged_in(site, "noor", "sanne") as (noor, sanne):
        on, off = noor.see("/courses/machine-learning").text, sanne.see("/courses/ai-in-je-vak").text
    assert "20.000 tokens per uur" in on and "Uit: je kunt hier niets" in off


@pytest.mark.slow
def test_the_doctor_finds_it_well_and_says_what_is_broken(site: CompanySite) -> None:
    assert site.site.assistant
    said = see_assistant(site.site, site.site.assistant, site.state, Installation.current())
    assert said == "the gateway answers, 2 local models are as their cards say"
    assert {one.name for one in Supervisor(site.state).processes()} >= {"assistant", "hub", "portal"}
