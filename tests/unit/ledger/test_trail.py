"""The audit trail: what is kept, what is refused, and that every change of it is found."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from base.errors import InputError, LeerlabError
from ledger.store import GENESIS, Ledger, LedgerBroken, entry_hash

KEY = b"k" * 32
ENTRIES = 6


@pytest.fixture
def ledger(place: Any) -> Iterator[Ledger]:
    """A ledger with some entries."""
    opened = Ledger(place.url, KEY)
    for number in range(ENTRIES):
        opened.record("sanne", "server.start", f"s{number}", {"profile": "cpu-small", "number": str(number)})
    yield opened
    opened.close()


def change(place: Any, *statements: str, without_triggers: bool = True) -> None:
    """Change the database as somebody with write access to it could."""
    if without_triggers:
        place.drop_triggers()
    place.sql(*((statement, ()) for statement in statements))


def test_entries_are_kept_in_order_and_found_again(ledger: Ledger) -> None:
    assert ledger.verify() == ENTRIES
    assert [entry.sequence for entry in ledger.entries(after=2, limit=2)] == [3, 4]
    assert [entry.sequence for entry in ledger.entries(newest=2)] == [ENTRIES - 1, ENTRIES]
    ledger.record("anonymous", "login.refused", "sanne", {})
    ledger.record("anonymous", "loginx", "sanne", {})
    assert [entry.action for entry in ledger.entries(action="login")] == ["login.refused"]
    assert len(ledger.entries(actor="sanne", subject="s1")) == 1
    assert ledger.entries(action="server_start") == []


def test_opening_again_changes_nothing(ledger: Ledger, place: Any) -> None:
    before = ledger.head()
    for _ in range(3):
        with closing(Ledger(place.url, KEY)) as again:
            assert again.head() == before
            assert again.verify() == ENTRIES


def test_a_ledger_of_the_first_version_is_brought_up_to_date(place: Any) -> None:
    with closing(Ledger(place.url, KEY)):
        pass
    later = [
        f"DROP TABLE {table}"
        for table in ("unix_account", "job_use", "answer", "opening", "transfer", "invitation", "member", "sandbox")
    ]
    change(place, *later, "UPDATE alembic_version SET version_num = '0001'", "DELETE FROM head", without_triggers=False)
    with closing(Ledger(place.url, KEY)) as again:
        assert again.verify() == 0


def forged_chain(place: Any) -> None:
    """Change an entry and compute everything after it anew, as far as that goes without the key."""
    place.drop_triggers()
    place.sql(("UPDATE entry SET actor = 'nobody' WHERE sequence = 3", ()))
    previous = GENESIS
    columns = "sequence, time, actor, action, subject, details"
    [rows] = place.sql((f"SELECT {columns} FROM entry ORDER BY sequence", ()))
    for sequence, time, actor, action, subject, details in rows:
        previous = entry_hash(
            previous, sequence, time=time, actor=actor, action=action, subject=subject, details=json.loads(details)
        )
        place.sql(("UPDATE entry SET hash = ? WHERE sequence = ?", (previous, sequence)))
    guess = hashlib.sha256(f"head:{ENTRIES}:{previous}".encode()).hexdigest()
    place.sql(("UPDATE head SET hash = ?, seal = ?", (previous, guess)))


def statements(*lines: str) -> Callable[[Any], None]:
    """A change by SQL."""
    return lambda place: change(place, *lines)


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
def test_every_tampering_is_found(ledger: Ledger, place: Any, tampering: Callable[[Any], None]) -> None:
    assert ledger.verify() == ENTRIES
    before = dump(place)
    tampering(place)
    assert dump(place) != before, "the change did not reach the file"
    with closing(Ledger(place.url, KEY)) as again, pytest.raises(LedgerBroken, match="audit trail is broken"):
        again.verify()


@pytest.mark.attack
@pytest.mark.parametrize("name", ["last deleted", "all deleted with the head", "chain computed anew without the key"])
def test_nothing_is_appended_to_a_trail_whose_end_is_not_sealed(ledger: Ledger, place: Any, name: str) -> None:
    TAMPERINGS[name](place)
    with pytest.raises(LedgerBroken):
        ledger.record("sanne", "server.stop", "s1", {})


@pytest.mark.attack
def test_a_forged_chain_is_accepted_only_by_who_has_no_key_to_check_with(ledger: Ledger, place: Any) -> None:
    """Positive control: without the seal's check the same forgery passes, so the seal is what finds it."""
    forged_chain(place)

    class Unsealed(Ledger):
        def _seal(self, sequence: int, digest: str) -> str:
            return hashlib.sha256(f"head:{sequence}:{digest}".encode()).hexdigest()

    with closing(Unsealed(place.url, KEY)) as trusting:
        assert trusting.verify() == ENTRIES


@pytest.mark.attack
@pytest.mark.parametrize("statement", ["UPDATE entry SET actor = 'x'", "DELETE FROM entry"])
def test_sql_alone_changes_no_entry(ledger: Ledger, place: Any, statement: str) -> None:
    with pytest.raises((sqlite3.IntegrityError, psycopg.errors.IntegrityError), match="append-only"):
        change(place, statement, without_triggers=False)
    assert ledger.verify() == ENTRIES
    change(place, statement)
    with pytest.raises(LedgerBroken):
        ledger.verify()


def test_another_key_does_not_fit(ledger: Ledger, place: Any) -> None:
    with closing(Ledger(place.url, b"o" * 32)) as other, pytest.raises(LedgerBroken, match="seal"):
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
def test_a_secret_in_a_value_is_not_kept(ledger: Ledger, place: Any) -> None:
    secret = "s3cr3tVALUE99xyzQ"
    ledger.record("sanne", "x", "y", {"why": f"GET /?token={secret} failed"})
    assert ledger.verify() == ENTRIES + 1
    assert not any(secret in str(row) for row in dump(place))


@pytest.mark.parametrize("actor", ["x" * 5000, "x" * 256, "\udcff", "a\0b"])
def test_what_is_too_long_or_no_text_is_refused_whole(ledger: Ledger, actor: str) -> None:
    with pytest.raises(InputError):
        ledger.record(actor, "x", "y", {})
    assert ledger.verify() == ENTRIES


@pytest.mark.fault
def test_a_locked_database_is_a_clear_error_after_a_bounded_wait(ledger: Ledger, place: Any) -> None:
    with closing(Ledger(place.url, KEY, busy_seconds=0.2)) as impatient, place.busy():
        with pytest.raises(LeerlabError, match=r"cannot be read or written.*lock.*has not been recorded"):
            impatient.record("sanne", "server.stop", "s1", {})
        assert ledger.verify() == ENTRIES, "reading does not need the lock"
        assert len(ledger.entries()) == ENTRIES
    assert ledger.record("sanne", "server.stop", "s1", {}).sequence == ENTRIES + 1


@pytest.mark.fault
def test_a_file_that_is_no_database_is_a_clear_error(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite"
    file.write_text("this is not a database" * 100)
    with pytest.raises(LeerlabError, match="cannot be read or written"):
        Ledger(f"sqlite:///{file}", KEY)


@pytest.mark.fault
def test_no_database_server_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(LeerlabError, match=r"cannot be read or written.*Does PostgreSQL run") as told:
        Ledger(f"postgresql:///leerlab?host={tmp_path}", KEY)
    assert "Traceback" not in str(told.value)


def dump(place: Any) -> list[str]:
    """Everything in the tables of the trail."""
    return [str(row) for rows in place.sql(("SELECT * FROM entry", ()), ("SELECT * FROM head", ())) for row in rows]


def test_only_a_hasty_commit_does_not_wait_for_the_disk_and_the_next_one_does_again(ledger: Ledger, place: Any) -> None:
    ask, waits, goes_on = (
        ("PRAGMA synchronous", 2, 1) if place.kind == "sqlite" else ("SHOW synchronous_commit", "on", "off")
    )
    for hasty in (False, True, False):
        with ledger.transaction(hasty=hasty) as connection:
            assert connection.exec_driver_sql(ask).scalar() == (goes_on if hasty else waits)
