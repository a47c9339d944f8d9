"""People and the audit trail in one SQLite database: short transactions, an append-only and hash-chained trail.

One entry's hash is SHA-256 over the JSON array [previous hash, sequence, time, actor, action, subject, details], written without
spaces, keys sorted, as UTF-8. The head (sequence and hash of the last entry) is sealed with HMAC-SHA-256 and a key
from outside the database, so that neither a cut tail nor a chain computed anew goes unnoticed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy
from sqlalchemy import Connection, Engine, event, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from base.errors import InputError, LeerlabError
from ledger.schema import entry_table, head_table, person_table, upgrade

BUSY_SECONDS = 10.0
DEMO_PROVIDER = "demo"
GENESIS = "0" * 64
_SECRET_WORDS = ("token", "secret", "password", "key", "cookie")
_LONGEST = 4000


class LedgerBroken(LeerlabError):
    """The audit trail is not what was written."""


@dataclass(frozen=True)
class Person:
    """Somebody who has logged in.

    Args:
        pseudonym: the name by which all other parts know this person.
        provider: who vouches for the person.
        subject: the provider's own id of the person.
        title: what pages call the person.
        first_seen: when the person was first seen.
    """

    pseudonym: str
    provider: str
    subject: str
    title: str
    first_seen: datetime


@dataclass(frozen=True)
class Entry:
    """One line of the audit trail.

    Args:
        sequence: 1, 2, 3 and so on, without gaps.
        time: when it was written.
        actor: pseudonym of who did it.
        action: dotted name of what was done.
        subject: to whom or what.
        details: further plain facts.
        hash: this entry's hash, 64 hexadecimal digits.
    """

    sequence: int
    time: datetime
    actor: str
    action: str
    subject: str
    details: Mapping[str, str]
    hash: str


class Ledger:
    """The ledger of one site.

    Args:
        url: SQLAlchemy URL of a SQLite file; the file is made when it does not exist.
        key: at least 32 random bytes from outside the database: seals the trail's head and makes pseudonyms.

    Raises:
        InputError: the URL is not of SQLite, or the key is too short.
    """

    def __init__(self, url: str, key: bytes) -> None:
        if make_url(url).get_backend_name() != "sqlite":
            raise InputError(
                f"The ledger cannot be kept in {make_url(url).get_backend_name()}.",
                "Only SQLite is supported so far.",
                "Leave ledger.url out, or name a sqlite:/// address.",
            )
        if len(key) < 32:
            raise InputError("The ledger's key is too short.", do="Give at least 32 random bytes.")
        self._key = key
        self._engine = _engine(url)
        with _bounded():
            upgrade(self._engine)

    @classmethod
    def open(cls, url: str, key_file: Path) -> Ledger:
        """The ledger whose key stands in a file, in hexadecimal.

        Args:
            url: SQLAlchemy URL of a SQLite file.
            key_file: the file, readable by its owner only.

        Raises:
            InputError: the file cannot be read or holds no key.
        """
        try:
            return cls(url, bytes.fromhex(key_file.read_text().strip()))
        except (OSError, ValueError) as error:
            raise InputError(
                f"The ledger's key cannot be read from {key_file}: {error}.", do="Run leerlab up."
            ) from error

    def close(self) -> None:
        """Close the database's connections."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with _bounded(), self._engine.begin() as connection:
            yield connection

    # -- people

    def person(self, provider: str, subject: str, title: str) -> Person:
        """The person that a provider vouches for; made at the first call, title kept in step after that.

        Args:
            provider: who vouches, such as `demo`.
            subject: the provider's own id of the person.
            title: what pages call the person.

        Raises:
            LeerlabError: a demo person's name is another person's pseudonym.
        """
        table = person_table
        here = (table.c.provider == provider) & (table.c.subject == subject)
        with self._transaction() as connection:
            row = connection.execute(select(table).where(here)).mappings().first()
            if row is None:
                pseudonym = self._free_pseudonym(connection, provider, subject)
                row = {
                    "pseudonym": pseudonym,
                    "provider": provider,
                    "subject": subject,
                    "title": title,
                    "first_seen": _now().isoformat(),
                }
                connection.execute(table.insert().values(**row))
            elif row["title"] != title:
                connection.execute(table.update().where(here).values(title=title))
        return Person(row["pseudonym"], provider, subject, title, datetime.fromisoformat(row["first_seen"]))

    def _free_pseudonym(self, connection: Connection, provider: str, subject: str) -> str:
        for attempt in range(16):
            wanted = self.pseudonym(provider, subject, attempt)
            if not connection.execute(
                select(person_table.c.pseudonym).where(person_table.c.pseudonym == wanted)
            ).first():
                return wanted
            if provider == DEMO_PROVIDER:
                break
        raise LeerlabError(f"The name {wanted} belongs to somebody else already.", do="Choose another name.")

    def pseudonym(self, provider: str, subject: str, attempt: int = 0) -> str:
        """A demo person's own name; for others `p-` and 80 bits of a keyed hash (RFC 2104), in base32.

        Args:
            provider: who vouches for the person.
            subject: the provider's own id.
            attempt: 0, or higher when the name before it is taken.
        """
        if provider == DEMO_PROVIDER:
            return subject
        message = json.dumps([provider, subject, attempt]).encode()
        digest = hmac.new(self._key, b"pseudonym:" + message, hashlib.sha256).digest()
        return "p-" + base64.b32encode(digest[:10]).decode().lower()

    # -- the audit trail

    def record(self, actor: str, action: str, subject: str, details: Mapping[str, str]) -> Entry:
        """Append one entry.

        Args:
            actor: pseudonym of who did it.
            action: dotted name of what was done, such as `server.start`.
            subject: to whom or what.
            details: further plain facts, no secrets.

        Raises:
            InputError: the details name a secret, or the entry is too long.
            LedgerBroken: the last entry is not the one that was sealed; nothing is appended to a broken trail.
        """
        secret = next((name for name in details if any(word in name.lower() for word in _SECRET_WORDS)), None)
        if secret is not None:
            raise InputError(f"The detail {secret!r} would put a secret into the audit trail.", do="Leave it out.")
        text = json.dumps(dict(details), sort_keys=True, separators=(",", ":"))
        if len(text) + len(actor) + len(action) + len(subject) > _LONGEST:
            raise InputError(f"The entry {action} is longer than {_LONGEST} characters.", do="Record less.")
        with self._transaction() as connection:
            sequence, previous = self._head(connection)
            moment = _now()
            digest = entry_hash(previous, sequence + 1, moment.isoformat(), actor, action, subject, details)
            connection.execute(
                entry_table.insert().values(
                    sequence=sequence + 1,
                    time=moment.isoformat(),
                    actor=actor,
                    action=action,
                    subject=subject,
                    details=text,
                    hash=digest,
                )
            )
            seal = self._seal(sequence + 1, digest)
            connection.execute(head_table.delete())
            connection.execute(head_table.insert().values(sequence=sequence + 1, hash=digest, seal=seal))
        return Entry(sequence + 1, moment, actor, action, subject, dict(details), digest)

    def _head(self, connection: Connection) -> tuple[int, str]:
        """Sequence and hash of the last entry, once its seal has been checked."""
        head = connection.execute(select(head_table)).mappings().first()
        last = (
            connection.execute(select(entry_table).order_by(entry_table.c.sequence.desc()).limit(1)).mappings().first()
        )
        if head is None and last is None:
            return 0, GENESIS
        if head is None or last is None or (head["sequence"], head["hash"]) != (last["sequence"], last["hash"]):
            raise _broken(0 if last is None else last["sequence"], "the last entry is not the one that was sealed")
        if not hmac.compare_digest(head["seal"], self._seal(head["sequence"], head["hash"])):
            raise _broken(head["sequence"], "the seal of the last entry is false")
        return int(head["sequence"]), str(head["hash"])

    def _seal(self, sequence: int, digest: str) -> str:
        return hmac.new(self._key, f"head:{sequence}:{digest}".encode(), hashlib.sha256).hexdigest()

    def verify(self) -> int:
        """Check the whole trail.

        Returns:
            How many entries it has.

        Raises:
            LedgerBroken: names the first entry that is not what was written.
        """
        with self._transaction() as connection:
            previous, sequence = GENESIS, 0
            for row in connection.execute(select(entry_table).order_by(entry_table.c.sequence)).mappings():
                sequence += 1
                if row["sequence"] != sequence:
                    raise _broken(sequence, "it is missing")
                details = json.loads(row["details"])
                expected = entry_hash(
                    previous, sequence, row["time"], row["actor"], row["action"], row["subject"], details
                )
                if row["hash"] != expected:
                    raise _broken(sequence, "it was changed")
                previous = expected
            self._head(connection)
        return sequence

    def entries(
        self, *, actor: str | None = None, action: str | None = None, subject: str | None = None, after: int = 0
    ) -> Sequence[Entry]:
        """Entries in order, filtered by what is given.

        Args:
            actor: only of this actor.
            action: only of this action, or of those below it (`login` finds `login.refused` too).
            subject: only about this subject.
            after: only with a higher sequence.
        """
        table = entry_table
        query = select(table).where(table.c.sequence > after).order_by(table.c.sequence)
        if actor is not None:
            query = query.where(table.c.actor == actor)
        if action is not None:
            query = query.where((table.c.action == action) | table.c.action.startswith(action + ".", autoescape=True))
        if subject is not None:
            query = query.where(table.c.subject == subject)
        with self._transaction() as connection:
            return [
                Entry(
                    row["sequence"],
                    datetime.fromisoformat(row["time"]),
                    row["actor"],
                    row["action"],
                    row["subject"],
                    json.loads(row["details"]),
                    row["hash"],
                )
                for row in connection.execute(query).mappings()
            ]


def entry_hash(
    previous: str, sequence: int, time: str, actor: str, action: str, subject: str, details: Mapping[str, str]
) -> str:
    """The hash of one entry, 64 hexadecimal digits; see the module's description."""
    chained = [previous, sequence, time, actor, action, subject, dict(details)]
    text = json.dumps(chained, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _broken(sequence: int, why: str) -> LedgerBroken:
    return LedgerBroken(
        f"The audit trail is broken at entry {sequence}: {why}.",
        "Somebody or something changed the ledger outside Leerlab; nothing is appended to it any more.",
        "Keep the file for examination, and restore the ledger from a backup.",
    )


def _now() -> datetime:
    return datetime.now(UTC)


@contextmanager
def _bounded() -> Iterator[None]:
    """Say clearly what SQLite says tersely."""
    try:
        yield
    except OperationalError as error:
        raise LeerlabError(
            f"The ledger cannot be read or written: {error.orig}.",
            "What was to be recorded has not been recorded, and so has not been done either.",
            "Is the disk full, or does another program hold the file? Then try again.",
        ) from error


def _engine(url: str) -> Engine:
    """An engine whose transactions take the write lock at once: a deferred one could fail half-way (SQLite, BEGIN)."""
    engine = sqlalchemy.create_engine(url, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def _connected(connection: sqlalchemy.engine.interfaces.DBAPIConnection, _record: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
