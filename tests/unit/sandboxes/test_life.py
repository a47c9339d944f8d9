"""A sandbox's life in the ledger and on disk: asked for, shared, ended, packed, erased; and what is refused."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import sqlite3
import tarfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from base import disk_use as measuring
from base import opened as opening
from base.disk_use import disk_use
from base.errors import InputError, LeerlabError
from base.paths import State
from base.quantities import Size
from cluster.errors import SlurmUnavailable
from ledger.sandboxes import (
    DataClass,
    NoSuchSandbox,
    NotPossibleNow,
    RiskClass,
    Sandbox,
    SandboxLedger,
    SandboxState,
)
from ledger.store import Ledger
from ledger.transfers import Direction, TransferLedger, TransferState
from sandboxes import erasure, keeper
from sandboxes import life as living
from sandboxes.erasure import erase, found, remains
from sandboxes.export import export
from sandboxes.folders import ABOUT
from sandboxes.keeper import Keeper, pack
from sandboxes.life import CLOCK, Request, Sandboxes, SandboxRefused
from sandboxes.risk import SelfCheck, assess
from sandboxes.settings import SandboxSettings
from sandboxes.taking import Taking

NONE = SelfCheck(forbidden=False, people=False, preparing=False, product=False, talks=False, personal=False)
WISH = Request("Pompen", "Zien wanneer een pomp stukgaat.", "water", DataClass.OPEN, 14, NONE)
MARKER = "geheim-recept-8f3a"


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = State(tmp_path / "site")
    state.make()
    return state


@pytest.fixture
def ledger(state: State) -> Iterator[Ledger]:
    with closing(Ledger(f"sqlite:///{state.ledger}", b"k" * 32)) as ledger:
        yield ledger


@pytest.fixture
def life(ledger: Ledger, state: State) -> Sandboxes:
    return Sandboxes(SandboxLedger(ledger), state, SandboxSettings(profile="cpu", size=Size.parse("64M")))


def actions(ledger: Ledger, subject: str) -> list[str]:
    return [entry.action for entry in ledger.entries(subject=subject)]


def joined(life: Sandboxes, person: str = "bram") -> Sandbox:
    """An active sandbox of Mila's with a second member."""
    made = life.request("mila", WISH)
    life.join(life.invite(made.id, "mila"), person)
    return made


# -- asking


def test_a_sandbox_with_open_data_and_little_risk_is_there_at_once(life: Sandboxes, ledger: Ledger) -> None:
    made = life.request("mila", WISH)
    assert made.state is SandboxState.ACTIVE and made.risk_class is RiskClass.MINIMAL
    about = json.loads((life.folders(made.id).files / ABOUT).read_text())
    assert about["id"] == made.id and about["risk_class"] == "minimal"
    assert (life.folders(made.id).files / "voorspellend-onderhoud/1-kijken.ipynb").is_file()
    assert (life.folders(made.id).root).stat().st_mode & 0o777 == 0o700
    assert actions(ledger, made.id) == ["sandbox.request"]


def test_no_audit_entry_holds_a_word_of_the_company(life: Sandboxes, ledger: Ledger) -> None:
    made = life.request("mila", replace(WISH, title=MARKER, purpose=MARKER))
    life.end(made.id, "mila")
    assert MARKER not in "".join(str(entry) for entry in ledger.entries())


def test_high_risk_waits_for_an_operator(life: Sandboxes) -> None:
    made = life.request("mila", replace(WISH, check=replace(NONE, product=True)))
    assert made.state is SandboxState.WAITING and not life.folders(made.id).root.exists()
    assert life.approve(made.id, "beheer").state is SandboxState.ACTIVE
    assert life.folders(made.id).files.is_dir()


def test_a_prohibited_application_and_delicate_data_are_refused(life: Sandboxes) -> None:
    for wish, code in (
        (replace(WISH, check=replace(NONE, forbidden=True)), "risk.prohibited"),
        (replace(WISH, data_class=DataClass.INTERNAL), "sandbox.refused.data"),
    ):
        with pytest.raises(SandboxRefused) as refused:
            life.request("mila", wish)
        assert refused.value.reasons[0].code == code
    assert life.ledger.all() == []


@pytest.mark.parametrize(
    "changes",
    [{"title": " "}, {"title": "x" * 61}, {"purpose": "x" * 1001}, {"sector": "spies"}, {"days": 0}, {"days": 31},
     {"title": "a\ud800"}],
)  # fmt: skip
def test_what_no_honest_form_sends_is_wrong_input(life: Sandboxes, changes: dict[str, object]) -> None:
    with pytest.raises(InputError):
        life.request("mila", replace(WISH, **changes))  # type: ignore[arg-type]


def test_nobody_owns_more_than_are_given_and_ending_one_makes_room(life: Sandboxes) -> None:
    made = [life.request("mila", replace(WISH, title=f"Pomp {number}")) for number in (1, 2)]
    with pytest.raises(NotPossibleNow, match="2 sandboxes already"):
        life.request("mila", WISH)
    life.end(made[0].id, "mila")
    assert life.request("mila", WISH).state is SandboxState.ACTIVE


def test_a_second_click_on_the_button_asks_for_nothing_more(life: Sandboxes, ledger: Ledger) -> None:
    made = life.request("mila", WISH)
    with ThreadPoolExecutor(4) as clicks:
        again = list(clicks.map(lambda _: life.request("mila", WISH).id, range(4)))
    assert set(again) == {made.id} and actions(ledger, made.id) == ["sandbox.request"]
    # The same words of somebody else are another request; so are those of one that has ended.
    assert life.request("bram", WISH).id != made.id
    life.end(made.id, "mila")
    assert life.request("mila", WISH).id != made.id


@pytest.mark.parametrize(
    ("answers", "risk", "first"),
    [
        ({}, RiskClass.MINIMAL, "risk.minimal"),
        ({"talks": True}, RiskClass.LIMITED, "risk.limited.talks"),
        ({"people": True, "preparing": True}, RiskClass.LIMITED, "risk.limited.preparing"),
        ({"people": True}, RiskClass.HIGH, "risk.high.people"),
        ({"people": True, "preparing": True, "product": True}, RiskClass.HIGH, "risk.high.product"),
        ({"forbidden": True, "talks": True}, RiskClass.PROHIBITED, "risk.prohibited"),
    ],
)
def test_the_heaviest_ground_decides(answers: dict[str, bool], risk: RiskClass, first: str) -> None:
    assessment = assess(replace(NONE, **answers))
    assert assessment.risk is risk and assessment.reasons[0].code == first
    with_data = assess(replace(NONE, personal=True, **answers))
    assert with_data.reasons[-1].code == "risk.personal"


# -- members


def test_an_invitation_works_once_and_for_one_person(life: Sandboxes) -> None:
    made = life.request("mila", WISH)
    code = life.invite(made.id, "mila")
    assert life.join(code.upper() + " ", "bram").id == made.id
    assert life.ledger.members(made.id) == ["mila", "bram"]
    with pytest.raises(InputError, match="does not work"):
        life.join(code, "chris")


@pytest.mark.attack
def test_an_invitation_cannot_be_read_from_the_ledger_s_file(life: Sandboxes, state: State) -> None:
    code = life.invite(life.request("mila", WISH).id, "mila")
    life.ledger._ledger.settle()
    assert found(state, code.encode()) == []
    # Control: the search finds what is stored as it is.
    assert state.ledger in found(state, b"Zien wanneer")


def test_a_removed_member_sees_nothing_and_whoever_they_invited_cannot_come(life: Sandboxes) -> None:
    made = joined(life)
    code = life.invite(made.id, "bram")
    life.ledger.remove(made.id, "bram", "mila")
    for forbidden in (
        lambda: life.ledger.get_for(made.id, "bram"), lambda: life.invite(made.id, "bram"),
        lambda: life.extend(made.id, "bram"),
    ):  # fmt: skip
        with pytest.raises(NoSuchSandbox):
            forbidden()
    with pytest.raises(NotPossibleNow):
        life.join(code, "chris")
    assert list(life.ledger.of("bram")) == [] and life.ledger.memberships() == {
        (made.id, "mila"): True,
        (made.id, "bram"): False,
    }
    # Somebody may come back.
    life.join(life.invite(made.id, "mila"), "bram")
    assert life.ledger.members(made.id) == ["mila", "bram"]


def test_only_the_owner_takes_others_out_and_ends_and_the_owner_stays(life: Sandboxes) -> None:
    made = joined(life)
    life.join(life.invite(made.id, "mila"), "chris")
    for person, by in (("mila", "bram"), ("chris", "bram"), ("mila", "mila")):
        with pytest.raises(NotPossibleNow):
            life.ledger.remove(made.id, person, by)
    with pytest.raises(NotPossibleNow):
        life.end(made.id, "bram")
    life.ledger.remove(made.id, "chris", "chris")
    assert life.ledger.members(made.id) == ["mila", "bram"]


@pytest.mark.attack
def test_absent_and_anothers_sandbox_look_the_same(life: Sandboxes) -> None:
    made = life.request("mila", WISH)
    with pytest.raises(NoSuchSandbox) as others:
        life.ledger.get_for(made.id, "spion")
    with pytest.raises(NoSuchSandbox) as absent:
        life.ledger.get_for("aaaaaaaa", "spion")
    assert str(others.value) == str(absent.value)
    # Control: a member sees it.
    assert life.ledger.get_for(made.id, "mila").id == made.id


def test_too_many_members_are_refused(ledger: Ledger, state: State) -> None:
    life = Sandboxes(SandboxLedger(ledger), state, SandboxSettings(profile="cpu", members=2))
    made = joined(life)
    code = life.invite(made.id, "mila")
    with pytest.raises(NotPossibleNow, match="2 members already"):
        life.join(code, "chris")


# -- moves


def test_only_moves_of_the_table_are_made(life: Sandboxes) -> None:
    made = life.request("mila", WISH)
    for to in (SandboxState.WAITING, SandboxState.REFUSED, SandboxState.ERASED):
        with pytest.raises(NotPossibleNow):
            life.ledger.move(made.id, to, "beheer")
    life.end(made.id, "beheer", operator=True)
    assert life.end(made.id, "mila").state is SandboxState.ENDING, "a second click changes nothing"
    with pytest.raises(NotPossibleNow):
        life.ledger.move(made.id, SandboxState.ACTIVE, "beheer")
    with pytest.raises(NotPossibleNow):
        life.extend(made.id, "mila")


def test_time_ends_a_sandbox(life: Sandboxes, ledger: Ledger) -> None:
    made = life.request("mila", WISH)
    assert life.end_overdue() == []
    life.ledger.extend(made.id, datetime.now(UTC) - timedelta(seconds=1), "mila")
    assert [one.id for one in life.end_overdue()] == [made.id]
    assert ledger.entries(subject=made.id)[-1].actor == "clock"


# -- transfers


def test_a_transfer_moves_only_from_where_it_is_expected(life: Sandboxes, ledger: Ledger) -> None:
    made, transfers = joined(life), TransferLedger(ledger)
    asked = transfers.begin(made.id, Direction.OUTGOING, "uit.csv", "mila", size=3, sha256="0" * 64)
    assert asked.state is TransferState.ASKED
    transfers.move(asked.id, TransferState.APPROVED, "bram", expected={TransferState.ASKED})
    with pytest.raises(NotPossibleNow):
        transfers.move(asked.id, TransferState.DECLINED, "bram", expected={TransferState.ASKED})
    assert actions(ledger, asked.id) == ["transfer.asked", "transfer.approved"]
    assert ledger.entries(subject=asked.id)[0].details["sha256"] == "0" * 64
    with pytest.raises(NoSuchSandbox):
        transfers.begin(made.id, Direction.INCOMING, "in.csv", "spion")


# -- the end


def filled(life: Sandboxes, state: State) -> Sandbox:
    """A sandbox with a marker in every place that a company's words can reach."""
    made = life.request("mila", replace(WISH, title=MARKER, purpose=f"over {MARKER}"))
    folders = life.folders(made.id)
    (folders.files / "data.csv").write_text(f"a,b\n{MARKER},2\n")
    (folders.files / f"{MARKER}.txt").write_text("x")
    closed = folders.files / "dicht"
    closed.mkdir()
    (closed / "diep.txt").write_text(MARKER)
    closed.chmod(0o000)
    (folders.make_home("mila") / ".history").write_text(MARKER)
    (folders.quarantine / "half").write_text(MARKER)
    (folders.files / "link").symlink_to("/etc/hostname")
    job = state.jobs / ("0" * 16)
    job.mkdir()
    (job / "owner").write_text(f"box-{made.id}-mila")
    (job / "server.log").write_text(f"error in {MARKER}")
    other = state.jobs / ("1" * 16)
    other.mkdir()
    (other / "owner").write_text("box-aaaaaaaa-mila")
    TransferLedger(life.ledger._ledger).begin(made.id, Direction.INCOMING, f"{MARKER}.csv", "mila")
    return made


def test_an_export_holds_every_file_with_its_hash_and_the_trail(life: Sandboxes, ledger: Ledger) -> None:
    made = life.request("mila", WISH)
    folders = life.folders(made.id)
    (folders.files / "data.csv").write_text("a,b\n1,2\n")
    (folders.files / "link").symlink_to("/etc/passwd")
    os.mkfifo(folders.files / "pijp")
    folders.egress_log.write_text("1790000000 GET pypi.org 80 TCP_MISS 1 2\n")
    exported = export(folders, ledger, made.id, 2**30)
    assert hashlib.sha256(folders.export.read_bytes()).hexdigest() == exported.sha256
    assert set(exported.left_out) == {"link", "pijp"}
    with tarfile.open(folders.export) as tar:
        manifest = json.loads(tar.extractfile("manifest.json").read())  # type: ignore[union-attr]
        for listed in manifest["files"]:
            content = tar.extractfile(f"files/{listed['path']}").read()  # type: ignore[union-attr]
            assert hashlib.sha256(content).hexdigest() == listed["sha256"] and len(content) == listed["size"]
        assert tar.extractfile("egress.log").read() == folders.egress_log.read_bytes()  # type: ignore[union-attr]
        assert "data.csv" in [listed["path"] for listed in manifest["files"]]
        assert Path("/etc/passwd").read_bytes()[:30] not in b"".join(
            tar.extractfile(one).read() for one in tar if one.isreg()
        )  # type: ignore[union-attr]
        trail = tar.extractfile("trail.jsonl").read().decode().splitlines()  # type: ignore[union-attr]
    assert [json.loads(line)["action"] for line in trail] == ["sandbox.request"]


@pytest.mark.fault
def test_an_erasure_that_was_broken_off_anywhere_goes_on(
    life: Sandboxes, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = filled(life, state)
    for name in ("a/b/c", "d/e/f", "g"):
        (life.folders(made.id).files / name).mkdir(parents=True)
    life.end(made.id, "mila")
    done, remove = 0, os.rmdir

    def cut_off(*arguments: Any, **named: Any) -> None:
        nonlocal done
        done += 1
        if done % 2 == 0:
            raise OSError(errno.EIO, "the power went")
        remove(*arguments, **named)

    monkeypatch.setattr(os, "rmdir", cut_off)
    for _ in range(50):
        try:
            erase(life.ledger, state, made.id, CLOCK)
            break
        except LeerlabError:
            continue
    monkeypatch.undo()
    assert life.ledger.get(made.id).state is SandboxState.ERASED and done > 8
    assert found(state, MARKER.encode()) == []


def test_after_erasure_the_marker_is_nowhere(life: Sandboxes, ledger: Ledger, state: State) -> None:
    made = filled(life, state)
    ledger.settle()
    before = found(state, MARKER.encode())
    (life.folders(made.id).files / "dicht").chmod(0)
    assert {path.name for path in before} >= {
        "data.csv",
        "diep.txt",
        f"{MARKER}.txt",
        ".history",
        "half",
        "server.log",
        state.ledger.name,
    }
    life.end(made.id, "mila")
    erased = erase(life.ledger, state, made.id, "clock")
    assert erased.jobs == 1 and erased.files > 8
    assert found(state, MARKER.encode()) == []
    assert (state.jobs / ("1" * 16)).is_dir(), "the jobs of others stay"
    assert Path("/etc/hostname").exists()
    gone = life.ledger.get(made.id)
    assert gone.state is SandboxState.ERASED and gone.title == gone.purpose == "" and gone.erased is not None
    assert ledger.verify() > 0, "the trail is whole"
    with pytest.raises(NotPossibleNow):
        erase(life.ledger, state, made.id, "clock")


def test_control_without_secure_deletion_the_words_stay_in_the_file(
    life: Sandboxes, ledger: Ledger, state: State
) -> None:
    """What `PRAGMA secure_delete` is for: the same rows, written over by a connection without it."""
    made = life.request("mila", replace(WISH, purpose=f"over {MARKER} " + "x" * 800))
    ledger.settle()
    with closing(sqlite3.connect(state.ledger)) as connection:
        connection.execute("PRAGMA secure_delete=OFF")
        connection.execute("UPDATE sandbox SET title = '', purpose = '' WHERE id = ?", (made.id,))
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert state.ledger in found(state, MARKER.encode())


@pytest.mark.fault
def test_an_erasure_that_breaks_off_is_finished_by_the_next(
    life: Sandboxes, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = filled(life, state)
    life.end(made.id, "mila")
    remove, calls = erasure._remove, 0

    def breaks_off(folder: Path) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise LeerlabError("the power went")
        return remove(folder)

    monkeypatch.setattr(erasure, "_remove", breaks_off)
    with pytest.raises(LeerlabError):
        erase(life.ledger, state, made.id, "clock")
    assert life.ledger.get(made.id).state is SandboxState.ENDING
    monkeypatch.undo()
    erase(life.ledger, state, made.id, "clock")
    assert found(state, MARKER.encode()) == []


@pytest.mark.fault
def test_a_full_disk_leaves_no_half_export_and_erases_nothing(
    life: Sandboxes, ledger: Ledger, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = life.request("mila", WISH)
    life.end(made.id, "mila")

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sandboxes.export._add_text", full)
    asyncio.run(Keeper(life, ledger, state, days_kept=0, follow=always, living=nothing).look())
    assert not life.folders(made.id).export.exists() and life.folders(made.id).files.is_dir()
    assert list(life.folders(made.id).export.parent.iterdir()) == []


def test_the_export_leaves_by_another_hand_than_the_one_that_ended_it(life: Sandboxes, ledger: Ledger) -> None:
    made, taking = joined(life), Taking(life.ledger, ledger)
    folders = life.folders(made.id)
    with pytest.raises(NotPossibleNow, match="no export"):
        taking.fetch(folders, "bram")
    life.end(made.id, "mila")
    pack(life, ledger, life.ledger.get(made.id))
    pack(life, ledger, life.ledger.get(made.id))
    with pytest.raises(NotPossibleNow, match="Nobody else"):
        taking.fetch(folders, "mila")
    with pytest.raises(NoSuchSandbox):
        taking.fetch(folders, "spion")
    with taking.fetch(folders, "bram") as leaving:
        assert b"".join(leaving.pieces()) == folders.export.read_bytes()
    assert actions(ledger, made.id)[-2:] == ["sandbox.exported", "sandbox.taken"]
    hashes = {entry.details["sha256"] for entry in ledger.entries(subject=made.id)[-2:]}
    assert hashes == {hashlib.sha256(folders.export.read_bytes()).hexdigest()}
    folders.export.write_bytes(b"something else")
    with pytest.raises(LeerlabError, match="not the one"):
        taking.fetch(folders, "bram")


@pytest.mark.attack
def test_nobody_ends_a_sandbox_to_take_everything_alone(life: Sandboxes, ledger: Ledger) -> None:
    """An owner who never invited anybody, or took the others out first, needs the operator."""
    taking = Taking(life.ledger, ledger)
    alone, emptied = life.request("mila", replace(WISH, title="Alleen")), joined(life)
    life.ledger.remove(emptied.id, "bram", "mila")
    for made in (alone, emptied):
        life.end(made.id, "mila")
        pack(life, ledger, life.ledger.get(made.id))
        taking.release(made.id, "mila")
        with pytest.raises(NotPossibleNow, match="Nobody else"):
            taking.fetch(life.folders(made.id), "mila")
        with pytest.raises(NoSuchSandbox):
            taking.release(made.id, "bram")
        # The control: the same with another person's yes.
        taking.release(made.id, "beheer", operator=True)
        taking.release(made.id, "beheer", operator=True)
        taking.fetch(life.folders(made.id), "mila").close()
        assert actions(ledger, made.id)[-2:] == ["sandbox.released", "sandbox.taken"]


@pytest.mark.attack
def test_waiting_until_the_time_is_over_is_no_way_around_another_persons_yes(life: Sandboxes, ledger: Ledger) -> None:
    made, taking = joined(life), Taking(life.ledger, ledger)
    life.ledger.move(made.id, SandboxState.ENDING, CLOCK, "time")
    pack(life, ledger, life.ledger.get(made.id))
    for person in ("mila", "bram"):
        assert not taking.export(made.id).may_leave_with(person)
    taking.release(made.id, "bram")
    assert taking.export(made.id).may_leave_with("mila") and not taking.export(made.id).may_leave_with("bram")


def test_nothing_is_let_go_that_has_not_ended(life: Sandboxes, ledger: Ledger) -> None:
    with pytest.raises(NotPossibleNow, match="no export"):
        Taking(life.ledger, ledger).release(joined(life).id, "mila")


@pytest.mark.attack
@pytest.mark.parametrize("mode", [0o000, 0o100, 0o300, 0o400, 0o600])
def test_closed_folders_and_files_are_measured_packed_and_erased_too(
    life: Sandboxes, ledger: Ledger, state: State, mode: int
) -> None:
    made = life.request("mila", WISH)
    folders = life.folders(made.id)
    closed = folders.files / "dicht"
    closed.mkdir()
    (closed / "diep.txt").write_text("inhoud")
    (closed / "diep.txt").chmod(0)
    closed.chmod(mode)
    assert disk_use(folders.root).complete
    closed.chmod(mode)
    assert export(folders, ledger, made.id, 2**30).left_out == ()
    with tarfile.open(folders.export) as tar:
        assert tar.extractfile("files/dicht/diep.txt").read() == b"inhoud"  # type: ignore[union-attr]
    closed.chmod(mode)
    life.end(made.id, "mila")
    erase(life.ledger, state, made.id, "mila")
    assert not folders.root.exists()


@pytest.mark.attack
def test_an_export_takes_no_more_room_than_the_sandbox_had(life: Sandboxes, ledger: Ledger) -> None:
    """Holes and second names take nothing on disk; written out each time they would fill the site's."""
    made = life.request("mila", WISH)
    folders = life.folders(made.id)
    with (folders.files / "gat").open("wb") as hole:
        hole.truncate(2**33)
    (folders.files / "vol").write_bytes(b"x" * 2**20)
    for number in range(50):
        os.link(folders.files / "vol", folders.files / f"vol-{number}")
    assert disk_use(folders.root).bytes < 3 * 2**20
    exported = export(folders, ledger, made.id, 2**30)
    assert exported.left_out == ("gat",)
    assert folders.export.stat().st_size < 4 * 2**20
    with tarfile.open(folders.export) as tar:
        tar.extractall(folders.root / "uit")  # made by ourselves a moment ago
    assert (folders.root / "uit/files/vol-7").read_bytes() == b"x" * 2**20, "nothing is lost by it"


@pytest.mark.attack
def test_folders_as_deep_and_long_as_they_come_are_erased_and_keep_no_other_sandbox(
    life: Sandboxes, ledger: Ledger, state: State
) -> None:
    deep, other = life.request("mila", WISH), life.request("noor", WISH)
    here = os.open(life.folders(deep.id).files, os.O_RDONLY)
    for _ in range(1500):
        name = "d" * 250
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    for made in (deep, other):
        life.end(made.id, made.owner)
    asyncio.run(Keeper(life, ledger, state, days_kept=0, follow=always, living=nothing).look())
    assert not life.folders(deep.id).root.exists() and not life.folders(other.id).root.exists()


@pytest.mark.attack
def test_one_sandbox_that_cannot_be_packed_keeps_no_other_from_its_end(
    life: Sandboxes, ledger: Ledger, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = life.request("mila", WISH), life.request("noor", WISH)
    for made in (first, other):
        life.end(made.id, made.owner)
    real = keeper.pack

    def broken(given: Sandboxes, to: Ledger, sandbox: Sandbox) -> None:
        if sandbox.id == first.id:
            raise RecursionError
        real(given, to, sandbox)

    monkeypatch.setattr(keeper, "pack", broken)
    asyncio.run(Keeper(life, ledger, state, days_kept=0, follow=always, living=nothing).look())
    assert life.folders(first.id).root.exists() and not life.folders(other.id).root.exists()


@pytest.mark.attack
def test_ending_one_after_the_other_is_no_way_to_more_than_are_given(life: Sandboxes, state: State) -> None:
    """An ended one takes its space until it is erased."""
    for title in ("een", "twee", "drie", "vier"):
        life.end(life.request("mila", replace(WISH, title=title)).id, "mila")
    with pytest.raises(NotPossibleNow, match="wait for their erasure"):
        life.request("mila", replace(WISH, title="vijf"))
    erase(life.ledger, state, life.ledger.all()[0].id, "mila")
    life.request("mila", replace(WISH, title="vijf"))


def test_a_refused_request_is_forgotten_after_the_same_time(life: Sandboxes, ledger: Ledger, state: State) -> None:
    made = life.request("mila", replace(WISH, title=MARKER, check=replace(NONE, product=True)))
    life.refuse(made.id, "beheer")
    asyncio.run(Keeper(life, ledger, state, days_kept=7, follow=always, living=nothing).look())
    assert life.ledger.get(made.id).title == MARKER
    asyncio.run(Keeper(life, ledger, state, days_kept=0, follow=always, living=nothing).look())
    assert found(state, MARKER.encode()) == []
    assert actions(ledger, made.id) == ["sandbox.request", "sandbox.refused", "sandbox.erased"]


def test_lines_of_the_site_s_logs_that_name_the_sandbox_are_blanked_where_they_stand(
    life: Sandboxes, state: State
) -> None:
    made = life.request("mila", WISH)
    log = state.logs / "hub.log"
    log.write_text(f"before\n302 GET /user/box-{made.id}-mila/lab/tree/{MARKER}.ipynb\nafter\n")
    size = log.stat().st_size
    with log.open("a") as writer:
        life.end(made.id, "mila")
        assert erase(life.ledger, state, made.id, "clock").lines == 1
        writer.write("later\n")
    assert log.read_text().split() == ["before", "after", "later"] and log.stat().st_size == size + 6
    assert found(state, MARKER.encode()) == []


def test_what_is_left_of_an_erased_sandbox_is_named(life: Sandboxes, ledger: Ledger, state: State) -> None:
    made, transfers = filled(life, state), TransferLedger(ledger)
    whole = remains(life.ledger, transfers, state, made.id)
    assert len(whole) == 7 and "the ledger keeps its title" in whole
    life.end(made.id, "mila")
    erase(life.ledger, state, made.id, "clock")
    assert remains(life.ledger, transfers, state, made.id) == []
    life.folders(made.id).root.mkdir()
    assert remains(life.ledger, transfers, state, made.id) == [f"{life.folders(made.id).root} is there"]


async def always() -> bool:
    return True


async def never() -> bool:
    return False


async def nothing() -> list[str]:
    return []


def test_the_keeper_packs_keeps_and_erases_in_that_order(life: Sandboxes, ledger: Ledger, state: State) -> None:
    made = life.request("mila", WISH)
    life.end(made.id, "mila")

    async def itself() -> list[str]:
        return [made.id]

    async def unknown() -> list[str]:
        raise SlurmUnavailable("slurmctld does not answer.")

    def keeper(days: int, follow: Any = always, living: Any = nothing) -> Keeper:
        return Keeper(life, ledger, state, days_kept=days, follow=follow, living=living)

    for not_yet in (keeper(0, follow=never), keeper(0, living=itself), keeper(0, living=unknown)):
        asyncio.run(not_yet.look())
        assert not life.folders(made.id).export.exists(), "something runs still, or may"
        assert life.folders(made.id).root.exists()
    asyncio.run(keeper(7).look())
    assert life.folders(made.id).export.is_file()
    asyncio.run(keeper(0).look())
    assert not life.folders(made.id).root.exists()
    assert actions(ledger, made.id) == ["sandbox.request", "sandbox.ending", "sandbox.exported", "sandbox.erased"]


class Killed(BaseException):
    """The portal ended in this very moment."""


def half_made(life: Sandboxes, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A sandbox that stands in the ledger, and has no folder yet."""

    def killed(*_arguments: object) -> None:
        raise Killed

    with monkeypatch.context() as short:
        short.setattr(life, "prepare", killed)
        with pytest.raises(Killed):
            life.request("mila", WISH)
    (made,) = life.ledger.of("mila")
    assert made.state is SandboxState.ACTIVE and not life.folders(made.id).root.exists()
    return made


@pytest.mark.fault
def test_killed_between_the_ledger_and_the_folders_a_sandbox_is_completed(
    life: Sandboxes, ledger: Ledger, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, keeper = half_made(life, monkeypatch), Keeper(life, ledger, state, days_kept=7, follow=always, living=nothing)
    asyncio.run(keeper.look())
    assert not life.folders(made.id).root.exists(), "another process may be making it at this moment"
    monkeypatch.setattr(living, "MAKING", timedelta())
    asyncio.run(keeper.look())
    files = life.folders(made.id).files
    assert (files / ABOUT).is_file() and (files / "voorspellend-onderhoud/1-kijken.ipynb").is_file()
    (files / ABOUT).unlink()
    asyncio.run(keeper.look())
    assert not (files / ABOUT).exists(), "what is there is the members' own"


@pytest.mark.fault
def test_killed_between_the_ledger_and_the_folders_a_sandbox_still_comes_to_its_end(
    life: Sandboxes, ledger: Ledger, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = half_made(life, monkeypatch)
    life.end(made.id, "mila")
    asyncio.run(Keeper(life, ledger, state, days_kept=0, follow=always, living=nothing).look())
    assert life.ledger.get(made.id).state is SandboxState.ERASED and not life.folders(made.id).root.exists()


def test_a_file_whose_checks_never_end_keeps_no_sandbox_from_its_end(
    life: Sandboxes, ledger: Ledger, state: State
) -> None:
    class Endless:
        async def resume(self) -> None:
            await asyncio.Event().wait()

    made = life.request("mila", WISH)
    life.end(made.id, "mila")
    keeper = Keeper(life, ledger, state, days_kept=7, follow=always, living=nothing, quarantine=Endless())  # type: ignore[arg-type]

    async def while_it_keeps() -> None:
        keeping = asyncio.create_task(keeper.run())
        await asyncio.to_thread(packed)
        keeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await keeping

    def packed() -> None:
        until = time.monotonic() + 60
        while not life.folders(made.id).export.exists():
            assert time.monotonic() < until
            time.sleep(0.01)

    asyncio.run(while_it_keeps())


def test_disk_use_follows_no_link_and_counts_a_file_with_two_names_once(tmp_path: Path) -> None:
    folder, outside = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    outside.mkdir()
    (outside / "groot").write_bytes(b"x" * 2**20)
    (folder / "link").symlink_to(outside)
    (folder / "een").write_bytes(b"x" * 2**20)
    os.link(folder / "een", folder / "twee")
    used = disk_use(folder)
    assert 2**20 <= used.bytes < 2 * 2**20 and used.files == 3 and used.complete
    assert not disk_use(folder, most_files=2).complete


@pytest.mark.attack
@pytest.mark.parametrize("mode", [0o000, 0o300, 0o100])
def test_a_closed_folder_hides_no_disk_space(tmp_path: Path, mode: int) -> None:
    hidden = tmp_path / "in/dicht"
    hidden.mkdir(parents=True)
    (hidden / "groot").write_bytes(b"x" * 2**20)
    hidden.chmod(mode)
    # Control: whoever only looks is kept out, and so would count nothing.
    with pytest.raises(PermissionError):
        list(hidden.iterdir())
    used = disk_use(tmp_path / "in")
    assert used.bytes >= 2**20 and used.complete


@pytest.mark.attack
def test_a_folder_that_becomes_a_link_leads_the_measuring_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, outside = tmp_path / "in", tmp_path / "out"
    (folder / "val").mkdir(parents=True)
    outside.mkdir()
    (outside / "groot").write_bytes(b"x" * 2**20)
    opened = opening.folder_in

    def swapped_first(parent: int, name: str, rights: int) -> int:
        (folder / name).rmdir()
        (folder / name).symlink_to(outside)
        return opened(parent, name, rights)

    monkeypatch.setattr(measuring, "folder_in", swapped_first)
    assert disk_use(folder).bytes < 2**20
    # Control: opened by its path, as a walk would do, the link is followed.
    assert sum(path.stat().st_size for path in (folder / "val").iterdir()) >= 2**20


@pytest.mark.attack
def test_folders_inside_each_other_without_end_are_not_taken_for_empty(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(measuring.MOST_DEEP + 5):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    assert not disk_use(tmp_path).complete


def test_an_empty_file_that_nobody_may_read_hides_no_marker_and_a_full_one_is_named(state: State) -> None:
    """munged keeps an empty lock that may only be written, next to the sockets of a running site."""
    lock = state.run / "munge.sock.lock"
    lock.touch(mode=0o200)
    assert found(state, MARKER.encode()) == []
    lock.chmod(0o600)
    lock.write_text(MARKER)
    assert found(state, MARKER.encode()) == [lock]
    lock.chmod(0o200)
    with pytest.raises(LeerlabError, match="cannot be read"):
        found(state, MARKER.encode())
