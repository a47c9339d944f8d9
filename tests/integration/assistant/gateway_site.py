"""Real parts for the gateway's tests: `python -m assistant` on its socket, models on real Slurm, models behind an
address that do as the test says; a hub that only answers the questions that the gateway asks."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
import uvicorn
from grading_slurm import RunningSlurm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from assistant.configuration import SOCKET, VARIABLE, GatewayConfiguration, LocalWeights
from assistant.settings import AssistantSettings
from base.paths import Installation, State
from base.ports import free_ports
from base.quantities import Duration, Size
from base.settings import BothLanguages
from catalogue.entries import entries, entry_of
from catalogue.shelf import Shelf, Sources
from ledger.answers import AnswerLedger
from ledger.store import Ledger
from spawners.settings import Profile, Title

CHAT, SEARCH, FAR = "smollm2-135m", "e5-small", "far"
PROFILE = Profile(
    id="model", title=Title(nl="Model", en="Model"), partition="cpu", cpus=2, memory=Size.parse("2G"),
    time=Duration.parse("20m"),
)  # fmt: skip
BOX = "aaaaaaaa"
UP = 90.0
SILENCE, BODY = 8.0, 4.0
"""Seconds that the gateway of `far_gate` waits for a model's next word, and for the whole of a question."""


class Server:
    """A web application in a thread of the test's process, on a unix socket or a free port."""

    def __init__(self, app: Starlette, path: Path | None = None) -> None:
        # The same port after each start, which nobody else takes meanwhile.
        self.app, self.path, self.port = app, path, 0 if path else free_ports(1)[0]
        self._server: uvicorn.Server | None = None

    def start(self) -> None:
        where: dict[str, Any] = {"uds": str(self.path)} if self.path else {"host": "127.0.0.1", "port": self.port}
        config = uvicorn.Config(self.app, log_config=None, timeout_graceful_shutdown=1, **where)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        wait_for("the server", lambda: self._server is not None and self._server.started, 30)

    def stop(self) -> None:
        if self._server is not None:
            self._server.should_exit = True
            self._thread.join(10)
            self._server = None


@dataclass
class GateHub:
    """JupyterHub's two answers, for tokens, groups and servers that the test chooses, as JupyterHub 6.1 gives them."""

    groups: dict[str, list[str]] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    service_token: str = field(default_factory=lambda: secrets.token_hex(16))
    asked: int = 0

    def server(self, name: str, *groups: str) -> str:
        """Start a server of somebody, and its token."""
        self.groups.setdefault(name, []).extend(groups)
        self.running.add(name)
        token = secrets.token_hex(16)
        scopes = [f"access:servers!server={name}/", f"users:activity!user={name}"]
        self.tokens[token] = {"kind": "user", "name": name, "scopes": scopes}
        return token

    def stop(self, name: str) -> None:
        """Stop somebody's server: its tokens are dead at once, as `spawners` sees to."""
        self.running.discard(name)
        self.tokens = {token: about for token, about in self.tokens.items() if about["name"] != name}

    def app(self) -> Starlette:
        def bearer(request: Request) -> str:
            return request.headers.get("authorization", "").removeprefix("token ")

        async def user(request: Request) -> Response:
            self.asked += 1
            model = self.tokens.get(bearer(request))
            return JSONResponse(model) if model else JSONResponse({"status": 403}, status_code=403)

        async def users(request: Request) -> Response:
            self.asked += 1
            name = request.path_params["name"]
            if bearer(request) != self.service_token:
                return JSONResponse({"status": 403}, status_code=403)
            if name not in self.groups:
                return JSONResponse({"status": 404}, status_code=404)
            servers = {"": {"ready": True, "pending": None}} if name in self.running else {}
            return JSONResponse({"kind": "user", "name": name, "groups": self.groups[name], "servers": servers})

        return Starlette(routes=[Route("/hub/api/user", user), Route("/hub/api/users/{name}", users)])


@dataclass
class FarModel:
    """A model behind an address, as vLLM is: a real server that streams as the test says.

    Args:
        pieces: of each answer.
        pause: seconds between two.
        fails: `status`, `cut` in mid-stream, `endless`, `silent`, or nothing.
        key: that it asks for.
    """

    pieces: int = 5
    pause: float = 0.0
    fails: str = ""
    key: str = "the-facility's-key"
    bodies: list[dict[str, Any]] = field(default_factory=list)
    open: int = 0
    most: int = 0

    def app(self) -> Starlette:
        async def chat(request: Request) -> Response:
            if request.headers.get("authorization") != f"Bearer {self.key}":
                return JSONResponse({"error": {"message": "no"}}, status_code=401)
            self.bodies.append(await request.json())
            if self.fails == "status":
                return JSONResponse({"error": {"message": "PLANTED in an error"}}, status_code=500)
            return StreamingResponse(self._stream(), media_type="text/event-stream")

        return Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])

    async def _stream(self) -> Any:
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            number = 0
            while number < self.pieces or self.fails == "endless":
                if self.fails == "silent" and number == 1:
                    await anyio.sleep(60)
                choice = {"index": 0, "delta": {"content": f"w{number} "}, "finish_reason": None}
                yield f"data: {json.dumps({'choices': [choice], 'model': 'secret-name'})}\n\n"
                number += 1
                await anyio.sleep(self.pause)
                if self.fails == "cut" and number == 2:
                    return
            usage = {"prompt_tokens": 10, "completion_tokens": self.pieces, "total_tokens": 10 + self.pieces}
            yield f"data: {json.dumps({'choices': [{'index': 0, 'delta': {}, 'finish_reason': 'stop'}]})}\n\n"
            yield f"data: {json.dumps({'choices': [], 'usage': usage})}\n\n"
            yield "data: [DONE]\n\n"
        finally:
            self.open -= 1


@dataclass
class Gate:
    """A running gateway with everything around it."""

    state: State
    hub: GateHub
    hub_server: Server
    far: FarModel
    far_server: Server
    file: Path
    hub_id: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.state.run / SOCKET

    def start(self) -> None:
        with (self.state.logs / "assistant.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "assistant"],
                env={**os.environ, VARIABLE: str(self.file)}, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
            )  # fmt: skip
        wait_for("the gateway", self._up, UP)

    def _up(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.log
        if not listens(self.socket):
            return False
        with self.client("nobody") as client:
            return client.get("/status").status_code == 200

    def end(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(60)
            self.process = None

    @property
    def log(self) -> str:
        return (self.state.logs / "assistant.log").read_text(errors="replace")

    def client(self, token: str, language: str = "nl", **headers: str) -> httpx.Client:
        """Somebody who asks directly, as any client in a lab can."""
        transport = httpx.HTTPTransport(uds=str(self.socket))
        own = {"Authorization": f"Bearer {token}", "Accept-Language": language}
        return httpx.Client(transport=transport, base_url="http://x", headers={**own, **headers}, timeout=60)

    def ask(self, token: str, model: str = FAR, text: str = "What is a median?", **more: Any) -> httpx.Response:
        """A chat's answer at once."""
        with self.client(token) as client:
            return client.post("/v1/chat/completions", json=question(model, text, **more))

    def patiently(self, token: str, model: str, **more: Any) -> httpx.Response:
        """As `ask`, again while the model starts."""
        return asked_again(lambda: self.ask(token, model, **more))

    def jobs(self, slurm: RunningSlurm, *states: str) -> list[str]:
        """Numbers of its models' jobs that wait or run, or are in these states."""
        shown = f"--states={','.join(states or ('PENDING', 'RUNNING', 'COMPLETING'))}"
        lines = slurm.ask("squeue", "--noheader", "--format=%i %k", shown).splitlines()
        return [line.split()[0] for line in lines if f"{self.hub_id}:assistant:" in line]

    def end_jobs(self, slurm: RunningSlurm) -> None:
        """They outlive their gateway, to be found again by the next."""
        for job in self.jobs(slurm):
            slurm.ask("scancel", job)
        wait_for("the models' end", lambda: not self.jobs(slurm), 60)

    def answers(self, person: str | None = None) -> list[dict[str, Any]]:
        """What the ledger has."""
        ledger = Ledger.open(f"sqlite:///{self.state.ledger}", self.state.secrets / "ledger-key")
        try:
            return list(AnswerLedger(ledger).all(person))
        finally:
            ledger.close()


def listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as tried:
        return tried.connect_ex(str(path)) == 0


def question(model: str, text: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 24, **more}


def asked_again(ask: Callable[[], httpx.Response], seconds: float = UP) -> httpx.Response:
    """Ask as often as a client does that heeds `Retry-After`."""
    until = time.monotonic() + seconds
    while True:
        answer = ask()
        starting = answer.status_code == 503 and answer.json()["error"]["code"] == "starting"
        if not starting or time.monotonic() > until:
            return answer
        time.sleep(0.25)


def events(lines: Iterator[str]) -> list[Any]:
    """What a stream said: each event's JSON, and `[DONE]`."""
    said = [line[6:] for line in lines if line.startswith("data: ")]
    return [one if one == "[DONE]" else json.loads(one) for one in said]


def wait_for(what: str, ready: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What `ready` gave, once that is true."""
    until = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < until, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.05)
    return found


def settings(far: int, tokens: int = 20_000, **more: Any) -> AssistantSettings:
    """`alpha` has all models, `tight` little, `beta` none; sandboxes have the far one."""
    title = {"nl": "x", "en": "x"}
    models = [
        {"kind": "local", "id": CHAT, "title": title, "context": 2048},
        {"kind": "local", "id": SEARCH, "title": title},
        {"kind": "remote", "id": FAR, "title": title, "name": "vendor/secret-name", "at_once": 8,
         "address": f"http://127.0.0.1:{far}/v1", "key_file": more.pop("key_file"), "joules_per_token": 0.5},
    ]  # fmt: skip
    everything = [CHAT, SEARCH, FAR]
    return AssistantSettings.model_validate(
        {
            "models": models,
            "profile": "model",
            "courses": {
                "alpha": {"models": everything, "tokens_per_hour": tokens},
                "tight": {"models": [FAR], "tokens_per_hour": 600},
            },
            "sandboxes": {"models": [FAR], "tokens_per_hour": 2000},
            **more,
        }
    )


@contextmanager
def running_gate(folder: Path, slurm: Path, *, start: bool = True, **more: Any) -> Iterator[Gate]:
    """A gateway whose local models run on the Slurm of a slurm.conf.

    Args:
        more: of `settings`, and `silence` and `body_seconds`.
    """
    state = State(folder / "s")
    state.make()
    hub_id = secrets.token_hex(6)
    hub, far = GateHub(), FarModel()
    hub_server, far_server = Server(hub.app(), state.run / "hub.sock"), Server(far.app())
    hub_server.start()
    far_server.start()
    (state.secrets / "assistant-token").write_text(hub.service_token)
    (state.secrets / "ledger-key").write_text(secrets.token_hex(32))
    key_file = state.secrets / "far-key"
    key_file.write_text(far.key)
    limits = {name: more.pop(name) for name in ("silence", "body_seconds") if name in more}
    configuration = GatewayConfiguration(
        state=state.root,
        hub_id=hub_id,
        hub=f"unix:{state.run / 'hub.sock'}",
        token_file=state.secrets / "assistant-token",
        assistant=settings(far_server.port, key_file=str(key_file), **more),
        local={
            CHAT: LocalWeights(does="chat", file=f"{CHAT}/1/SmolLM2-135M-Instruct.Q4_1.gguf", context=8192),
            SEARCH: LocalWeights(does="embeddings", file=f"{SEARCH}/1/e5-small-q4.bin", context=512),
        },
        profiles=(PROFILE,),
        titles={"beta": BothLanguages(nl="Toets", en="Exam")},
        sandboxes=True,
        slurm_conf=slurm,
        slurm_answer=10.0,
        ledger=f"sqlite:///{state.ledger}",
        ledger_key=state.secrets / "ledger-key",
        **limits,
    )
    file = state.generated / "assistant.json"
    file.write_text(configuration.model_dump_json())
    gate = Gate(state, hub, hub_server, far, far_server, file, hub_id)
    try:
        if start:
            gate.start()
        yield gate
    finally:
        gate.end()
        hub_server.stop()
        far_server.stop()


def put_models(state: State) -> None:
    """Both models on the shelf, as `up` does."""
    at = Installation.current()
    found = entries()
    Shelf(state.catalogue).prepare([entry_of(found, CHAT), entry_of(found, SEARCH)], Sources(at.code, at.packages))
