"""Attempts on the gateway by who reaches its socket; the control is the same attempt with the one defence gone."""

from __future__ import annotations

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from gateway_site import BODY, BOX, FAR, Gate, question, wait_for

from assistant.identity import CACHE_SECONDS

pytestmark = [pytest.mark.integration, pytest.mark.attack]
WAYS = (
    ("POST", "/v1/chat/completions", question(FAR, "x")),
    ("POST", "/v1/chat/completions", question(FAR, "x", stream=True)),
    ("POST", "/v1/embeddings", {"model": "e5-small", "input": "x"}),
    ("GET", "/v1/models", None),
    ("GET", f"/v1/models/{FAR}", None),
)


def statuses(gate: Gate, token: str) -> list[int]:
    """What each way in answers; a model that is starting counts as let in."""
    with gate.client(token) as client:
        return [client.request(method, path, json=body).status_code for method, path, body in WAYS]


def test_with_the_policy_off_every_route_is_shut(far_gate: Gate) -> None:
    off = far_gate.hub.server("ot", "nbgrader-beta")
    assert statuses(far_gate, off) == [403] * len(WAYS)
    on = far_gate.hub.server("aan", "nbgrader-alpha")
    assert not {401, 403} & set(statuses(far_gate, on))


def test_a_second_server_with_the_policy_on_gives_nothing_while_one_with_off_runs(far_gate: Gate) -> None:
    """Somebody in an exam asks from their sandbox; the control is the same server once the other has stopped."""
    box = far_gate.hub.server(f"box-{BOX}-ina", f"sandbox-{BOX}")
    far_gate.hub.server("ina", "nbgrader-beta")
    assert far_gate.ask(box).status_code == 403
    far_gate.hub.stop("ina")
    wait_for("the other server's end", lambda: far_gate.ask(box).status_code == 200, CACHE_SECONDS + 20)


def test_a_stopped_server_s_token_is_dead_within_seconds(far_gate: Gate) -> None:
    token = far_gate.hub.server("jan", "nbgrader-alpha")
    assert far_gate.ask(token).status_code == 200
    far_gate.hub.stop("jan")
    wait_for("the token's end", lambda: far_gate.ask(token).status_code == 401, CACHE_SECONDS + 20)
    # Also while the person has another server: its token is another one.
    other = far_gate.hub.server("jan")
    assert far_gate.ask(token).status_code == 401 and far_gate.ask(other).status_code == 200


def test_a_token_that_is_not_of_a_running_server_of_one_s_own_asks_nothing(far_gate: Gate) -> None:
    """One made by hand while nothing runs, one that was given to somebody else's server, a course's own, and junk."""
    hub = far_gate.hub
    by_hand = hub.server("kim", "nbgrader-alpha")
    assert far_gate.ask(by_hand).status_code == 200
    hub.running.discard("kim")
    wait_for("the server's end", lambda: far_gate.ask(by_hand).status_code == 403, CACHE_SECONDS + 20)
    given = hub.server("lisa", "nbgrader-alpha")
    hub.tokens[given]["scopes"] = ["access:servers!server=ot/", "read:users:name!user=lisa"]
    assert far_gate.ask(given).status_code == 403
    assert far_gate.ask(hub.server("course-alpha", "nbgrader-alpha")).status_code == 403
    for junk in ("x", "0" * 32, "a" * 600, "../../users/anna", hub.service_token):
        assert far_gate.ask(junk).status_code in {401, 403}, junk


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-User": "mia"}, {"X-Remote-User": "mia", "Remote-User": "mia"}, {"OpenAI-Organization": "alpha"},
        {"X-Jupyterhub-User": "mia", "X-JupyterHub-Groups": "nbgrader-alpha"}, {"Cookie": "jupyterhub-session-id=1"},
        {"Forwarded": "for=127.0.0.1;by=mia", "X-Forwarded-For": "127.0.0.1"},
    ],
)  # fmt: skip
def test_what_a_request_says_of_its_sender_counts_for_nothing(far_gate: Gate, headers: dict[str, str]) -> None:
    mia = far_gate.hub.server("mia", "nbgrader-alpha")
    off = far_gate.hub.server("ot", "nbgrader-beta")
    with far_gate.client(off, **headers) as client:
        body = question(FAR, "x", user="mia", metadata={"person": "mia"})
        assert client.post("/v1/chat/completions", json=body).status_code == 403
    with far_gate.client(mia, **headers) as client:
        assert client.post("/v1/chat/completions", json=question(FAR, "x", user="ot")).status_code == 200
    assert far_gate.answers("mia") and not far_gate.answers("ot")


def raw(gate: Gate, request: bytes, seconds: float = 30) -> bytes:
    """What comes back for these bytes: all until the other side closes, or falls silent for so long."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(seconds)
        connection.connect(str(gate.socket))
        connection.sendall(request)
        said = b""
        try:
            while piece := connection.recv(65536):
                said += piece
        except (TimeoutError, ConnectionResetError):
            pass
        return said


@pytest.mark.parametrize(
    "smuggled",
    [
        "Authorization: Bearer {off}\r\nAuthorization: Bearer {on}",
        "Authorization: Bearer {on}\r\nAuthorization: Bearer {off}",
        "Authorization: Bearer {off}, Bearer {on}",
        "Authorization: Bearer {off} {on}",
        "Authorization: Basic {on}",
        "X: y\r\n Authorization: Bearer {on}",
        "Authorization : Bearer {on}",
    ],
)
def test_two_identities_in_one_request_are_none(far_gate: Gate, smuggled: str) -> None:
    tokens = {"on": far_gate.hub.server("nel", "nbgrader-alpha"), "off": far_gate.hub.server("ot", "nbgrader-beta")}

    def status(headers: str) -> int:
        request = f"GET /v1/models HTTP/1.1\r\nHost: x\r\n{headers}\r\nConnection: close\r\n\r\n"
        return int(raw(far_gate, request.encode()).split(b" ")[1])

    assert status(smuggled.format(**tokens)) in {400, 401, 403}
    assert status("Authorization: Bearer {on}".format(**tokens)) == 200


def test_a_second_request_hidden_in_a_body_is_never_read(far_gate: Gate) -> None:
    """Two lengths for one body; the control is the hidden request sent by itself."""
    token = far_gate.hub.server("olga", "nbgrader-alpha")
    hidden = f"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    outer = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\nTransfer-Encoding: chunked\r\n"
        "Authorization: Bearer nobody\r\n\r\n0\r\n\r\n"
    )
    said = raw(far_gate, (outer.format(size=len(hidden) + 5) + hidden).encode(), 3)
    assert b'"object":"list"' not in said
    assert b'"object":"list"' in raw(far_gate, hidden.encode())


@pytest.mark.parametrize(
    "model",
    ["", "../far", "far/../far", "FAR", "far ", "far\x00", "vendor/secret-name", "http://127.0.0.1:1/v1", "/etc/passwd",
     "far?x", "%66ar", "smollm2-135m/../../far", "f" * 10_000],
)  # fmt: skip
def test_a_model_is_one_of_the_list_to_the_letter(far_gate: Gate, model: str) -> None:
    token = far_gate.hub.server("piet", "nbgrader-tight")
    before = len(far_gate.far.bodies)
    assert far_gate.ask(token, model).status_code == 404
    assert len(far_gate.far.bodies) == before
    assert far_gate.ask(token, FAR, max_tokens=1).status_code == 200


def test_nobody_is_asked_at_an_address_that_a_request_names(far_gate: Gate) -> None:
    """The control is a client that does what such a field says."""
    token = far_gate.hub.server("quirijn", "nbgrader-alpha")
    with socket.create_server(("127.0.0.1", 0)) as canary:
        canary.settimeout(0.5)
        there = f"http://127.0.0.1:{canary.getsockname()[1]}"
        fields = ("base_url", "api_base", "url", "endpoint", "webhook", "file", "extra_body")
        bodies = [question(FAR, "x", **{field: there}) for field in fields]
        picture = {"type": "image_url", "image_url": {"url": there}}
        bodies += [{"model": FAR, "messages": [{"role": "user", "content": [picture]}]}, question(there, "x")]
        with far_gate.client(token, Host=there.removeprefix("http://")) as client:
            answers = [client.post("/v1/chat/completions", json=body).status_code for body in bodies]
            absolute = f"POST {there}/v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
            raw(far_gate, absolute.encode(), 2)
        assert set(answers) <= {400, 404}
        with pytest.raises(TimeoutError):
            canary.accept()
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(there, timeout=0.2, trust_env=False)
        canary.accept()[0].close()


def test_twenty_questions_at_one_time_get_no_more_than_budget_and_turns(far_gate: Gate) -> None:
    """The control is twenty people, each with a budget of their own."""
    far_gate.far.pieces, far_gate.far.pause = 100, 0.01
    try:
        token = far_gate.hub.server("rik", "nbgrader-tight")
        others = [far_gate.hub.server(f"rik-{number}", "nbgrader-tight") for number in range(20)]
        with ThreadPoolExecutor(20) as pool:
            mine = list(pool.map(lambda _: far_gate.ask(token, max_tokens=250).status_code, range(20)))
            theirs = list(pool.map(lambda one: far_gate.ask(one, max_tokens=250).status_code, others))
    finally:
        far_gate.far.pieces, far_gate.far.pause = 5, 0.0
    assert 1 <= mine.count(200) <= 2 and mine.count(429) == 20 - mine.count(200)
    used = sum(row["tokens_in"] + row["tokens_out"] for row in far_gate.answers("rik"))
    assert used <= 600
    assert theirs.count(200) == 20 and far_gate.far.most <= 8, "the model has eight turns"


def test_nothing_of_a_question_or_an_answer_stays_anywhere(far_gate: Gate) -> None:
    """Whatever becomes of it: answered, refused, broken; the control is a file in which it does stand."""
    token = far_gate.hub.server("saar", "nbgrader-alpha")
    planted = "PLANTED-4711-vertrouwelijk"
    for fails in ("", "cut", "status", "silent"):
        far_gate.far.fails = fails
        far_gate.ask(token, text=planted)
    far_gate.far.fails = ""
    for body in (question(FAR, planted, temperature=planted), question(planted, planted), question(FAR, planted, n=2)):
        with far_gate.client(token) as client:
            client.post("/v1/chat/completions", json=body)
    with far_gate.client(token) as client:
        client.post("/v1/chat/completions", content=planted.encode())
        client.get(f"/v1/models/{planted}")
    assert any(one["messages"][0]["content"] == planted for one in far_gate.far.bodies)

    def found() -> list[str]:
        files = [path for path in far_gate.state.root.rglob("*") if path.is_file()]
        assert far_gate.state.ledger in files and far_gate.state.logs / "assistant.log" in files
        return [path.name for path in files if planted.encode() in path.read_bytes()]

    assert found() == []
    (far_gate.state.logs / "control").write_text(json.dumps({"asked": planted}))
    assert found() == ["control"]
    (far_gate.state.logs / "control").unlink()


def test_a_body_without_end_is_cut_off(far_gate: Gate) -> None:
    token = far_gate.hub.server("tom", "nbgrader-alpha")
    with far_gate.client(token) as client:
        large = client.post("/v1/chat/completions", content=b"x" * 300_000)
        assert large.status_code == 413 and "256 KiB" in large.json()["error"]["message"]
        sent = 0

        def pieces() -> object:
            nonlocal sent
            for _ in range(2000):
                sent += 65536
                yield b" " * 65536

        try:
            unsaid = client.post("/v1/chat/completions", content=pieces()).status_code  # type: ignore[arg-type]
        except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
            unsaid = 413  # It closed the connection before it had sent all.
        assert unsaid == 413 and sent < 2000 * 65536
        small = client.post("/v1/chat/completions", content=json.dumps(question(FAR, "x" * 1000)).encode())
        assert small.status_code == 200


def test_a_body_that_dribbles_in_holds_nobody_up(far_gate: Gate) -> None:
    token = far_gate.hub.server("ulf", "nbgrader-alpha")
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 500\r\n\r\n"
    )
    begin = time.monotonic()
    lines = [threading.Thread(target=raw, args=(far_gate, head.encode() + b"{")) for _ in range(20)]
    for one in lines:
        one.start()
    assert far_gate.ask(token).status_code == 200
    said = raw(far_gate, head.encode() + b"{")
    assert b" 408 " in said.splitlines()[0] and time.monotonic() - begin < BODY + 20
    for one in lines:
        one.join()


def test_an_answer_without_end_is_cut_off(far_gate: Gate) -> None:
    """The control is the same model asked without the gateway."""
    token = far_gate.hub.server("vera", "nbgrader-alpha")
    far_gate.far.fails = "endless"
    try:
        answer = far_gate.ask(token, max_tokens=20)
        assert answer.status_code == 502 and answer.json()["error"]["code"] == "broken"
        headers = {"Authorization": f"Bearer {far_gate.far.key}"}
        address = f"http://127.0.0.1:{far_gate.far_server.port}/v1/chat/completions"
        with httpx.stream("POST", address, json={}, headers=headers, timeout=60, trust_env=False) as control:
            count = sum(1 for _, line in zip(range(500), control.iter_lines(), strict=False) if line)
        assert count > 200
    finally:
        far_gate.far.fails = ""
    row = wait_for("the row", lambda: [one for one in far_gate.answers("vera") if one["state"] == "broken"])[0]
    assert row["tokens_out"] <= 20 + 64 + 1


def test_reports_of_jobs_are_not_to_be_had_at_the_labs_socket(far_gate: Gate) -> None:
    """The control is the listener for jobs, which no relay leads to."""
    with far_gate.client("x") as client:
        assert client.post("/starts/" + "0" * 24, content=b'{"port": 8888}').status_code == 404
    path = Path(far_gate.state.run / "assistant-jobs.sock")
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://x", timeout=60) as client:
        for content, headers, status in (
            (b'{"port": 8888}', {"Authorization": "start x"}, 404),
            (b'{"port": 8888}', {}, 403),
            (b'{"port": 80}', {"Authorization": "start x"}, 400),
            (b'{"port": 8888, "host": "evil"}', {"Authorization": "start x"}, 400),
            (b'{"port": 8888}' + b" " * 100, {"Authorization": "start x"}, 400),
        ):
            assert client.post("/starts/" + "0" * 24, content=content, headers=headers).status_code == status
