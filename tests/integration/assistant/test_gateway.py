"""Questions and answers through the gateway, with a model behind an address."""

from __future__ import annotations

import time

import pytest
from gateway_site import BOX, FAR, Gate, events, question, wait_for

from assistant.identity import CACHE_SECONDS

pytestmark = pytest.mark.integration


def test_an_answer_comes_with_what_it_took_and_stands_in_the_ledger(far_gate: Gate) -> None:
    token = far_gate.hub.server("anna", "nbgrader-alpha")
    answer = far_gate.ask(token)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["choices"][0]["message"]["content"] == "w0 w1 w2 w3 w4 " and told["model"] == FAR
    assert told["usage"] == {
        "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
        "leerlab": {"joules": 7.5, "measured": False, "source": "facility"},
    }  # fmt: skip
    assert answer.headers["Leerlab-Joules"] == "7.500" and "secret-name" not in answer.text
    (row,) = wait_for("the row", lambda: [one for one in far_gate.answers("anna") if one["state"] == "done"])
    assert (row["place"], row["place_id"], row["model"]) == ("course", "alpha", FAR)
    assert (row["tokens_in"], row["tokens_out"], row["joules"], row["measured"]) == (10, 5, 7.5, False)


def test_a_streamed_answer_ends_with_what_it_took_and_done(far_gate: Gate) -> None:
    token = far_gate.hub.server("bram", "nbgrader-alpha")
    body = question(FAR, "x", stream=True, stream_options={"include_usage": True})
    with far_gate.client(token) as client, client.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        said = events(answer.iter_lines())
    assert said[-1] == "[DONE]" and said[-2]["choices"] == [] and said[-2]["usage"]["leerlab"]["joules"] == 7.5
    text = "".join(one["choices"][0]["delta"].get("content", "") for one in said[:-2])
    assert text == "w0 w1 w2 w3 w4 " and said[-3]["choices"][0]["finish_reason"] == "stop"
    # Who has heard the end finds it in the ledger.
    assert far_gate.answers("bram")[-1]["state"] == "done"
    plain = question(FAR, "x", stream=True)
    with far_gate.client(token) as client, client.stream("POST", "/v1/chat/completions", json=plain) as answer:
        assert not any("usage" in one for one in events(answer.iter_lines()) if one != "[DONE]")


def test_the_model_is_asked_what_was_asked_under_its_own_name(far_gate: Gate) -> None:
    token = far_gate.hub.server("carla", "nbgrader-alpha")
    far_gate.ask(token, text="PING", temperature=0.1)
    asked = far_gate.far.bodies[-1]
    assert asked["model"] == "vendor/secret-name" and asked["messages"] == [{"role": "user", "content": "PING"}]
    assert asked["temperature"] == 0.1 and asked["max_tokens"] == 24


def test_the_models_are_those_that_the_policy_allows(far_gate: Gate) -> None:
    wide, tight = far_gate.hub.server("dirk", "nbgrader-alpha"), far_gate.hub.server("els", "nbgrader-tight")
    with far_gate.client(wide) as client:
        assert [one["id"] for one in client.get("/v1/models").json()["data"]] == ["smollm2-135m", "e5-small", FAR]
        assert client.get(f"/v1/models/{FAR}").json()["id"] == FAR
        assert client.get("/v1/models/other").status_code == 404
        policy = client.get("/policy").json()
        assert policy["on"] and policy["tokens_per_hour"] == 20_000 and policy["tokens_left"] <= 20_000
    with far_gate.client(tight) as client:
        assert [one["id"] for one in client.get("/v1/models").json()["data"]] == [FAR]
    assert far_gate.ask(tight, "smollm2-135m").json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("language", "sentence"),
    [("nl", "De assistent staat uit, omdat dat in de cursus Toets zo is ingesteld."),
     ("en", "The assistant is off, because the course Exam says so.")],
)  # fmt: skip
def test_where_it_is_off_one_sentence_says_so_in_the_asker_s_language(
    far_gate: Gate, language: str, sentence: str
) -> None:
    token = far_gate.hub.server(f"fred-{language}", "nbgrader-alpha", "nbgrader-beta")
    with far_gate.client(token, language) as client:
        answer = client.post("/v1/chat/completions", json=question(FAR, "x"))
        assert answer.status_code == 403 and answer.json()["error"]["code"] == "off"
        assert answer.json()["error"]["message"].startswith(sentence)
        policy = client.get("/policy").json()
    assert policy["on"] is False and policy["because"] == [{"place": "course", "id": "beta"}]


def test_a_sandbox_s_server_counts_as_its_person_with_a_budget_of_its_own(far_gate: Gate) -> None:
    token = far_gate.hub.server(f"box-{BOX}-mila", f"sandbox-{BOX}")
    assert far_gate.ask(token).status_code == 200
    row = far_gate.answers("mila")[-1]
    assert (row["place"], row["place_id"]) == ("sandbox", BOX)


def test_a_budget_that_is_used_up_says_when_there_is_room_again(far_gate: Gate) -> None:
    token = far_gate.hub.server("greta", "nbgrader-tight")
    far_gate.far.pieces = 500
    try:
        assert far_gate.ask(token, max_tokens=500).status_code == 200
    finally:
        far_gate.far.pieces = 5
    refused = wait_for("the refusal", lambda: (a := far_gate.ask(token, max_tokens=500)).status_code == 429 and a)
    error = refused.json()["error"]
    # With 90 tokens left a shorter answer still fits; one that is used up is refused.
    assert error["code"] == "budget" and int(refused.headers["Retry-After"]) > 3000
    assert "600 tokens per uur" in error["message"] and "uur" in error["message"]


def test_the_hub_is_asked_once_for_many_questions(far_gate: Gate) -> None:
    token = far_gate.hub.server("hans", "nbgrader-alpha")
    begin = time.monotonic()
    far_gate.ask(token)
    before = far_gate.hub.asked
    for _ in range(5):
        far_gate.ask(token)
    # On a machine that stood still meanwhile it has to be asked again.
    assert far_gate.hub.asked == before or time.monotonic() - begin > CACHE_SECONDS


def test_a_policy_that_changes_counts_within_seconds(far_gate: Gate) -> None:
    token = far_gate.hub.server("iris", "nbgrader-alpha")
    assert far_gate.ask(token).status_code == 200
    far_gate.hub.groups["iris"].append("nbgrader-beta")
    wait_for("the refusal", lambda: far_gate.ask(token).status_code == 403, CACHE_SECONDS + 20)
