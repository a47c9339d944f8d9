"""Files on their way into and out of a sandbox: what arrives, what is refused, and that nothing passes unchecked."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from base.errors import InputError, LeerlabError
from ledger.sandboxes import NoSuchSandbox, NotPossibleNow
from ledger.transfers import TransferState
from sandboxes.airlock import examine, outgoing, quarantine
from sandboxes.airlock.clamav import Scanner
from sandboxes.airlock.inspect import PROGRAM, inspect
from sandboxes.airlock.leaving import NotWhatWasAgreed
from sandboxes.airlock.names import is_fit, numbered

pytestmark = pytest.mark.integration
Airlock = Any  # of conftest.py
CSV = b"datum,waarde\n2026-01-01,3\n2026-01-02,4\n"
EICAR = bytes.fromhex(
    "58354f2150254041505b345c505a58353428505e2937434329377d2445494341522d5354414e444152442d414e544956495255532d544553542d46"
    "494c452124482b482a"
)
LIMITS = {"unpacked": 32 * 2**20, "ratio": 200, "entries": 10_000}


def zipped(**files: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


def tarred(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for entry, content in entries:
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return made.getvalue()


# -- the way in


def test_a_clean_file_arrives_whole_with_its_hash(airlock: Airlock) -> None:
    arrived = airlock.send("meting.csv", CSV)
    assert arrived.state is TransferState.ARRIVED
    assert airlock.inside() == {"meting.csv": CSV}
    assert arrived.size == len(CSV) and arrived.sha256 == hashlib.sha256(CSV).hexdigest()
    assert airlock.actions(arrived.id) == ["transfer.checking", "transfer.received", "transfer.arrived"]
    assert not airlock.quarantine.folder(arrived).exists()
    mode = (airlock.folders.incoming / "meting.csv").stat()
    assert mode.st_mode & 0o777 == 0o600 and mode.st_nlink == 1


def test_a_name_that_is_taken_gets_a_number_and_nothing_is_overwritten(airlock: Airlock) -> None:
    airlock.send("meting.csv", CSV)
    second = airlock.send("meting.csv", CSV + b"2026-01-03,5\n")
    assert second.name == "meting (2).csv"
    assert airlock.inside() == {"meting.csv": CSV, "meting (2).csv": CSV + b"2026-01-03,5\n"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", b'{"a": 1}'), ("a.txt", b"tekst"), ("a.zip", zipped(**{"a.csv": CSV, "map/b.txt": b"b"})),
        ("a.tar", tarred((tarfile.TarInfo("a.csv"), CSV))),
        ("a.tar.gz", gzip.compress(tarred((tarfile.TarInfo("a"), CSV)))),
        ("a.ipynb", json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_ordinary_files_of_each_kind_arrive(airlock: Airlock, name: str, content: bytes) -> None:
    assert airlock.send(name, content).state is TransferState.ARRIVED


@pytest.mark.parametrize(
    "name", ["../a.csv", "a/b.csv", ".a.csv", "-a.csv", "a\n.csv", "", "x" * 130 + ".csv", "e\u0301.csv"]
)
def test_a_name_that_a_file_cannot_have_is_refused_at_once(airlock: Airlock, name: str) -> None:
    with pytest.raises(InputError):
        airlock.send(name, CSV)
    assert airlock.transfers.of(airlock.sandbox.id) == []


def test_numbers_go_before_the_extension() -> None:
    assert [numbered("a.csv", 1), numbered("a.csv", 2), numbered("a", 3)] == ["a.csv", "a (2).csv", "a (3)"]
    assert is_fit("Meting pomp 3, mei.csv")


def test_limits_of_size_and_room_hold_while_the_file_comes(airlock: Airlock) -> None:
    assert airlock.send("groot.csv", b"1,2\n" * (2**21 + 1)).reason == "too-large"
    (airlock.folders.files / "vol").write_bytes(os.urandom(60 * 2**20))
    assert airlock.send("nog.csv", b"1,2\n" * 2**20 + b"12,3").reason == "full"
    assert airlock.inside() == {}
    assert list(airlock.folders.quarantine.iterdir()) == []


# -- attacks on the way in


def refused(airlock: Airlock, name: str, content: bytes, reason: str) -> None:
    transfer = airlock.send(name, content)
    assert (transfer.state, transfer.reason) == (TransferState.REFUSED, reason)
    assert airlock.inside() == {}
    assert not airlock.quarantine.folder(transfer).exists()


def passes_without(path: Path, name: str, content: bytes, limits: dict[str, int] = LIMITS) -> None:
    """The control: the same file in the same examination, with what the test has taken away."""
    path.write_bytes(content)
    examine.examine(str(path), name, limits)


@pytest.mark.attack
@pytest.mark.parametrize(
    "content",
    [b"a,b\n1,\x1b[2J2\n", b"#!/bin/sh\n\x00\x01", "a,b\n\a".encode("utf-16"), b"a,\x81\n1,2\n"],
    ids=["terminal", "program", "utf-16 with a bell", "no encoding"],
)
def test_text_is_text_and_nothing_in_disguise(
    airlock: Airlock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    refused(airlock, "lijst.csv", content, "disguised")
    monkeypatch.setattr(examine, "TEXTS", ())
    monkeypatch.setitem(examine.TYPES, "csv", ("text/", "application/"))
    passes_without(tmp_path / "f", "lijst.csv", content)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_text_comes_in_whatever_its_encoding(airlock: Airlock, encoding: str) -> None:
    assert airlock.send("prijs.csv", "dag;prijs\n1;€ 3\n".encode(encoding)).state is TransferState.ARRIVED


@pytest.mark.attack
def test_a_virus_is_refused_plain_and_in_an_archive(airlock: Airlock, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(airlock, "brief.txt", EICAR, "virus")
    refused(airlock, "brief.zip", zipped(**{"map/brief.txt": EICAR}), "virus")

    async def nothing(_scanner: Scanner, _file: Path) -> None:
        return None

    monkeypatch.setattr(Scanner, "finds", nothing)
    assert airlock.send("brief.txt", EICAR).state is TransferState.ARRIVED


@pytest.mark.attack
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_virus_at_the_end_of_a_large_file_in_a_small_archive_is_found(own_clamd: Any, kind: str) -> None:
    """Larger than an upload may be, small when packed: of such a file clamd would see the beginning only."""
    airlock, clamd = own_clamd
    word = b"zo-begint-geen-meting"
    signatures = airlock.state.root / "signatures"
    signatures.mkdir()
    (signatures / "word.ndb").write_text(f"Word:0:*:{word.hex()}\n")
    # Packed to about a twentieth: less is taken for a bomb.
    large = b"".join(os.urandom(1000).hex().encode() + b"\n" + b"3,14\n" * 8000 for _ in range(600))
    made = {
        end: zipped(**{"meting.csv": large + end})
        if kind == "zip"
        else gzip.compress(tarred((tarfile.TarInfo("meting.csv"), large + end)), 6)
        for end in (b"", word)
    }
    upload = 8 * 2**20
    assert len(large) > upload > len(made[word])
    with clamd(signatures):
        assert airlock.send(f"met.{kind}", made[word]).reason == "virus"
        assert airlock.send(f"zonder.{kind}", made[b""]).state is TransferState.ARRIVED
    # Control: a clamd that looks at files as large as an upload, and no larger.
    with clamd(signatures, {"MaxFileSize": upload, "AlertExceedsMax": "no"}):
        assert airlock.send(f"met.{kind}", made[word]).state is TransferState.ARRIVED


@pytest.mark.attack
def test_a_bomb_is_refused_also_when_its_headers_lie(airlock: Airlock, tmp_path: Path) -> None:
    bomb = zipped(a=bytes(64 * 2**20))
    refused(airlock, "bom.zip", bomb, "bomb")
    refused(airlock, "bom.tar.gz", gzip.compress(tarred((tarfile.TarInfo("a"), bytes(40 * 2**20)))), "bomb")
    # The sizes in the headers are no witness: the same bomb that says it is one byte long.
    small = bytearray(bomb)
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = small.index(mark) + offset
        small[at : at + 4] = (1).to_bytes(4, "little")
    transfer = airlock.send("liegt.zip", bytes(small))
    assert transfer.state is TransferState.REFUSED and transfer.reason in ("bomb", "broken")
    passes_without(tmp_path / "f", "bom.zip", bomb, {**LIMITS, "ratio": 10**6, "unpacked": 2**40})


@pytest.mark.attack
def test_a_name_that_fills_the_memory_is_refused(airlock: Airlock, tmp_path: Path) -> None:
    """A tar archive says by itself how long an entry's name is: gigabytes, in a few megabytes of gzip."""
    name = tarfile.TarInfo("././@LongLink")
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, 400 * 2**20
    bomb = tmp_path / "bomb"
    with gzip.open(bomb, "wb", compresslevel=1) as packed:
        packed.write(name.tobuf(tarfile.GNU_FORMAT))
        for _ in range(400):
            packed.write(b"a" * 2**20)
        packed.write(tarred((tarfile.TarInfo("x"), CSV)))
    assert memory_of(str(PROGRAM), str(bomb), "bom.tar.gz", json.dumps(LIMITS)) < examine.MEMORY
    refused(airlock, "bom.tar.gz", bomb.read_bytes(), "bomb")
    # The control: the same look without a bound takes what the archive asks for, and finds nothing wrong.
    code = (
        "import json, sys; sys.path.append(sys.argv[1]); import examine; "
        "examine.examine(*sys.argv[2:4], json.loads(sys.argv[4]))"
    )
    assert memory_of("-c", code, str(PROGRAM.parent), str(bomb), "bom.tar.gz", json.dumps(LIMITS)) > 2 * examine.MEMORY


def memory_of(*arguments: str) -> int:
    """Most bytes of memory that a run of Debian's Python had; it must end well.

    It is started by a small process: Linux counts for it what its parent had when it was forked, too.
    """
    code = (
        "import resource, subprocess, sys; "
        "subprocess.run([sys.executable, '-I', *sys.argv[1:]], stdout=subprocess.DEVNULL, check=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)"
    )
    command = ["/usr/bin/python3", "-I", "-c", code, *arguments]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.attack
def test_an_archive_in_an_archive_is_refused(airlock: Airlock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nested = zipped(**{"binnen.zip": zipped(a=b"a")})
    refused(airlock, "buiten.zip", nested, "nested")
    monkeypatch.setattr(examine, "ARCHIVES", ())
    monkeypatch.setattr(examine, "ARCHIVES_BEGIN", (b"none",))
    passes_without(tmp_path / "f", "buiten.zip", nested)
    monkeypatch.undo()
    # By its own first bytes, whatever it is called.
    refused(airlock, "buiten.zip", zipped(**{"b.dat": zipped(a=b"a")}), "nested")
    refused(airlock, "buiten.tar", tarred((tarfile.TarInfo("b.dat"), gzip.compress(b"a"))), "nested")
    refused(airlock, "buiten.zip", zipped(**{"b.dat": tarred((tarfile.TarInfo("a"), CSV))}), "nested")


@pytest.mark.attack
@pytest.mark.parametrize("name", ["../../weg.csv", "/etc/cron.d/weg", "..\\weg.csv", "C:weg.csv"])
def test_an_entry_that_leaves_its_folder_is_refused(
    airlock: Airlock, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(airlock, "weg.zip", zipped(**{name: CSV}), "leaves-folder")
    monkeypatch.setattr(examine, "look_at_name", lambda *_arguments, **_named: None)
    passes_without(tmp_path / "f", "weg.zip", zipped(**{name: CSV}))


@pytest.mark.attack
@pytest.mark.parametrize(
    ("kind", "reason"), [(tarfile.SYMTYPE, "link"), (tarfile.LNKTYPE, "link"), (tarfile.CHRTYPE, "special")]
)
def test_links_and_devices_in_archives_are_refused(airlock: Airlock, kind: bytes, reason: str) -> None:
    entry = tarfile.TarInfo("x")
    entry.type, entry.linkname = kind, "/etc/passwd"
    refused(airlock, "x.tar", tarred((entry, b"")), reason)
    # Control: an ordinary entry of the same name.
    assert airlock.send("x.tar", tarred((tarfile.TarInfo("x"), CSV))).state is TransferState.ARRIVED


@pytest.mark.attack
def test_a_link_in_a_zip_is_refused(airlock: Airlock) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        entry = zipfile.ZipInfo("x")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    refused(airlock, "x.zip", made.getvalue(), "link")
    assert airlock.send("x.zip", zipped(x=b"/etc/passwd")).state is TransferState.ARRIVED


@pytest.mark.attack
def test_a_type_in_disguise_is_refused(airlock: Airlock) -> None:
    program = Path("/usr/bin/true").read_bytes()
    refused(airlock, "meting.csv", program, "disguised")
    refused(airlock, "plaatje.png", b"<html><script>1</script></html>", "disguised")
    refused(airlock, "prog.exe", program, "type")
    refused(airlock, "meting.parquet", b"PAR1" + program, "disguised")
    # Control: with an extension and contents that agree.
    assert airlock.send("meting.csv", CSV).state is TransferState.ARRIVED


@pytest.mark.attack
def test_a_file_of_two_types_is_refused(airlock: Airlock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = b"%PDF-1.4\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF\n" + zipped(a=b"a")
    refused(airlock, "rapport.pdf", both, "two-types")
    monkeypatch.setattr(zipfile, "is_zipfile", lambda _path: False)
    passes_without(tmp_path / "f", "rapport.pdf", both)


@pytest.mark.attack
def test_a_spreadsheet_with_macros_is_refused(airlock: Airlock) -> None:
    plain = {"[Content_Types].xml": b"<Types/>", "xl/workbook.xml": b"<workbook/>"}
    refused(airlock, "som.xlsx", zipped(**plain, **{"xl/vbaProject.bin": b"macro"}), "macros")
    assert airlock.send("som.xlsx", zipped(**plain)).state is TransferState.ARRIVED


@pytest.mark.attack
def test_a_member_who_swaps_the_folder_for_a_link_gets_nothing_put_elsewhere(airlock: Airlock, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.rmtree(airlock.folders.incoming)
    airlock.folders.incoming.symlink_to(elsewhere)
    arrived = airlock.send("meting.csv", CSV)
    assert list(elsewhere.iterdir()) == []
    assert (airlock.folders.files / "meting.csv").read_bytes() == CSV and arrived.state is TransferState.ARRIVED
    # Control: a plain write through the same name would have gone there.
    (airlock.folders.incoming / "x").write_bytes(CSV)
    assert (elsewhere / "x").exists()


@pytest.mark.attack
def test_what_looks_at_a_file_reaches_nothing(
    airlock: Airlock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As if a file had taken over the program that looks at it."""
    program = tmp_path / "taken_over.py"
    program.write_text(
        "import json, os, socket\n"
        f"reached = os.path.exists({str(airlock.state.ledger)!r})\n"
        "try:\n    socket.create_connection(('127.0.0.1', 22), 1); reached = True\n"
        "except OSError as error:\n    reached = reached or error.errno not in (111, 101)\n"
        "try:\n    open('/srv/file', 'ab').write(b'x'); reached = True\nexcept OSError: pass\n"
        "print(json.dumps({'refused': 'bomb' if reached else 'empty'}))\n"
    )
    file = tmp_path / "f"
    file.write_bytes(CSV)
    monkeypatch.setattr("sandboxes.airlock.inspect.PROGRAM", program)
    assert inspect(file, "f.csv", unpacked=2**20, seccomp=airlock.state.generated / "seccomp.bpf") == "empty"
    assert file.read_bytes() == CSV


@pytest.mark.attack
def test_only_members_send_and_only_while_they_are(airlock: Airlock) -> None:
    for person in ("spion", "bram"):
        if person == "bram":
            assert airlock.send("a.csv", CSV, "bram").state is TransferState.ARRIVED
            airlock.life.ledger.remove(airlock.sandbox.id, "bram", "mila")
        with pytest.raises(NoSuchSandbox):
            airlock.send("b.csv", CSV, person)
    assert set(airlock.inside()) == {"a.csv"}


# -- faults on the way in


@pytest.mark.fault
def test_without_a_scanner_a_file_waits_and_passes_once_it_is_back(
    airlock: Airlock, no_scanner: Callable[[], None]
) -> None:
    waiting = airlock.send("meting.csv", CSV)
    assert waiting.state is TransferState.CHECKING and airlock.inside() == {}
    asyncio.run(airlock.quarantine.resume())
    assert airlock.transfers.get(waiting.id).state is TransferState.CHECKING
    no_scanner()
    asyncio.run(airlock.quarantine.resume())
    assert airlock.transfers.get(waiting.id).state is TransferState.ARRIVED
    assert airlock.inside() == {"meting.csv": CSV}


@pytest.mark.fault
def test_a_connection_that_breaks_leaves_only_a_line_in_the_record(airlock: Airlock) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield CSV
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        asyncio.run(airlock.quarantine.receive(airlock.sandbox.id, "mila", "half.csv", breaking()))
    (transfer,) = airlock.transfers.of(airlock.sandbox.id)
    assert (transfer.state, transfer.reason) == (TransferState.REFUSED, "broken-off")
    assert list(airlock.folders.quarantine.iterdir()) == [] and airlock.inside() == {}


@pytest.mark.fault
def test_killed_before_the_checks_a_file_is_checked_by_the_next_process(
    airlock: Airlock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def killed(*_arguments: object) -> None:
        raise SystemExit

    monkeypatch.setattr(quarantine.Quarantine, "_check", killed)
    monkeypatch.setattr(quarantine.Quarantine, "_refuse", lambda *_arguments: None)
    with pytest.raises(SystemExit):
        airlock.send("brief.txt", EICAR)
    monkeypatch.undo()
    asyncio.run(airlock.quarantine.resume())
    (transfer,) = airlock.transfers.of(airlock.sandbox.id)
    assert (transfer.state, transfer.reason) == (TransferState.REFUSED, "virus") and airlock.inside() == {}


@pytest.mark.fault
@pytest.mark.parametrize("linked", [False, True], ids=["before the link", "after the link"])
def test_killed_between_the_ledger_and_the_folder_a_file_arrives_once(
    airlock: Airlock, monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    place = quarantine.Quarantine._link

    def killed(self: Any, source: Path, folder: int, transfer: Any) -> None:
        if linked:
            place(self, source, folder, transfer)
        raise SystemExit

    monkeypatch.setattr(quarantine.Quarantine, "_link", killed)
    with pytest.raises(SystemExit):
        airlock.send("meting.csv", CSV)
    monkeypatch.undo()
    asyncio.run(airlock.quarantine.resume())
    assert airlock.inside() == {"meting.csv": CSV}
    assert list(airlock.folders.quarantine.iterdir()) == []


# -- the way out


def asked(airlock: Airlock, content: bytes = b"uitkomst") -> Any:
    (airlock.folders.files / "uit.md").write_bytes(content)
    return airlock.outgoing.ask(airlock.sandbox.id, "mila", "uit.md")


def test_a_file_leaves_after_a_second_members_yes(airlock: Airlock) -> None:
    transfer = asked(airlock)
    with pytest.raises(NotPossibleNow, match="not been approved"):
        airlock.outgoing.fetch(transfer.id, "mila")
    airlock.outgoing.decide(transfer.id, "bram", yes=True)
    fetched, leaving = airlock.outgoing.fetch(transfer.id, "mila")
    with leaving:
        assert b"".join(leaving.pieces()) == b"uitkomst" and fetched.name == "uit.md"
    assert airlock.actions(transfer.id) == ["transfer.asked", "transfer.approved", "transfer.fetched"]
    assert {entry.details["sha256"] for entry in airlock.ledger.entries(subject=transfer.id)} == {transfer.sha256}


def test_a_no_is_final_and_takes_the_copy_away(airlock: Airlock) -> None:
    transfer = asked(airlock)
    declined = airlock.outgoing.decide(transfer.id, "bram", yes=False, reason="staat een naam in")
    assert declined.reason == "staat een naam in"
    assert list(airlock.folders.outgoing.iterdir()) == []
    with pytest.raises(NotPossibleNow):
        airlock.outgoing.decide(transfer.id, "bram", yes=True)
    assert "staat een naam in" not in "".join(str(entry) for entry in airlock.ledger.entries())


@pytest.mark.attack
def test_nobody_approves_their_own_file(airlock: Airlock) -> None:
    transfer = asked(airlock)
    with pytest.raises(NotPossibleNow, match="yourself"):
        airlock.outgoing.decide(transfer.id, "mila", yes=True)
    assert airlock.outgoing.decide(transfer.id, "bram", yes=True).state is TransferState.APPROVED


@pytest.mark.attack
def test_a_removed_member_and_a_stranger_neither_approve_nor_fetch(airlock: Airlock) -> None:
    transfer = asked(airlock)
    airlock.life.ledger.remove(airlock.sandbox.id, "bram", "mila")
    for person in ("bram", "spion"):
        with pytest.raises(NoSuchSandbox):
            airlock.outgoing.decide(transfer.id, person, yes=True)
        with pytest.raises(NoSuchSandbox):
            airlock.outgoing.fetch(transfer.id, person)
    airlock.life.join(airlock.life.invite(airlock.sandbox.id, "mila"), "bram")
    assert airlock.outgoing.decide(transfer.id, "bram", yes=True).state is TransferState.APPROVED


@pytest.mark.attack
def test_what_leaves_is_what_was_approved(airlock: Airlock) -> None:
    transfer = asked(airlock)
    airlock.outgoing.decide(transfer.id, "bram", yes=True)
    # The member's own file may change: another one was agreed to.
    (airlock.folders.files / "uit.md").write_bytes(b"geheim")
    with airlock.outgoing.fetch(transfer.id, "mila")[1] as leaving:
        assert b"".join(leaving.pieces()) == b"uitkomst"
    # Should the copy itself change, nothing leaves.
    (airlock.folders.outgoing / transfer.id).write_bytes(b"geheim")
    with pytest.raises(LeerlabError, match="not what was approved"):
        airlock.outgoing.fetch(transfer.id, "mila")


def put_another(copy: Path) -> None:
    copy.with_name("ander").write_bytes(b"geheim" * 2**19)
    copy.with_name("ander").rename(copy)


def write_into(copy: Path) -> None:
    with copy.open("r+b") as file:
        file.seek(2**21)
        file.write(b"geheim")


def cut_off(copy: Path) -> None:
    os.truncate(copy, 2**20 + 5)


@pytest.mark.attack
@pytest.mark.parametrize("swap", [put_another, write_into, cut_off])
def test_nothing_else_leaves_when_the_copy_is_swapped_after_it_was_checked(
    airlock: Airlock, swap: Callable[[Path], None]
) -> None:
    agreed = os.urandom(3 * 2**20)
    transfer = asked(airlock, agreed)
    airlock.outgoing.decide(transfer.id, "bram", yes=True)
    copy = airlock.folders.outgoing / transfer.id
    with airlock.outgoing.fetch(transfer.id, "mila")[1] as leaving:
        pieces, sent = leaving.pieces(), b""
        sent += next(pieces)
        swap(copy)
        with suppress(NotWhatWasAgreed):
            sent += b"".join(pieces)
    assert agreed.startswith(sent), "not one byte that nobody agreed to"
    # Control: a response that opens the copy by its name now would send something else.
    assert copy.read_bytes() != agreed


@pytest.mark.attack
def test_no_path_leads_out_of_the_shared_folder(airlock: Airlock, tmp_path: Path) -> None:
    other = airlock.life.folders("aaaaaaaa")
    other.make()
    (other.files / "uit.md").write_bytes(b"geheim van de buren")
    files = airlock.folders.files
    (files / "link.md").symlink_to(other.files / "uit.md")
    (files / "map").symlink_to(other.files)
    os.link(other.files / "uit.md", files / "hard.md")
    os.mkfifo(files / "pijp.md")
    for path in ("link.md", "map/uit.md", "hard.md", "pijp.md", "../quarantine", "../../aaaaaaaa/files/uit.md",
                 str(other.files / "uit.md"), "bestaat-niet.md"):  # fmt: skip
        with pytest.raises(InputError):
            airlock.outgoing.ask(airlock.sandbox.id, "mila", path)
    assert airlock.transfers.of(airlock.sandbox.id) == [] and list(airlock.folders.outgoing.iterdir()) == []
    # Control: reading by name follows the link.
    assert (files / "link.md").read_bytes() == b"geheim van de buren"


@pytest.mark.attack
def test_a_transfer_of_another_sandbox_is_not_found(airlock: Airlock) -> None:
    transfer = asked(airlock)
    other = airlock.life.request("concurrent", airlock.request("Anders"))
    assert other.id != airlock.sandbox.id
    for act in (airlock.outgoing.fetch, lambda t, p: airlock.outgoing.decide(t, p, yes=True)):
        with pytest.raises(NoSuchSandbox):
            act(transfer.id, "concurrent")
    incoming = airlock.send("in.csv", CSV)
    with pytest.raises(NoSuchSandbox):
        airlock.outgoing.fetch(incoming.id, "mila")


def test_an_approval_does_not_last_for_ever(airlock: Airlock, monkeypatch: pytest.MonkeyPatch) -> None:
    transfer = asked(airlock)
    airlock.outgoing.decide(transfer.id, "bram", yes=True)
    with airlock.outgoing.fetch(transfer.id, "bram")[1]:
        pass
    monkeypatch.setattr(outgoing, "OPEN_FOR", timedelta(0))
    with pytest.raises(NotPossibleNow, match="too long ago"):
        airlock.outgoing.fetch(transfer.id, "mila")


def days_ago(airlock: Airlock, transfer: str, **days: int) -> None:
    """Let time pass: columns of a transfer, by how many days ago they were written."""
    with closing(sqlite3.connect(airlock.state.ledger)) as ledger:
        for column, ago in days.items():
            moment = (datetime.now(UTC) - timedelta(days=ago)).isoformat()
            ledger.execute(f"UPDATE transfer SET {column} = ? WHERE id = ?", [moment, transfer])
        ledger.commit()


def test_the_time_to_fetch_begins_with_the_yes(airlock: Airlock) -> None:
    transfer = asked(airlock)
    days_ago(airlock, transfer.id, asked=6)
    airlock.outgoing.decide(transfer.id, "bram", yes=True)
    days_ago(airlock, transfer.id, asked=12, decided=6)
    os.utime(airlock.folders.outgoing / transfer.id, (0, 0))
    asked(airlock)  # tidies up
    with airlock.outgoing.fetch(transfer.id, "mila")[1] as leaving:
        assert b"".join(leaving.pieces()) == b"uitkomst"
    days_ago(airlock, transfer.id, decided=8)
    with pytest.raises(NotPossibleNow, match="too long ago"):
        airlock.outgoing.fetch(transfer.id, "mila")
    asked(airlock)
    assert not (airlock.folders.outgoing / transfer.id).exists(), "nobody can fetch it, so it takes no room"


def test_a_question_that_nobody_answers_is_no_question_for_ever(airlock: Airlock) -> None:
    transfer = asked(airlock)
    days_ago(airlock, transfer.id, asked=8)
    with pytest.raises(NotPossibleNow, match="too long ago"):
        airlock.outgoing.decide(transfer.id, "bram", yes=True)
    assert airlock.transfers.get(transfer.id).state is TransferState.ASKED


def test_files_to_take_out_are_listed_newest_first_without_what_programs_keep(
    airlock: Airlock, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = airlock.folders.files
    (files / "werk/__pycache__").mkdir(parents=True)
    (files / "werk/__pycache__/a.pyc").write_bytes(b"a")
    (files / "werk/.verborgen").write_bytes(b"a")
    for number in range(1000):
        path = files / f"werk/meting-{number:04}.csv"
        path.write_bytes(b"a")
        os.utime(path, (2_000_000_000 + number, 2_000_000_000 + number))
    listed = airlock.outgoing.files(airlock.sandbox.id, "mila")
    assert listed == [f"werk/meting-{number:04}.csv" for number in range(999, 999 - outgoing.MOST_SHOWN, -1)]
    monkeypatch.setattr(outgoing, "MOST_SHOWN", 5000)
    everything = airlock.outgoing.files(airlock.sandbox.id, "mila")
    assert "werk/meting-0000.csv" in everything and "voorspellend-onderhoud/1-kijken.ipynb" in everything
    assert not [path for path in everything if "__pycache__" in path or "/." in path or path.startswith(".")]


def test_a_file_that_is_too_large_is_not_even_copied_whole(airlock: Airlock) -> None:
    (airlock.folders.files / "groot.md").write_bytes(bytes(9 * 2**20))
    with pytest.raises(InputError, match="larger than"):
        airlock.outgoing.ask(airlock.sandbox.id, "mila", "groot.md")
    assert list(airlock.folders.outgoing.iterdir()) == []
