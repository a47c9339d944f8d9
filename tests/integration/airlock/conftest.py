"""A sandbox with two members, the real clamd and the real wall."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from base.paths import State
from base.quantities import Size
from confinement.seccomp import write_filter
from ledger.sandboxes import DataClass, Sandbox, SandboxLedger
from ledger.store import Ledger
from ledger.transfers import Transfer, TransferLedger
from sandboxes.airlock.clamav import Scanner, daemon
from sandboxes.airlock.outgoing import Outgoing
from sandboxes.airlock.quarantine import Quarantine
from sandboxes.folders import Folders
from sandboxes.life import Request, Sandboxes
from sandboxes.risk import SelfCheck
from sandboxes.settings import SandboxSettings

NONE = SelfCheck(forbidden=False, people=False, preparing=False, product=False, talks=False, personal=False)
START_SECONDS = 30.0
SETTINGS = SandboxSettings(profile="cpu", size=Size.parse("64M"), upload=Size.parse("8M"))


async def pieces(content: bytes, size: int = 64 * 1024) -> AsyncIterator[bytes]:
    """A file as it comes over the wire."""
    for start in range(0, len(content), size):
        yield content[start : start + size]
        await asyncio.sleep(0)


@dataclass
class Airlock:
    """One site's airlock with one sandbox of Mila and Bram.

    Args:
        state: the site's state folder.
        ledger: the site's ledger.
        life: the sandboxes.
        sandbox: the one that is used.
    """

    state: State
    ledger: Ledger
    life: Sandboxes
    sandbox: Sandbox

    @property
    def transfers(self) -> TransferLedger:
        return TransferLedger(self.ledger)

    @property
    def quarantine(self) -> Quarantine:
        return Quarantine(self.transfers, self.state, SETTINGS, Scanner.of(self.state, SETTINGS))

    @property
    def outgoing(self) -> Outgoing:
        return Outgoing(self.life.ledger, self.transfers, self.state, SETTINGS)

    @property
    def folders(self) -> Folders:
        return self.life.folders(self.sandbox.id)

    def send(self, name: str, content: bytes, person: str = "mila") -> Transfer:
        """Send a file in and wait for what becomes of it."""
        return asyncio.run(self.quarantine.receive(self.sandbox.id, person, name, pieces(content)))

    def inside(self) -> dict[str, bytes]:
        """Files that have arrived, by name."""
        return {path.name: path.read_bytes() for path in self.folders.incoming.iterdir() if path.is_file()}

    def actions(self, transfer: str) -> list[str]:
        return [entry.action for entry in self.ledger.entries(subject=transfer)]


@pytest.fixture(scope="module")
def site() -> Iterator[State]:
    """A state folder with a running clamd that knows the test virus."""
    root = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    state = State(root / "s")
    state.make()
    write_filter(state.generated / "seccomp.bpf")
    scanner = daemon(state, SETTINGS)
    with (
        (state.logs / "clamd.log").open("wb") as log,
        subprocess.Popen(scanner.argv, stdout=log, stderr=log) as process,
    ):
        until = time.monotonic() + START_SECONDS
        while not (state.run / "clamd.sock").exists():
            assert process.poll() is None and time.monotonic() < until, (state.logs / "clamd.log").read_text()
            time.sleep(0.05)
        yield state
        process.terminate()
        process.wait(START_SECONDS)
    shutil.rmtree(root)


@pytest.fixture
def airlock(site: State) -> Iterator[Airlock]:
    """A fresh ledger and sandbox on that site."""
    site.ledger.unlink(missing_ok=True)
    shutil.rmtree(site.sandboxes)
    site.sandboxes.mkdir(mode=0o700)
    with closing(Ledger(f"sqlite:///{site.ledger}", b"k" * 32)) as ledger:
        life = Sandboxes(SandboxLedger(ledger), site, SETTINGS)
        made = life.request("mila", Request("Pompen", "Zien.", "water", DataClass.OPEN, 14, NONE))
        life.join(life.invite(made.id, "mila"), "bram")
        yield Airlock(site, ledger, life, made)
    for left in site.root.glob("ledger.sqlite*"):
        left.unlink()


@pytest.fixture
def no_scanner(site: State) -> Iterator[Callable[[], None]]:
    """clamd's socket is away for a while; call to bring it back."""
    socket, away = site.run / "clamd.sock", site.run / "clamd.away"
    socket.rename(away)

    def back() -> None:
        if away.exists():
            away.rename(socket)

    yield back
    back()
