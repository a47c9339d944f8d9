"""The gateway as its own process, as a site runs it; a hub with its answers alone; a model's server to steer."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from grading_site import Server, wait_until
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from assistant.configuration import SOCKET, VARIABLE, GatewayConfiguration
from assistant.settings import AssistantSettings
from base.paths import State
from base.ports import free_ports
from base.quantities import Duration, Size
from catalogue.card import ModelCard
from confinement.seccomp import write_filter
from hub_config.run.ports import listening_sockets
from ledger.sandboxes import DataClass, RiskClass, SandboxLedger, SandboxState, now
from ledger.store import Ledger
from spawners.settings import Profile, Title

HUB_ID = "0123456789ab"
KEY = "the-key-of-the-models-server"
COURSES = {
    "alpha": {"nl": "Alfabetten", "en": "Alphabets"},
    "beta": {"nl": "Bewijzen", "en": "Proofs"},
    "exam": {"nl": "Het examen", "en": "The exam"},
}
PROFILE = Profile(
    id="small", title=Title(nl="Klein", en="Small"), partition="cpu", cpus=1, memory=Size.parse("1G"),
    time=Duration.parse("10m"),
)  # fmt: skip
POLICY = {"models": ["talker", "counter"], "tokens_per_hour": 2000}
CODE = Path(__file__).resolve().parents[3]


@dataclass
class TestModel:
    """A server with OpenAI's API whose behaviour a test steers; it notes what it was asked.

    Args:
        words: what it answers, one piece each.
        pause: seconds between two pieces.
        break_after: pieces after which it cuts the connection; None for never.
        status: what it answers instead of an answer.
        usage: whether its stream ends with what was used.
    """

    __test__ = False
    words: Sequence[str] = ("one ", "two ", "three")
    pause: float = 0.0
    break_after: int | None = None
    status: int = 200
    usage: bool = True
    port: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    left: int = 0
    now: int = 0
    most: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        self.port = self.port or free_ports(1)[0]
        config = uvicorn.Config(
            Starlette(
                routes=[
                    Route("/v1/chat/completions", self._chat, methods=["POST"]),
                    Route("/v1/embeddings", self._embed, methods=["POST"]),
                ]
            ),
            host="127.0.0.1", port=self.port, log_config=None, lifespan="off",
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        wait_until(lambda: self._server.started)

    def stop(self) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(10)

    def forget(self) -> None:
        """As it was at first."""
        fresh = TestModel()
        for name in ("words", "pause", "break_after", "status", "usage", "asked", "headers", "left", "most"):
            setattr(self, name, getattr(fresh, name))

    async def _noted(self, request: Request) -> dict[str, Any]:
        asked: dict[str, Any] = await request.json()
        self.asked.append(asked)
        self.headers.append(dict(request.headers))
        return asked

    async def _chat(self, request: Request) -> Response:
        asked = await self._noted(request)
        if self.status != 200:
            return JSONResponse({"error": {"message": f"no: {asked['messages'][-1]}"}}, status_code=self.status)
        used = {"prompt_tokens": 5, "completion_tokens": len(self.words), "total_tokens": 5 + len(self.words)}
        if asked.get("stream"):
            return StreamingResponse(self._stream(used), media_type="text/event-stream")
        async with self._busy():
            await asyncio.sleep(self.pause)
        message = {"role": "assistant", "content": "".join(self.words)}
        return JSONResponse({"object": "chat.completion", "choices": [{"index": 0, "message": message}], "usage": used})

    def _busy(self) -> Any:
        from contextlib import asynccontextmanager

        @asynccontextmanager
        async def busy() -> AsyncIterator[None]:
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                yield
            finally:
                self.now -= 1

        return busy()

    async def _stream(self, used: dict[str, int]) -> AsyncIterator[bytes]:
        try:
            async with self._busy():
                for number, word in enumerate(self.words):
                    if number == self.break_after:
                        raise RuntimeError("the test's model breaks off")
                    yield _event({"choices": [{"index": 0, "delta": {"content": word}}]})
                    await asyncio.sleep(self.pause)
            if self.usage:
                yield _event({"choices": [], "usage": used})
            yield b"data: [DONE]\n\n"
        except (asyncio.CancelledError, GeneratorExit):
            self.left += 1
            raise

    async def _embed(self, request: Request) -> Response:
        asked = await self._noted(request)
        texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
        data = [{"object": "embedding", "index": index, "embedding": [0.5]} for index, _ in enumerate(texts)]
        return JSONResponse({"data": data, "usage": {"prompt_tokens": 3, "total_tokens": 3}})


def _event(body: object) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


@dataclass
class TestHub:
    """JupyterHub's answers to the gateway, for people, servers and tokens that the test chooses; as 6.1 gives them."""

    __test__ = False
    groups: dict[str, list[str]] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    service_token: str = field(default_factory=lambda: secrets.token_hex(16))
    asked: int = 0
    silent: bool = False

    def token(self, name: str, scopes: list[str] | None = None) -> str:
        """A token of a person's server, which runs; with `scopes`, one that may do only that."""
        token = secrets.token_hex(16)
        self.running.add(name)
        self.groups.setdefault(name, [])
        if scopes is None:
            scopes = [f"access:servers!server={name}/", f"users:activity!user={name}"]
        self.tokens[token] = {"kind": "user", "name": name, "scopes": scopes}
        return token

    def app(self) -> Starlette:
        def asks(request: Request) -> str:
            self.asked += 1
            return request.headers.get("authorization", "").removeprefix("token ")

        async def user(request: Request) -> Response:
            token = asks(request)
            if self.silent:
                return JSONResponse({}, status_code=502)
            model = self.tokens.get(token)
            return JSONResponse(model) if model else JSONResponse({"status": 403}, status_code=403)

        async def users(request: Request) -> Response:
            name = request.path_params["name"]
            if asks(request) != self.service_token:
                return JSONResponse({"status": 403}, status_code=403)
            if name not in self.groups:
                return JSONResponse({"status": 404}, status_code=404)
            servers = {"": {"name": "", "ready": True}} if name in self.running else {}
            return JSONResponse({"kind": "user", "name": name, "groups": self.groups[name], "servers": servers})

        return Starlette(routes=[Route("/hub/api/user", user), Route("/hub/api/users/{name}", users)])


@dataclass
class Alone:
    """A gateway without a site.

    Args:
        configuration: what it was told.
        hub: the hub.
        ledger: the ledger that it writes.
    """

    configuration: GatewayConfiguration
    hub: TestHub
    ledger: Ledger
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.configuration.folders.run / SOCKET

    @property
    def log(self) -> str:
        return (self.folder / "gateway.log").read_text()

    def start(self) -> None:
        file = self.folder / "gateway.json"
        file.write_text(self.configuration.model_dump_json())
        with (self.folder / "gateway.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "assistant"], cwd=CODE, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, VARIABLE: str(file), "PYTHONPATH": str(CODE), "PYTHONDONTWRITEBYTECODE": "1"},
            )  # fmt: skip
        wait_until(self._answers, 30)

    def _answers(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.log
        return listening_sockets([self.socket]) == [self.socket]

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None

    def client(self, token: str, **headers: str) -> httpx.Client:
        """Somebody who asks with the token of a server."""
        transport = httpx.HTTPTransport(uds=str(self.socket))
        given = {"Authorization": f"Bearer {token}", "Accept-Language": "en", **headers}
        return httpx.Client(transport=transport, base_url="http://assistant", headers=given, timeout=60)

    def student(self, *courses: str, name: str | None = None) -> httpx.Client:
        """A new student of these courses, in a server that runs; of alpha, where none is named."""
        name = name or f"s{secrets.token_hex(4)}"
        self.hub.groups[name] = [f"nbgrader-{course}" for course in courses or ("alpha",)]
        return self.client(self.hub.token(name), **{"X-Test-Name": name})

    def member(self, name: str, sandbox: str) -> httpx.Client:
        """A member of a sandbox, in a server there."""
        return self.client(self.hub.token(f"box-{sandbox}-{name}"))

    def sandbox_of(self, name: str) -> str:
        """A new sandbox of a person."""
        made = SandboxLedger(self.ledger).create(
            title="Proef", purpose="Zien of het kan", sector="water", data_class=DataClass.OPEN,
            risk_class=RiskClass.MINIMAL, owner=name, ends=now(), state=SandboxState.ACTIVE, most=5,
        )  # fmt: skip
        return made.id

    def kept(self, person: httpx.Client | str) -> list[dict[str, Any]]:
        """What the ledger has of somebody's answers, oldest first."""
        name = person if isinstance(person, str) else person.headers["x-test-name"]
        with self.ledger.snapshot() as connection:
            rows = connection.exec_driver_sql("SELECT * FROM answer WHERE person = ? ORDER BY id", (name,)).mappings()
            return [dict(row) for row in rows]


def question(text: str = "How many?", **more: Any) -> dict[str, Any]:
    """A question to the chat model."""
    return {"model": "talker", "messages": [{"role": "user", "content": text}], "max_tokens": 50, **more}


def words(answer: httpx.Response) -> str:
    """What a stream said."""
    pieces = [json.loads(line[5:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    return "".join(piece["choices"][0]["delta"].get("content") or "" for piece in pieces if piece.get("choices"))


def last(answer: httpx.Response) -> Any:
    """The last thing in a stream that is not its end mark."""
    return json.loads([line[5:] for line in answer.text.splitlines() if line.startswith("data: {")][-1])


def configured(
    folder: Path, models: Sequence[dict[str, Any]], *, slurm: Path | None = None, cards: Sequence[ModelCard] = (),
    **settings: Any,
) -> GatewayConfiguration:  # fmt: skip
    """What a gateway is told: on in alpha and beta and in sandboxes, off in the exam."""
    state = State(folder / "s")
    state.make()
    write_filter(state.generated / "seccomp.bpf")
    (state.secrets / "ledger-key").write_text("ab" * 32)
    section = {
        "models": models, "profile": "small", "courses": {"alpha": POLICY, "beta": {**POLICY, "models": ["talker"]}},
        "sandboxes": {"models": ["talker"], "tokens_per_hour": 500}, **settings,
    }  # fmt: skip
    return GatewayConfiguration(
        state=state.root, hub_id=HUB_ID, hub=f"unix:{folder / 'hub.sock'}", token_file=folder / "token", language="nl",
        courses=COURSES, settings=AssistantSettings.model_validate_json(json.dumps(section)), cards=tuple(cards),
        profile=PROFILE, slurm_conf=slurm or folder / "no-slurm.conf", slurm_interval=0.2,
        ledger=f"sqlite:///{state.ledger}", ledger_key=state.secrets / "ledger-key",
    )  # fmt: skip


@contextmanager
def gateway_of(folder: Path, configuration: GatewayConfiguration) -> Iterator[Alone]:
    """A gateway with a hub of its own, started; both end afterwards."""
    hub = TestHub()
    configuration.token_file.write_text(hub.service_token)
    serving = Server(hub.app(), folder / "hub.sock")
    serving.start()
    ledger = Ledger.open(configuration.ledger, configuration.ledger_key)
    made = Alone(configuration, hub, ledger, folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        serving.stop()
        ledger.close()


@contextmanager
def running_gateway(folder: Path, model: TestModel, **settings: Any) -> Iterator[Alone]:
    """A gateway whose models are the test's own server."""
    key_file = folder / "key"
    key_file.write_text(KEY + "\n")
    both = {"kind": "remote", "url": model.url, "key_file": str(key_file), "title": {"nl": "Proef", "en": "Test"}}
    models = [
        {**both, "id": "talker", "does": "chat", "name": "inner-name"},
        {**both, "id": "counter", "does": "embeddings", "name": "inner-numbers"},
    ]
    with gateway_of(folder, configured(folder, models, **settings)) as made:
        yield made


def eventually(true: Callable[[], Any], seconds: float = 10) -> Any:
    """As `wait_until`, with a name that reads well."""
    return wait_until(true, seconds)
