"""What `leerlab doctor` says of the way into sandboxes: what is broken, what that means, and what to do."""

from __future__ import annotations

import asyncio
import io
import signal
import subprocess
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from base.errors import LeerlabError
from hub_config.run import scanner_health
from hub_config.run.scanner_health import see_scanner
from sandboxes.airlock.clamav import Scanner
from sandboxes.settings import SandboxSettings

pytestmark = pytest.mark.integration
Alone = tuple[Any, Callable[..., AbstractContextManager[subprocess.Popen[bytes]]]]
PLAIN = SandboxSettings(profile="cpu")


def told(settings: SandboxSettings, state: Any, *, real_people: bool = True) -> LeerlabError:
    with pytest.raises(LeerlabError) as found:
        see_scanner(settings, state, real_people=real_people)
    assert found.value.what and found.value.means and found.value.do, "what, what it means, what to do"
    return found.value


def test_a_demonstration_may_know_the_test_virus_alone_and_a_real_site_may_not(own_clamd: Alone) -> None:
    airlock, clamd = own_clamd
    with clamd():
        assert "only the test virus" in see_scanner(PLAIN, airlock.state, real_people=False)
        broken = told(PLAIN, airlock.state)
    assert "only the test virus" in broken.what and "sandboxes.signatures" in broken.do


@pytest.mark.fault
def test_a_scanner_that_is_gone_or_stands_still_is_named(own_clamd: Alone, monkeypatch: pytest.MonkeyPatch) -> None:
    airlock, clamd = own_clamd
    assert "does not answer" in told(PLAIN, airlock.state, real_people=False).what
    monkeypatch.setattr(scanner_health, "ANSWER_SECONDS", 1.0)
    with clamd() as scanner:
        scanner.send_signal(signal.SIGSTOP)
        broken = told(PLAIN, airlock.state, real_people=False)
        assert "no answer within 1 s" in broken.what and "clamd.log" in broken.do
        monkeypatch.undo()
        scanner.send_signal(signal.SIGCONT)
        assert "clamd answers" in see_scanner(PLAIN, airlock.state, real_people=False)


@pytest.mark.fault
def test_signatures_that_are_too_old_are_named_and_fresh_ones_are_well(
    own_clamd: Alone, dated_signatures: Callable[[Path, int], None]
) -> None:
    airlock, clamd = own_clamd
    signatures = airlock.state.root / "signatures"
    signatures.mkdir()
    settings = PLAIN.model_copy(update={"signatures": str(signatures)})
    for days in (30, 1):
        dated_signatures(signatures, days)
        with clamd(signatures):
            if days == 1:
                assert see_scanner(settings, airlock.state, real_people=True).endswith("signatures are fresh")
            else:
                broken = told(settings, airlock.state)
                assert "too old: 30 days" in broken.what and "freshclam" in broken.do


@pytest.mark.fault
def test_a_missing_file_program_is_named(own_clamd: Alone, monkeypatch: pytest.MonkeyPatch) -> None:
    airlock, clamd = own_clamd
    monkeypatch.setattr(scanner_health, "FILE_PROGRAM", "/usr/bin/file-is-not-here")
    with clamd():
        broken = told(PLAIN, airlock.state, real_people=False)
    assert "file-is-not-here" in broken.what and "Debian package" in broken.do


def test_what_the_scanner_cannot_look_into_passes_no_more_than_a_virus_and_is_called_what_it_is(
    own_clamd: Alone,
) -> None:
    airlock, clamd = own_clamd
    file = airlock.state.root / "f"
    with clamd():
        scanner = Scanner(airlock.state.run / "clamd.sock", airlock.state.root, None)
        locked = bytearray(zipped("a.csv", b"1,2\n" * 100))
        for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            locked[locked.index(mark) + flags] |= 1  # encrypted (APPNOTE.TXT, 4.4.4)
        file.write_bytes(locked)
        assert asyncio.run(scanner.finds(file)) == "encrypted"
        file.write_bytes(zipped("a.csv", b"1,2\n" * 100))
        assert asyncio.run(scanner.finds(file)) is None
        file.write_bytes(b"1,2\n" * (3 * 2**20))  # more than it takes at all
        with pytest.raises(LeerlabError):
            asyncio.run(scanner.finds(file))
    with clamd(changes={"MaxFileSize": 2**20}):
        file.write_bytes(b"1,2\n" * 2**19)
        assert asyncio.run(scanner.finds(file)) == "unreadable"


def zipped(name: str, content: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return made.getvalue()
