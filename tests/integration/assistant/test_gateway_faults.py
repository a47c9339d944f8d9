"""What becomes of questions when a part fails: an answer in time, in words, and a ledger that is right afterwards."""

from __future__ import annotations

import signal
import sqlite3
import time
from contextlib import closing

import httpx
import pytest
from gateway_site import FAR, SILENCE, Gate, events, question, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.fault]


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def last(gate: Gate, person: str, state: str) -> dict[str, object]:
    """The newest row of a person, once it has this state."""
    rows = wait_for(f"a row that is {state}", lambda: [one for one in gate.answers(person) if one["state"] == state])
    return dict(rows[-1])


def test_nobody_answers_where_the_model_should_be(far_gate: Gate) -> None:
    token = far_gate.hub.server("anna", "nbgrader-alpha")
    far_gate.far_server.stop()
    try:
        assert error_of(far_gate.ask(token)) == (502, "unreachable")
    finally:
        far_gate.far_server.start()
    assert far_gate.ask(token).status_code == 200
    assert last(far_gate, "anna", "left")["tokens_in"] == 0


def test_the_model_falls_silent(far_gate: Gate) -> None:
    token = far_gate.hub.server("bram", "nbgrader-alpha")
    far_gate.far.fails = "silent"
    try:
        begin = time.monotonic()
        assert error_of(far_gate.ask(token)) == (502, "broken")
        assert time.monotonic() - begin < SILENCE + 20
    finally:
        far_gate.far.fails = ""
    assert last(far_gate, "bram", "broken")["tokens_out"] == 1
    wait_for("the model's end", lambda: far_gate.far.open == 0)


def test_the_model_is_cut_off_in_mid_stream(far_gate: Gate) -> None:
    token = far_gate.hub.server("carla", "nbgrader-alpha")
    far_gate.far.fails = "cut"
    try:
        with (
            far_gate.client(token) as client,
            client.stream("POST", "/v1/chat/completions", json=question(FAR, "x", stream=True)) as answer,
        ):
            said = events(answer.iter_lines())
    finally:
        far_gate.far.fails = ""
    assert said[-1]["error"]["code"] == "broken" and "[DONE]" not in said
    assert "".join(one["choices"][0]["delta"].get("content", "") for one in said[:-1]) == "w0 w1 "
    assert last(far_gate, "carla", "broken")["tokens_out"] == 2


def test_the_model_refuses_with_an_error_of_its_own(far_gate: Gate) -> None:
    token = far_gate.hub.server("dirk", "nbgrader-alpha")
    far_gate.far.fails = "status"
    try:
        answer = far_gate.ask(token)
    finally:
        far_gate.far.fails = ""
    assert error_of(answer) == (502, "unreachable") and "PLANTED" not in answer.text


def test_who_asked_goes_away_and_the_model_is_free_again(far_gate: Gate) -> None:
    """In mid-stream, and while waiting for an answer that comes at once."""
    token = far_gate.hub.server("els", "nbgrader-alpha")
    far_gate.far.pieces, far_gate.far.pause = 400, 0.25
    try:
        body = question(FAR, "x", max_tokens=500)
        for _ in range(3):
            with (
                far_gate.client(token) as client,
                client.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as answer,
            ):
                assert next(answer.iter_lines())
            wait_for("the model's end", lambda: far_gate.far.open == 0, 40)
            with far_gate.client(token) as client, pytest.raises(httpx.ReadTimeout):
                client.post("/v1/chat/completions", json=body, timeout=0.6)
            wait_for("the model's end", lambda: far_gate.far.open == 0, 40)
    finally:
        far_gate.far.pieces, far_gate.far.pause = 5, 0.0
    last(far_gate, "els", "left")
    heard = [int(row["tokens_out"]) for row in far_gate.answers("els") if row["state"] == "left"]
    assert 0 < max(heard) < 400
    assert far_gate.ask(token).status_code == 200, "no turn is held"


def test_the_hub_is_down(far_gate: Gate) -> None:
    token = far_gate.hub.server("fred", "nbgrader-alpha")
    far_gate.hub_server.stop()
    try:
        begin = time.monotonic()
        answer = far_gate.ask(token)
        assert error_of(answer) == (503, "unreachable") and answer.headers["Retry-After"]
        assert time.monotonic() - begin < 11
    finally:
        far_gate.hub_server.start()
    assert far_gate.ask(token).status_code == 200


def test_the_ledger_cannot_be_written(far_gate: Gate) -> None:
    """No answer without a line in the ledger."""
    token = far_gate.hub.server("greta", "nbgrader-alpha")
    assert far_gate.ask(token).status_code == 200
    asked = len(far_gate.far.bodies)
    with closing(sqlite3.connect(far_gate.state.ledger)) as other:
        other.execute("ALTER TABLE answer RENAME TO away")
        try:
            answer = far_gate.ask(token)
        finally:
            other.execute("ALTER TABLE away RENAME TO answer")
    assert error_of(answer) == (503, "unreachable") and len(far_gate.far.bodies) == asked
    assert far_gate.ask(token).status_code == 200


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_gateway_is_restarted_in_mid_stream(far_gate: Gate, how: int) -> None:
    person = f"hans-{how}"
    token = far_gate.hub.server(person, "nbgrader-alpha")
    far_gate.far.pieces, far_gate.far.pause = 400, 0.25
    try:
        with far_gate.client(token) as client:
            body = question(FAR, "x", stream=True, max_tokens=500)
            with client.stream("POST", "/v1/chat/completions", json=body) as answer:
                lines = answer.iter_lines()
                assert next(lines).startswith("data:")
                far_gate.end(how)
                try:
                    rest = list(lines)
                except httpx.TransportError:
                    rest = []
        assert "data: [DONE]" not in rest
    finally:
        far_gate.far.pieces, far_gate.far.pause = 5, 0.0
        far_gate.start()
    wait_for("the model's end", lambda: far_gate.far.open == 0)
    # Killed, nobody could count: it counts with the most that it could have taken.
    row = last(far_gate, person, "lost" if how == signal.SIGKILL else "left")
    assert int(str(row["tokens_out"])) == 500 if how == signal.SIGKILL else int(str(row["tokens_out"])) < 400
    assert far_gate.ask(token).status_code == 200
