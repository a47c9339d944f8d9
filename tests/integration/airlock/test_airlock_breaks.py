"""What breaks while a file is on its way: process, disk, scanner, ledger. Nothing half arrives, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from base.disk_use import disk_use
from base.errors import LeerlabError
from ledger.transfers import Transfer, TransferState
from portal.boxes import Boxes
from portal.file_pages import FilePages
from sandboxes.airlock import clamav, quarantine
from sandboxes.airlock.clamav import Scanner, ScannerAway
from sandboxes.airlock.outgoing import Outgoing
from sandboxes.settings import SandboxSettings

pytestmark = [pytest.mark.integration, pytest.mark.fault, pytest.mark.timeout(120)]
Airlock = Any  # of conftest.py
Alone = tuple[Airlock, Callable[[], AbstractContextManager[subprocess.Popen[bytes]]]]
HERE = Path(__file__).parent
CODE = HERE.parents[2]
CSV = b"datum,waarde\n2026-01-01,3\n" * 1000


def wait_for(what: str, seen: Callable[[], Any], seconds: float = 30) -> None:
    """Look every few milliseconds: what is waited for may last no longer."""
    until = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < until, f"no {what} in {seconds} s"
        time.sleep(0.005)


@contextmanager
def receiving(airlock: Airlock, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of its own with the real quarantine, which takes in what it is written; `more` is its environment."""
    argv = [sys.executable, str(HERE / "receive.py"), str(airlock.state.root), airlock.sandbox.id, "meting.csv"]
    with subprocess.Popen(
        argv, env={**os.environ, "PYTHONPATH": str(CODE), **more}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        bufsize=0,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.wait(10)


def write(process: subprocess.Popen[bytes], content: bytes, *, end: bool = False) -> None:
    assert process.stdin
    process.stdin.write(content)
    if end:
        process.stdin.close()


def said(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout
    return process.stdout.readline().decode().strip()


def nothing_left(airlock: Airlock) -> bool:
    return list(airlock.folders.quarantine.iterdir()) == []


# -- the process


def test_killed_while_a_file_comes_nothing_of_it_stays(airlock: Airlock) -> None:
    with receiving(airlock) as process:
        write(process, CSV)
        assert said(process) == "begun"
        assert [path.stat().st_size for path in airlock.folders.quarantine.glob("*/data")] != [], "it was on its way"
        process.kill()
        process.wait(10)
    asyncio.run(airlock.quarantine.resume())
    (transfer,) = airlock.transfers.of(airlock.sandbox.id)
    assert (transfer.state, transfer.reason) == (TransferState.REFUSED, "broken-off")
    assert nothing_left(airlock) and airlock.inside() == {}
    with receiving(airlock) as process:  # Control: not killed, the same process lets the same file in.
        write(process, CSV, end=True)
        assert [said(process), said(process)] == ["begun", "arrived"]


@pytest.mark.parametrize("when", ["while its type is looked at", "while the scanner looks"])
def test_killed_while_a_file_is_checked_it_is_checked_anew_and_arrives(
    own_clamd: Alone, when: str, tmp_path: Path
) -> None:
    airlock, clamd = own_clamd
    # A look that takes as long as the test does.
    lasting = tmp_path / "look.py"
    lasting.write_text("import time\ntime.sleep(600)\n")
    more = {"LOOK": str(lasting)} if when == "while its type is looked at" else {}
    with clamd() as scanner:
        scanner.send_signal(signal.SIGSTOP)
        with receiving(airlock, **more) as process:
            write(process, CSV, end=True)
            me = psutil.Process(process.pid)
            wait_for("whole file", lambda: [one for one in airlock.transfers.of(airlock.sandbox.id) if one.sha256])
            if more:
                wait_for("look at its type", me.children)
            else:
                wait_for("look by the scanner", lambda: connected(airlock))
            inside = me.children(recursive=True)
            (waiting,) = airlock.transfers.of(airlock.sandbox.id)
            assert waiting.state is TransferState.CHECKING and waiting.sha256 and airlock.inside() == {}
            process.kill()
            process.wait(10)
        assert psutil.wait_procs(inside, 30)[1] == [], "what looked at the file ended with it"
        assert airlock.inside() == {}
        scanner.send_signal(signal.SIGCONT)
        asyncio.run(airlock.quarantine.resume())
    assert airlock.transfers.get(waiting.id).state is TransferState.ARRIVED
    assert airlock.inside() == {"meting.csv": CSV} and nothing_left(airlock)


def test_killed_after_a_refusal_was_written_down_its_file_does_not_stay(
    airlock: Airlock, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = shutil.rmtree
    monkeypatch.setattr(quarantine.shutil, "rmtree", lambda *_arguments, **_named: None)
    refused = airlock.send("leeg.csv", b"\0" * 10)
    assert refused.state is TransferState.REFUSED and not nothing_left(airlock)
    monkeypatch.setattr(quarantine.shutil, "rmtree", remove)
    asyncio.run(airlock.quarantine.resume())
    assert nothing_left(airlock)


# -- the disk


def test_a_disk_that_is_really_full_keeps_nothing_half_and_takes_the_next_file() -> None:
    """A whole site on a small disk of the test's own, in a user and mount namespace; the ledger is on it too."""
    folder = Path(f"/tmp/ll-disk-{os.getpid()}")
    folder.mkdir(mode=0o700)
    try:
        done = subprocess.run(
            ["/usr/bin/unshare", "--user", "--map-root-user", "--mount", "--",
             sys.executable, str(HERE / "small_disk.py"), str(folder)],
            env={**os.environ, "PYTHONPATH": str(CODE)}, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        found = json.loads(done.stdout.splitlines()[-1])
    finally:
        folder.rmdir()
    assert found["first"] == ["refused", "no-space"] and found["limit"] >= 8 * 2**20, "no other limit was near"
    assert found["left"] == [] and found["trail"]
    # Control: what fits arrives on the same disk, looked at and scanned.
    assert found["second"] == "arrived" and found["inside"] == ["klein.csv"]


# -- the scanner


def test_a_scanner_that_answers_too_late_lets_nothing_pass(own_clamd: Alone, monkeypatch: pytest.MonkeyPatch) -> None:
    airlock, clamd = own_clamd
    monkeypatch.setattr(clamav, "ANSWER_SECONDS", 1.0)
    with clamd() as scanner:
        scanner.send_signal(signal.SIGSTOP)
        waiting = airlock.send("meting.csv", CSV)
        assert waiting.state is TransferState.CHECKING and airlock.inside() == {}
        monkeypatch.undo()
        scanner.send_signal(signal.SIGCONT)
        asyncio.run(airlock.quarantine.resume())
        assert airlock.transfers.get(waiting.id).state is TransferState.ARRIVED


def test_a_scanner_that_dies_while_it_looks_lets_nothing_pass(own_clamd: Alone) -> None:
    airlock, clamd = own_clamd

    async def dies() -> Any:
        with clamd() as scanner:
            scanner.send_signal(signal.SIGSTOP)
            sending = asyncio.create_task(airlock.quarantine.receive(airlock.sandbox.id, "mila", "a.csv", once(CSV)))
            await asyncio.to_thread(wait_for, "look by the scanner", lambda: connected(airlock))
            scanner.kill()
            return await sending

    waiting = asyncio.run(dies())
    assert waiting.state is TransferState.CHECKING and airlock.inside() == {}
    asyncio.run(airlock.quarantine.resume())
    assert airlock.transfers.get(waiting.id).state is TransferState.CHECKING, "it is gone still"
    with clamd():
        asyncio.run(airlock.quarantine.resume())
    assert airlock.transfers.get(waiting.id).state is TransferState.ARRIVED


def connected(airlock: Airlock) -> bool:
    """Whether somebody's question waits at the scanner's socket, of which it cannot know while it stands still."""
    lines = Path("/proc/net/unix").read_text().splitlines()
    return len([line for line in lines if line.endswith(f" {airlock.state.run}/clamd.sock")]) > 1


async def once(content: bytes) -> AsyncIterator[bytes]:
    yield content


@pytest.mark.parametrize(("days", "passes"), [(1, True), (30, False)])
def test_the_age_of_signatures_is_what_the_scanner_has_loaded_not_what_a_file_looks_like(
    own_clamd: Alone, dated_signatures: Callable[[Path, int], None], days: int, passes: bool
) -> None:
    airlock, clamd = own_clamd
    signatures = airlock.state.root / "signatures"
    signatures.mkdir()
    dated_signatures(signatures, days)
    scanner = Scanner(airlock.state.run / "clamd.sock", signatures, 7 * 86400.0)
    file = airlock.state.root / "f"
    file.write_bytes(CSV)
    with clamd(signatures):
        if passes:
            assert asyncio.run(scanner.finds(file)) is None
        # Both ways round: a copy that has just been made, and one whose date was put back.
        for moment in (time.time(), 0.0):
            os.utime(signatures / "daily.cud", (moment, moment))
            if passes:
                asyncio.run(scanner.answers())
            else:
                with pytest.raises(ScannerAway, match="too old: 30 days"):
                    asyncio.run(scanner.finds(file))
        # Control: where age does not count, the same scanner answers.
        assert asyncio.run(Scanner(scanner.socket, signatures, None).finds(file)) is None


def test_signatures_that_carry_no_date_are_no_fresh_ones(airlock: Airlock, tmp_path: Path) -> None:
    scanner = Scanner(airlock.state.run / "clamd.sock", tmp_path, 7 * 86400.0)
    with pytest.raises(ScannerAway, match="does not say how old"):
        asyncio.run(scanner.answers())


# -- the ledger


@contextmanager
def locked(airlock: Airlock) -> Iterator[None]:
    """Another program writes into the ledger, for longer than anybody waits."""
    with closing(sqlite3.connect(airlock.state.ledger, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.rollback()


def test_a_ledger_that_another_program_holds_takes_no_file_in(airlock: Airlock) -> None:
    with locked(airlock), pytest.raises(LeerlabError, match="ledger"):
        airlock.send("meting.csv", CSV)
    assert list(airlock.transfers.of(airlock.sandbox.id)) == [] and nothing_left(airlock)
    assert airlock.send("meting.csv", CSV).state is TransferState.ARRIVED


def test_a_ledger_that_is_held_from_the_middle_of_a_file_on_leaves_nothing_half(airlock: Airlock) -> None:
    lock = locked(airlock)

    async def held() -> AsyncIterator[bytes]:
        yield CSV
        lock.__enter__()
        yield CSV

    with pytest.raises(LeerlabError, match="ledger"):
        asyncio.run(airlock.quarantine.receive(airlock.sandbox.id, "mila", "meting.csv", held()))
    assert airlock.inside() == {} and nothing_left(airlock)
    lock.__exit__(None, None, None)
    asyncio.run(airlock.quarantine.resume())
    (transfer,) = airlock.transfers.of(airlock.sandbox.id)
    assert (transfer.state, transfer.reason) == (TransferState.REFUSED, "broken-off")


def test_a_ledger_that_is_held_during_the_checks_loses_no_file(
    airlock: Airlock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, look = locked(airlock), quarantine.inspect

    def held(*arguments: Any, **named: Any) -> str | None:
        lock.__enter__()
        return look(*arguments, **named)

    monkeypatch.setattr(quarantine, "inspect", held)
    with pytest.raises(LeerlabError, match="ledger"):
        airlock.send("meting.csv", CSV)
    monkeypatch.undo()
    (transfer,) = airlock.transfers.of(airlock.sandbox.id)
    assert transfer.state is TransferState.CHECKING and airlock.inside() == {}, "not without its line in the record"
    asyncio.run(airlock.quarantine.resume())
    assert airlock.inside() == {}, "held still"
    lock.__exit__(None, None, None)
    asyncio.run(airlock.quarantine.resume())
    assert airlock.transfers.get(transfer.id).state is TransferState.ARRIVED
    assert airlock.inside() == {"meting.csv": CSV} and nothing_left(airlock)


# -- the others


@pytest.mark.attack
@pytest.mark.parametrize("defended", [True, False], ids=["", "without a line for each sandbox"])
def test_a_company_that_sends_many_slow_files_keeps_no_other_waiting(
    airlock: Airlock, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    """Looking at a file of the one takes as long as it may, or until the other's has arrived."""
    other = airlock.life.request("kees", airlock.request("Kaas"))
    arrived, look = threading.Event(), quarantine.inspect
    began: list[str] = []
    longest = 60 if defended else 2  # seconds: in the first case nobody waits for all of it

    def slow(file: Path, name: str, **limits: Any) -> str | None:
        began.append(name)
        if name.startswith("traag"):
            arrived.wait(longest)
        return look(file, name, **limits)

    monkeypatch.setattr(quarantine, "inspect", slow)
    shared = airlock.quarantine
    if not defended:
        monkeypatch.setattr(shared._turns, "_own", Every())

    async def both() -> int:
        flood = [
            asyncio.create_task(shared.receive(airlock.sandbox.id, "mila", f"traag{number}.csv", once(CSV)))
            for number in range(6)
        ]
        await asyncio.to_thread(wait_for, "the flood", lambda: len(airlock.transfers.of(airlock.sandbox.id)) == 6)
        await asyncio.to_thread(wait_for, "the first look", lambda: began)
        if not defended:
            await asyncio.to_thread(wait_for, "the flood in the line", lambda: all_stored(airlock))
            await asyncio.sleep(0.2)
        sent = await shared.receive(other.id, "kees", "kaas.csv", once(CSV))
        assert sent.state is TransferState.ARRIVED
        before = len(began) - 1
        arrived.set()
        assert {one.state for one in await asyncio.gather(*flood)} == {TransferState.ARRIVED}
        return before

    before = asyncio.run(both())
    assert before == 1 if defended else before > 2, f"{before} files of the flood came first"


def all_stored(airlock: Airlock) -> bool:
    """Whether every file that has begun to come is here whole."""
    return all(one.sha256 for one in airlock.transfers.of(airlock.sandbox.id))


def test_a_file_that_has_just_begun_to_come_is_not_taken_for_one_that_was_broken_off(
    airlock: Airlock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread sees it in the ledger before its own has come back from there."""
    shared, written = airlock.quarantine, threading.Event()
    begin = shared._transfers.begin

    def slow(*given: Any) -> Transfer:
        made: Transfer = begin(*given)
        written.set()
        time.sleep(0.5)
        return made

    monkeypatch.setattr(shared._transfers, "begin", slow)

    async def both() -> Transfer:
        coming = asyncio.create_task(shared.receive(airlock.sandbox.id, "mila", "meting.csv", once(CSV)))
        await asyncio.to_thread(written.wait, 10)
        await shared.resume()
        return await coming

    assert asyncio.run(both()).state is TransferState.ARRIVED and airlock.inside() == {"meting.csv": CSV}


class Every(dict[str, asyncio.Lock]):
    """No line for each sandbox: everybody finds a free lock."""

    def setdefault(self, _key: str, default: Any = None) -> Any:
        return default


@pytest.mark.attack
def test_a_sandbox_has_only_so_many_files_in_the_line(airlock: Airlock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "MOST_CHECKING", 2)
    monkeypatch.setattr(clamav, "ANSWER_SECONDS", 0.0)  # none gets through, so all of them stay in the line
    assert [airlock.send(f"{number}.csv", CSV).state for number in range(2)] == [TransferState.CHECKING] * 2
    with pytest.raises(LeerlabError, match="are being checked"):
        airlock.send("nog.csv", CSV)
    other = airlock.life.request("kees", airlock.request("Kaas"))
    shared = airlock.quarantine

    async def at_once() -> list[Transfer | BaseException]:
        sent = (shared.receive(other.id, "kees", f"{number}.csv", once(CSV)) for number in range(5))
        return await asyncio.gather(*sent, return_exceptions=True)

    sent = asyncio.run(at_once())
    waiting = [one for one in sent if isinstance(one, Transfer) and one.state is TransferState.CHECKING]
    assert len(waiting) == 2, "another sandbox's line is its own, and as long when all come at once"
    monkeypatch.undo()
    # Control: with room in the line the file goes in.
    assert airlock.send("nog.csv", CSV).state is TransferState.ARRIVED


@pytest.mark.attack
@pytest.mark.parametrize("defended", [True, False], ids=["", "without taking them one after the other"])
def test_files_that_come_together_take_no_more_room_than_one_after_the_other(
    airlock: Airlock, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    """The sandbox may take 64 MB and has 50: of five files of 6 MB two fit."""
    (airlock.folders.files / "vol").write_bytes(os.urandom(50 * 2**20))
    shared, content = airlock.quarantine, b"1,2\n" * (6 * 2**18)
    if not defended:
        monkeypatch.setattr(shared, "_arriving", Every())

    coming: list[int] = []

    async def slowly() -> AsyncIterator[bytes]:
        coming.append(1)
        if defended:
            await asyncio.sleep(0.5)
        while not defended and len(coming) < 5:  # noqa: ASYNC110  # the others fill it
            await asyncio.sleep(0.01)
        yield content

    async def together() -> list[str]:
        sent = (shared.receive(airlock.sandbox.id, "mila", f"{number}.csv", slowly()) for number in range(5))
        return [_became(one) for one in await asyncio.gather(*sent, return_exceptions=True)]

    became = asyncio.run(together())
    taken = disk_use(airlock.folders.root).bytes
    if defended:
        assert sorted(became) == ["arrived", "arrived", "full", "full", "full"] and taken < 64 * 2**20
    else:
        assert became.count("arrived") > 2 and taken > 64 * 2**20


def _became(sent: Transfer | BaseException) -> str:
    if isinstance(sent, BaseException):
        raise sent
    return sent.reason or sent.state.value


@pytest.mark.attack
@pytest.mark.parametrize("defended", [True, False], ids=["", "in the threads of all pages"])
def test_a_company_that_takes_many_large_files_out_keeps_no_page_waiting(
    airlock: Airlock, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    """Copying a file takes a while, or until the other company's page is there."""
    other = airlock.life.request("kees", airlock.request("Kaas"))
    (airlock.folders.files / "groot.csv").write_bytes(CSV)
    there, copying = threading.Event(), list[str]()
    longest = 60 if defended else 2  # seconds: in the first case nobody waits for all of it

    class Slow(Outgoing):
        def _copy(self, files: Path, path: str, copy: Path) -> tuple[int, str]:
            copying.append(path)
            there.wait(longest)
            return super()._copy(files, path, copy)

    outgoing: Any = Slow(airlock.life.ledger, airlock.transfers, airlock.state, SandboxSettings(profile="cpu"))
    boxes = Boxes(airlock.life, SandboxSettings(profile="cpu"), None, None)  # type: ignore[arg-type]
    parts: Any = {"quarantine": None, "scanner": None, "taking": None}
    pages = FilePages(boxes, airlock.transfers, outgoing=outgoing, **parts)
    if not defended:
        monkeypatch.setattr(boxes, "call_long", lambda _sandbox, act, *given: boxes.call(act, *given))
    request: Any = SimpleNamespace(path_params={"sandbox": airlock.sandbox.id})

    async def both() -> float:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(4))
        mila: Any = SimpleNamespace(name="mila")
        flood = [asyncio.create_task(pages.ask(request, mila, {"path": "groot.csv"})) for _ in range(6)]
        while not copying:  # noqa: ASYNC110  # another thread fills it
            await asyncio.sleep(0.01)
        began = time.monotonic()
        await boxes.get(other.id, "kees")
        took = time.monotonic() - began
        there.set()
        await asyncio.gather(*flood)
        return took

    took = asyncio.run(both())
    assert len(copying) == 6
    assert took < longest / 2 if defended else took > 1, f"the page took {took:.1f} s"
