"""Small models as Slurm jobs: started by the first question, behind a wall, ended when nobody asks."""

from __future__ import annotations

import base64
import json
import struct

import httpx
import pytest
from gateway_site import CHAT, SEARCH, Gate, asked_again, events, question, wait_for
from grading_slurm import RunningSlurm

pytestmark = pytest.mark.integration


def test_the_first_question_starts_the_model_and_is_told_so_at_once(gate: Gate, slurm: RunningSlurm) -> None:
    token = gate.hub.server("anna", "nbgrader-alpha")
    assert not gate.jobs(slurm)
    first = gate.ask(token, CHAT)
    assert first.status_code == 503 and first.json()["error"]["code"] == "starting"
    assert first.elapsed.total_seconds() < 10 and first.headers["Retry-After"] == "2"
    assert not gate.answers("anna"), "nothing is charged before there is an answer"
    body = question(CHAT, "What is a median? One sentence.", stream=True, stream_options={"include_usage": True})

    def ask() -> httpx.Response:
        with gate.client(token) as client:
            return client.post("/v1/chat/completions", json=body)

    answer = asked_again(ask)
    assert answer.status_code == 200, answer.text
    said = events(iter(answer.text.splitlines()))
    text = "".join(one["choices"][0]["delta"].get("content", "") for one in said[:-2])
    assert "median" in text.lower() and said[-1] == "[DONE]"
    usage = said[-2]["usage"]
    energy = usage["leerlab"]
    assert 10 < usage["prompt_tokens"] < 100 and usage["completion_tokens"] <= 24
    # So many tokens take a fraction of a second to many seconds of one core at 6 W.
    assert 0 < energy["least"] < energy["joules"] < energy["most"] < 6 * 2 * 60 and not energy["measured"]
    assert len(gate.jobs(slurm)) == 1
    row = gate.answers("anna")[-1]
    assert row["state"] == "done" and row["tokens_out"] == usage["completion_tokens"]
    assert row["joules"] == pytest.approx(energy["joules"], abs=0.01)


def test_texts_of_the_same_meaning_lie_close_together(gate: Gate) -> None:
    token = gate.hub.server("bram", "nbgrader-alpha")
    texts = ["query: waar laat ik mijn fiets?", "Fietsen staan in de stalling.", "De kantine opent om twaalf uur."]

    def ask() -> httpx.Response:
        with gate.client(token) as client:
            return client.post("/v1/embeddings", json={"model": SEARCH, "input": texts})

    answer = asked_again(ask)
    assert answer.status_code == 200, answer.text
    query, near, far = (one["embedding"] for one in answer.json()["data"])
    assert len(query) == 384
    assert sum(map(lambda a, b: a * b, query, near)) > sum(map(lambda a, b: a * b, query, far))
    assert answer.json()["usage"]["prompt_tokens"] > 20 and float(answer.headers["Leerlab-Joules"]) > 0
    with gate.client(token) as client:
        packed = client.post(
            "/v1/embeddings", json={"model": SEARCH, "input": texts[1], "encoding_format": "base64"}
        ).json()["data"][0]["embedding"]
        wrong = client.post("/v1/embeddings", json={"model": CHAT, "input": "x"})
    assert struct.unpack("<384f", base64.b64decode(packed))[:5] == pytest.approx(near[:5], abs=1e-5)
    assert wrong.status_code == 400


def test_a_question_that_is_too_long_is_refused_and_costs_nothing(gate: Gate) -> None:
    token = gate.hub.server("carla", "nbgrader-alpha")
    answer = asked_again(lambda: gate.ask(token, CHAT, "ja nee " * 2000))
    assert answer.status_code == 400 and answer.json()["error"]["message"].startswith("De vraag is langer dan")
    row = wait_for("the row", lambda: [one for one in gate.answers("carla") if one["state"] != "open"])[-1]
    assert row["tokens_in"] + row["tokens_out"] == 0


def test_the_job_s_files_hold_no_key_that_a_job_script_or_argument_shows(gate: Gate, slurm: RunningSlurm) -> None:
    token = gate.hub.server("dirk", "nbgrader-alpha")
    assert gate.patiently(token, CHAT).status_code == 200
    known = json.loads((gate.state.secrets / f"assistant-{CHAT}.json").read_text())
    script = slurm.ask("scontrol", "write", "batch_script", str(known["job"]), "-")
    assert "job.py" in script and known["key"] not in script
    assert known["key"] not in slurm.ask("scontrol", "show", "job", str(known["job"]))
    assert (gate.state.secrets / f"assistant-{CHAT}.json").stat().st_mode & 0o077 == 0
