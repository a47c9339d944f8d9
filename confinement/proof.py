"""Proves a wall on the machine where this runs, by attacking it: each attempt has to work without the wall.

`leerlab doctor` does it on the hub's machine and, in a job, on each node.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from confinement.attempts import ATTEMPTS, VARIABLE
from confinement.errors import WallRefused
from confinement.run import PYTHON, start
from confinement.wall import CODE, Limits, Wall

SECONDS = 60.0
_LIMITS: dict[str, Any] = {"tmp": 2**20, "limits": Limits(processes=32, file_size=2**20)}
_ATTEMPTS = Path(__file__).with_name("attempts.py")
_CREATE, _REMOVE, _OWN = 0o1000 | 0o2000, 0, 0o600
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Proof:
    """What came of it, in words that follow "from inside the wall one can".

    Args:
        held: what works without the wall, and not behind it.
        broken: what works behind it.
        untried: what does not work on this machine without the wall either, so that nothing follows.
        seconds: from the order to build the wall until nothing was left inside.
    """

    held: tuple[str, ...]
    broken: tuple[str, ...]
    untried: tuple[str, ...]
    seconds: float


def prove(wall: Wall) -> Proof:
    """Attack a wall, and the machine without it.

    Args:
        wall: its command, environment, sizes and limits are replaced by the proof's own. Of a `nested` one the wall
            inside it is attacked; it then has the filter of every wall at `confinement.nested.FILTER`.

    Raises:
        WallRefused: the wall cannot be built, or the attempts do not end as they should.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ll-proof-")))
        targets = stack.enter_context(_targets(folder))
        bare = _tried(targets, lambda given: _bare(given, folder))
        begun = time.monotonic()
        walled = _tried(targets, lambda given: _walled(wall, given))
        seconds = time.monotonic() - begun
    words = {name: sentence for name, (sentence, _) in ATTEMPTS.items()}
    return Proof(
        tuple(words[name] for name in words if bare[name] and not walled[name]),
        tuple(words[name] for name in words if walled[name]),
        tuple(words[name] for name in words if not bare[name] and not walled[name]),
        seconds,
    )


def _tried(targets: dict[str, Any], run: Any) -> dict[str, bool]:
    """Run the attempts with a process for them to find; whether each worked."""
    with subprocess.Popen(["/usr/bin/sleep", targets["argument"]], env={}, stdin=subprocess.DEVNULL) as victim:
        try:
            said = run({**targets, "process": victim.pid})
            try:
                reached = json.loads(said)
                worked = {name: reached[name] is True for name in ATTEMPTS}
            except (ValueError, KeyError, TypeError):
                raise WallRefused("The attempts on the wall gave no result.", said.decode(errors="replace")) from None
            # That the kernel took the signal does not say whose process it was for.
            worked["signal"] = _ended_by_signal(victim) if worked["signal"] else False
        finally:
            victim.kill()
    return worked


def _ended_by_signal(victim: subprocess.Popen[bytes]) -> bool:
    try:
        return victim.wait(1) == -signal.SIGUSR1
    except subprocess.TimeoutExpired:
        return False


def _bare(targets: dict[str, Any], folder: Path) -> bytes:
    done = subprocess.run(
        [PYTHON, "-I", "-B", str(_ATTEMPTS)], env={"PATH": "/usr/bin:/bin", VARIABLE: json.dumps(targets)}, cwd=folder,
        stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    return done.stdout or done.stderr


def _walled(wall: Wall, targets: dict[str, Any]) -> bytes:
    attacked = replace(
        wall,
        command=(PYTHON, "-I", "-B", f"{CODE}/confinement/{_ATTEMPTS.name}", *(["nested"] if wall.nested else [])),
        environment={VARIABLE: json.dumps(targets)},
        **_LIMITS,
    )
    with start(attacked) as walled:
        try:
            walled.wait(SECONDS)
        except TimeoutError as error:
            raise WallRefused("The attempts on the wall do not end.") from error
        return walled.output


@contextmanager
def _targets(folder: Path) -> Iterator[dict[str, Any]]:
    """What the attempts are to reach, all of it made for them."""
    token = secrets.token_hex(16)
    (folder / "file").write_text(token)
    abstract = f"leerlab-proof-{token}"
    key = secrets.randbits(30) | 1
    with ExitStack() as stack:
        port = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        for address in (str(folder / "socket"), f"\0{abstract}"):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(address)
            listener.listen()
        memory = _libc.shmget(key, 4096, _CREATE | _OWN)
        if memory == -1:
            raise WallRefused(f"Shared memory cannot be made: {os.strerror(ctypes.get_errno())}.")
        stack.callback(_libc.shmctl, memory, _REMOVE, None)
        yield {
            "token": token, "file": str(folder / "file"), "folder": str(folder), "port": port.getsockname()[1],
            "socket": str(folder / "socket"), "abstract": abstract, "memory": key,
            # A number of seconds that no other sleep has.
            "argument": f"{int(SECONDS) * 3}.{secrets.randbelow(10**12):012d}",
        }  # fmt: skip
