"""A sandbox with two members, the real clamd and the real wall."""

from __future__ import annotations

import asyncio
import io
import re
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from hashlib import md5, sha256
from pathlib import Path

import pytest

from base.paths import State
from base.quantities import Size
from confinement.seccomp import write_filter
from ledger.sandboxes import DataClass, Sandbox, SandboxLedger
from ledger.store import Ledger
from ledger.transfers import Transfer, TransferLedger
from sandboxes.airlock.clamav import OWN_SIGNATURES, Scanner, daemon
from sandboxes.airlock.outgoing import Outgoing
from sandboxes.airlock.quarantine import Quarantine
from sandboxes.folders import Folders
from sandboxes.life import Request, Sandboxes
from sandboxes.risk import SelfCheck
from sandboxes.settings import SandboxSettings

NONE = SelfCheck(forbidden=False, people=False, preparing=False, product=False, talks=False, personal=False)
START_SECONDS = 60.0
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

    def request(self, title: str) -> Request:
        """What anybody may ask for."""
        return Request(title, "Iets.", "energy", DataClass.OPEN, 5, NONE)

    def inside(self) -> dict[str, bytes]:
        """Files that have arrived, by name."""
        return {path.name: path.read_bytes() for path in self.folders.incoming.iterdir() if path.is_file()}

    def actions(self, transfer: str) -> list[str]:
        return [entry.action for entry in self.ledger.entries(subject=transfer)]


def answers(path: Path) -> bool:
    """Whether clamd does, and has closed the line: the file of its socket is there before, and after it was killed."""
    with socket.socket(socket.AF_UNIX) as line, suppress(OSError):
        line.settimeout(START_SECONDS)
        line.connect(str(path))
        line.sendall(b"zPING\0")
        return line.makefile("rb").read() == b"PONG\0"
    return False


@contextmanager
def running_clamd(
    state: State, signatures: Path | None = None, changes: Mapping[str, object] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The site's own clamd, from when it answers; with other limits where a test takes a defence away."""
    settings = SETTINGS.model_copy(update={"signatures": str(signatures)}) if signatures else SETTINGS
    scanner = daemon(state, settings)
    conf = state.generated / "clamd.conf"
    for name, value in (changes or {}).items():
        conf.write_text(re.sub(f"(?m)^{name} .*$", f"{name} {value}", conf.read_text()))
    with (
        (state.logs / "clamd.log").open("wb") as log,
        subprocess.Popen(scanner.argv, env=dict(scanner.environment), stdout=log, stderr=log) as process,
    ):
        try:
            until = time.monotonic() + START_SECONDS
            while not answers(state.run / "clamd.sock"):
                assert process.poll() is None and time.monotonic() < until, (state.logs / "clamd.log").read_text()
                time.sleep(0.05)
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(START_SECONDS)


@contextmanager
def site_of(state: State) -> Iterator[Airlock]:
    """A fresh ledger with one sandbox of two members."""
    with closing(Ledger(f"sqlite:///{state.ledger}", b"k" * 32, busy_seconds=2)) as ledger:
        life = Sandboxes(SandboxLedger(ledger), state, SETTINGS)
        made = life.request("mila", Request("Pompen", "Zien.", "water", DataClass.OPEN, 14, NONE))
        life.join(life.invite(made.id, "mila"), "bram")
        yield Airlock(state, ledger, life, made)


@pytest.fixture(scope="module")
def site() -> Iterator[State]:
    """A state folder with a running clamd that knows the test virus."""
    root = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    state = State(root / "s")
    state.make()
    write_filter(state.generated / "seccomp.bpf")
    with running_clamd(state):
        yield state
    shutil.rmtree(root)


@pytest.fixture
def airlock(site: State) -> Iterator[Airlock]:
    """A fresh ledger and sandbox on that site."""
    site.ledger.unlink(missing_ok=True)
    shutil.rmtree(site.sandboxes)
    site.sandboxes.mkdir(mode=0o700)
    with site_of(site) as airlock:
        yield airlock
    for left in site.root.glob("ledger.sqlite*"):
        left.unlink()


@pytest.fixture
def no_scanner(site: State) -> Iterator[Callable[[], None]]:
    """clamd's socket is away for a while; call to bring it back."""
    place, away = site.run / "clamd.sock", site.run / "clamd.away"
    place.rename(away)

    def back() -> None:
        if away.exists():
            away.rename(place)

    yield back
    back()


@pytest.fixture
def own_clamd() -> Iterator[tuple[Airlock, Callable[..., AbstractContextManager[subprocess.Popen[bytes]]]]]:
    """A site of the test's own, and what starts its clamd, which the test may stop and kill."""
    root = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    state = State(root / "s")
    state.make()
    write_filter(state.generated / "seccomp.bpf")
    with site_of(state) as airlock:
        yield airlock, partial(running_clamd, state)
    shutil.rmtree(root)


@pytest.fixture
def dated_signatures() -> Callable[[Path, int], None]:
    """Writes signatures with a date, as freshclam brings them: `daily`, of the kind that needs no signature (`cud`)."""

    def write(folder: Path, days: int) -> None:
        built = int(time.time()) - days * 86400
        virus = (OWN_SIGNATURES / "eicar.ndb").read_bytes()
        stamp = time.strftime("%d %b %Y %H-%M +0000", time.gmtime(built))
        about = f"ClamAV-VDB:{stamp}:27800:1:90:X:X:test:{built}\ndaily.ndb:{len(virus)}:{sha256(virus).hexdigest()}\n"
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz", format=tarfile.USTAR_FORMAT) as tar:
            for name, content in (("daily.info", about.encode()), ("daily.ndb", virus)):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        body = packed.getvalue()
        head = f"ClamAV-VDB:{stamp}:27800:1:90:{md5(body, usedforsecurity=False).hexdigest()}:X:test:{built}"
        (folder / "daily.cud").write_bytes(head.encode().ljust(512) + body)

    return write
