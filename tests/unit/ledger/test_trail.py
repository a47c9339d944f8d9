"""The audit trail: what is kept, what is refused, and that every change of it is found."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from base.errors import InputError, LeerlabError
from ledger.store import GENESIS, Ledger, LedgerBroken, entry_hash

KEY = b"k" * 32
ENTRIES = 6


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the ledger is."""
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(file: Path) -> Iterator[Ledger]:
    """A ledger with some entries."""
    opened = Ledger(f"sqlite:///{file}", KEY, busy_seconds=0.2)
    for number in range(ENTRIES):
        opened.record("sanne", "server.start", f"s{number}", {"profile": "cpu-small", "number": str(number)})
    yield opened
    opened.close()


def change(file: Path, *statements: str, without_triggers: bool = True) -> None:
    """Change the file as somebody with write access to it could."""
    with closing(sqlite3.connect(file)) as connection, connection:
        if without_triggers:
            for trigger in ("entry_no_update", "entry_no_delete"):
                connection.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            connection.execute(statement)


def test_entries_are_kept_in_order_and_found_again(ledger: Ledger) -> None:
    assert ledger.verify() == ENTRIES
    assert [entry.sequence for entry in ledger.entries(after=2, limit=2)] == [3, 4]
    assert [entry.sequence for entry in ledger.entries(newest=2)] == [ENTRIES - 1, ENTRIES]
    ledger.record("anonymous", "login.refused", "sanne", {})
    ledger.record("anonymous", "loginx", "sanne", {})
    assert [entry.action for entry in ledger.entries(action="login")] == ["login.refused"]
    assert len(ledger.entries(actor="sanne", subject="s1")) == 1
    assert ledger.entries(action="server_start") == []


def test_opening_again_changes_nothing(ledger: Ledger, file: Path) -> None:
    before = ledger.head()
    for _ in range(3):
        with closing(Ledger(f"sqlite:///{file}", KEY)) as again:
            assert again.head() == before
            assert again.verify() == ENTRIES


def test_a_ledger_of_the_first_version_is_brought_up_to_date(file: Path) -> None:
    with closing(Ledger(f"sqlite:///{file}", KEY)):
        pass
    later = [f"DROP TABLE {table}" for table in ("answer", "opening", "transfer", "invitation", "member", "sandbox")]
    change(file, *later, "UPDATE alembic_version SET version_num = '0001'", "DELETE FROM head", without_triggers=False)
    with closing(Ledger(f"sqlite:///{file}", KEY)) as again:
        assert again.verify() == 0


def forged_chain(file: Path) -> None:
    """Change an entry and compute everything after it anew, as far as that goes without the key."""
    with closing(sqlite3.connect(file)) as connection, connection:
        for trigger in ("entry_no_update", "entry_no_delete"):
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute("UPDATE entry SET actor = 'nobody' WHERE sequence = 3")
        previous = GENESIS
        rows = connection.execute("SELECT sequence, time, actor, action, subject, details FROM entry ORDER BY sequence")
        for sequence, time, actor, action, subject, details in rows.fetchall():
            previous = entry_hash(
                previous, sequence, time=time, actor=actor, action=action, subject=subject, details=json.loads(details)
            )
            connection.execute("UPDATE entry SET hash = ? WHERE sequence = ?", (previous, sequence))
        guess = hashlib.sha256(f"head:{ENTRIES}:{previous}".encode()).hexdigest()
        connection.execute("UPDATE head SET hash = ?, seal = ?", (previous, guess))


def statements(*lines: str) -> Callable[[Path], None]:
    """A change by SQL."""
    return lambda file: change(file, *lines)


TAMPERINGS = {
    "actor edited": statements("UPDATE entry SET actor = 'nobody' WHERE sequence = 2"),
    "time edited": statements("UPDATE entry SET time = '2020-01-01T00:00:00+00:00' WHERE sequence = 2"),
    "details edited": statements("UPDATE entry SET details = '{}' WHERE sequence = 2"),
    "details written otherwise": statements("UPDATE entry SET details = details || ' ' WHERE sequence = 2"),
    "details no JSON": statements("UPDATE entry SET details = 'x' WHERE sequence = 2"),
    "details a list": statements("UPDATE entry SET details = '[]' WHERE sequence = 2"),
    "actor a blob": statements("UPDATE entry SET actor = x'00ff' WHERE sequence = 2"),
    "hash edited": statements("UPDATE entry SET hash = 'x' WHERE sequence = 2"),
    "first deleted": statements("DELETE FROM entry WHERE sequence = 1"),
    "middle deleted": statements("DELETE FROM entry WHERE sequence = 3"),
    "middle deleted and closed up": statements(
        "DELETE FROM entry WHERE sequence = 3",
        *(f"UPDATE entry SET sequence = {n - 1} WHERE sequence = {n}" for n in range(4, ENTRIES + 1)),
    ),
    "last deleted": statements(f"DELETE FROM entry WHERE sequence = {ENTRIES}"),
    "last deleted and the head moved": statements(
        f"DELETE FROM entry WHERE sequence = {ENTRIES}",
        f"UPDATE head SET sequence = {ENTRIES - 1}, hash = (SELECT hash FROM entry WHERE sequence = {ENTRIES - 1})",
    ),
    "all deleted": statements("DELETE FROM entry"),
    "all deleted with the head": statements("DELETE FROM entry", "DELETE FROM head"),
    "head deleted": statements("DELETE FROM head"),
    "a second head": statements("INSERT INTO head VALUES (99, 'x', 'x')"),
    "seal edited": statements("UPDATE head SET seal = 'é'"),
    "swapped": statements(
        "UPDATE entry SET sequence = 99 WHERE sequence = 2",
        "UPDATE entry SET sequence = 2 WHERE sequence = 3",
        "UPDATE entry SET sequence = 3 WHERE sequence = 99",
    ),
    "one added": statements(
        f"INSERT INTO entry SELECT {ENTRIES + 1}, time, actor, action, subject, details, hash FROM entry LIMIT 1"
    ),
    "chain computed anew without the key": forged_chain,
}


@pytest.mark.attack
@pytest.mark.parametrize("tampering", TAMPERINGS.values(), ids=TAMPERINGS)
def test_every_tampering_is_found(ledger: Ledger, file: Path, tampering: Callable[[Path], None]) -> None:
    assert ledger.verify() == ENTRIES
    before = dump(file)
    tampering(file)
    assert dump(file) != before, "the change did not reach the file"
    with closing(Ledger(f"sqlite:///{file}", KEY)) as again, pytest.raises(LedgerBroken, match="audit trail is broken"):
        again.verify()


@pytest.mark.attack
@pytest.mark.parametrize("name", ["last deleted", "all deleted with the head", "chain computed anew without the key"])
def test_nothing_is_appended_to_a_trail_whose_end_is_not_sealed(ledger: Ledger, file: Path, name: str) -> None:
    TAMPERINGS[name](file)
    with pytest.raises(LedgerBroken):
        ledger.record("sanne", "server.stop", "s1", {})


@pytest.mark.attack
def test_a_forged_chain_is_accepted_only_by_who_has_no_key_to_check_with(ledger: Ledger, file: Path) -> None:
    """Positive control: without the seal's check the same forgery passes, so the seal is what finds it."""
    forged_chain(file)

    class Unsealed(Ledger):
        def _seal(self, sequence: int, digest: str) -> str:
            return hashlib.sha256(f"head:{sequence}:{digest}".encode()).hexdigest()

    with closing(Unsealed(f"sqlite:///{file}", KEY)) as trusting:
        assert trusting.verify() == ENTRIES


@pytest.mark.attack
@pytest.mark.parametrize("statement", ["UPDATE entry SET actor = 'x'", "DELETE FROM entry"])
def test_sql_alone_changes_no_entry(ledger: Ledger, file: Path, statement: str) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        change(file, statement, without_triggers=False)
    assert ledger.verify() == ENTRIES
    change(file, statement)
    with pytest.raises(LedgerBroken):
        ledger.verify()


def test_another_key_does_not_fit(ledger: Ledger, file: Path) -> None:
    with closing(Ledger(f"sqlite:///{file}", b"o" * 32)) as other, pytest.raises(LedgerBroken, match="seal"):
        other.verify()


@pytest.mark.attack
@pytest.mark.parametrize(
    "name", ["token", "api_token", "clientSecret", "PASSWORD", "ssh-key", "cookie", "apiKey", "Authorization"]
)
def test_details_named_like_secrets_are_refused(ledger: Ledger, name: str) -> None:
    with pytest.raises(InputError, match="secret"):
        ledger.record("sanne", "x", "y", {name: "value"})
    assert ledger.verify() == ENTRIES


def test_names_that_only_contain_such_a_word_are_taken(ledger: Ledger) -> None:
    assert ledger.record("sanne", "x", "y", {"keyboard": "azerty", "monkey": "no"}).sequence == ENTRIES + 1


@pytest.mark.attack
def test_a_secret_in_a_value_is_not_kept(ledger: Ledger, file: Path) -> None:
    secret = "s3cr3tVALUE99xyzQ"
    ledger.record("sanne", "x", "y", {"why": f"GET /?token={secret} failed"})
    assert ledger.verify() == ENTRIES + 1
    assert not any(secret in str(row) for row in dump(file))


@pytest.mark.parametrize("actor", ["x" * 5000, "\udcff"])
def test_what_is_too_long_or_no_text_is_refused_whole(ledger: Ledger, actor: str) -> None:
    with pytest.raises(InputError):
        ledger.record(actor, "x", "y", {})
    assert ledger.verify() == ENTRIES


@pytest.mark.fault
def test_a_locked_database_is_a_clear_error_after_a_bounded_wait(ledger: Ledger, file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LeerlabError, match=r"cannot be read or written.*locked.*has not been recorded"):
            ledger.record("sanne", "server.stop", "s1", {})
        assert ledger.verify() == ENTRIES, "reading does not need the lock"
        assert len(ledger.entries()) == ENTRIES
        other.execute("ROLLBACK")
    assert ledger.record("sanne", "server.stop", "s1", {}).sequence == ENTRIES + 1


@pytest.mark.fault
def test_a_file_that_is_no_database_is_a_clear_error(file: Path) -> None:
    file.write_text("this is not a database" * 100)
    with pytest.raises(LeerlabError, match="cannot be read or written"):
        Ledger(f"sqlite:///{file}", KEY)


def dump(file: Path) -> list[str]:
    """Everything in the file."""
    with closing(sqlite3.connect(file)) as connection:
        tables = ("entry", "head")
        return [str(row) for table in tables for row in connection.execute(f"SELECT * FROM {table}").fetchall()]
