"""People and the audit trail in one database: short transactions, an append-only and hash-chained trail.

The head (sequence and hash of the last entry, 0 and zeros at first) is sealed with HMAC-SHA-256 and a key from outside
the database, so that neither a cut tail, an emptied table nor a chain computed anew (`ledger.chain`) goes unnoticed.
What this cannot find is the whole file put back as it was at an earlier time: keep `head()` elsewhere for that.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, select
from sqlalchemy.engine import make_url

from base.database_url import EXAMPLES, is_postgresql
from base.errors import InputError, LeerlabError
from base.log import redact
from ledger.chain import GENESIS, LedgerBroken, broken, checked_hash, entry_hash, plain_json
from ledger.database import HASTY, READS, bounded, engine_of, settle
from ledger.schema import entry_table, head_table, person_table, upgrade

__all__ = ["BUSY_SECONDS", "DEMO_PROVIDER", "GENESIS", "Entry", "Ledger", "LedgerBroken", "Person", "entry_hash"]

BUSY_SECONDS = 10.0
DEMO_PROVIDER = "demo"
_SECRET_WORDS = frozenset(
    (
        "token",
        "tokens",
        "secret",
        "secrets",
        "password",
        "passphrase",
        "key",
        "keys",
        "cookie",
        "cookies",
        "authorization",
    )
)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_LONGEST = 4000
_LONGEST_NAME = 255


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
        url: of a SQLite file, made when it does not exist, or of PostgreSQL on a unix socket (`base.database_url`).
        key: at least 32 random bytes from outside the database: seals the trail's head and makes pseudonyms.
        busy_seconds: longest wait for another program's transaction.

    Raises:
        InputError: the URL is of neither, or the key is too short.
        LeerlabError: the database cannot be opened, made or brought up to date.
    """

    def __init__(self, url: str, key: bytes, *, busy_seconds: float = BUSY_SECONDS) -> None:
        if not is_postgresql(url) and make_url(url).get_backend_name() != "sqlite":
            raise InputError(
                f"The ledger cannot be kept in {make_url(url).get_backend_name()}.",
                "Only SQLite and PostgreSQL on a unix socket are supported.",
                f"Leave ledger.url out, or name an address such as {EXAMPLES[1]}.",
            )
        if len(key) < 32:
            raise InputError("The ledger's key is too short.", do="Give at least 32 random bytes.")
        self._key = key
        self._engine = engine_of(url, busy_seconds)
        with bounded():
            upgrade(self._engine, self._begin_trail)

    @classmethod
    def open(cls, url: str, key_file: Path) -> Ledger:
        """The ledger whose key stands in a file, in hexadecimal.

        Args:
            url: of a SQLite file, or of PostgreSQL on a unix socket.
            key_file: the file, readable by its owner only.

        Raises:
            InputError: the file cannot be read or holds no key.
        """
        try:
            key = bytes.fromhex(key_file.read_text().strip())
        except (OSError, ValueError) as error:
            raise InputError(f"The ledger's key cannot be read: {key_file}.", do="Run leerlab up.") from error
        return cls(url, key)

    def close(self) -> None:
        """Close the database's connections."""
        self._engine.dispose()

    def settle(self) -> None:
        """Leave nothing that was deleted in the database's own files (`ledger.database.settle`).

        Raises:
            LeerlabError: somebody reads for longer than the wait for other programs.
        """
        with bounded():
            settle(self._engine)

    @contextmanager
    def transaction(self, *, hasty: bool = False) -> Iterator[Connection]:
        """All or nothing of what is done within, the audit entries of `append` too.

        Args:
            hasty: whether somebody waits for it, and nobody misses it after a power cut (`ledger.database.HASTY`).
        """
        engine = self._engine.execution_options(**{HASTY: hasty})
        with bounded(), engine.begin() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """The database as it is now; keeps no writer waiting, however long the reading takes."""
        with bounded(), self._engine.connect().execution_options(**{READS: True}) as connection, connection.begin():
            yield connection

    # -- people

    def person(self, provider: str, subject: str, title: str) -> Person:
        """The person that a provider vouches for; made at the first call, title kept in step after that.

        Args:
            provider: who vouches, such as `demo`.
            subject: the provider's own id of the person.
            title: what pages call the person.

        Raises:
            InputError: the provider or its id is empty: a missing claim is nobody.
            LeerlabError: a demo person's name is another person's pseudonym.
        """
        if not provider.strip() or not subject.strip():
            raise InputError(
                "A person without a provider or an id cannot be known.", do="Look at the claims of the login."
            )
        _check_text(provider, subject, title)
        table = person_table
        here = (table.c.provider == provider) & (table.c.subject == subject)
        with self.transaction() as connection:
            row = connection.execute(select(table).where(here)).mappings().first()
            if row is None:
                pseudonym, first_seen = self._free_pseudonym(connection, provider, subject), _now().isoformat()
                new = {"pseudonym": pseudonym, "provider": provider, "subject": subject, "title": title}
                connection.execute(table.insert().values(**new, first_seen=first_seen))
                return Person(pseudonym, provider, subject, title, datetime.fromisoformat(first_seen))
            if row["title"] != title:
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
            details: further plain facts, no secrets; a value that looks like one is kept as `[redacted]`.

        Raises:
            InputError: a detail is named like a secret, or the entry is too long or no text.
            LedgerBroken: the last entry is not the one that was sealed; nothing is appended to a broken trail.
        """
        with self.transaction() as connection:
            return self.append(connection, actor, action, subject, details)

    def append(
        self, connection: Connection, actor: str, action: str, subject: str, details: Mapping[str, str]
    ) -> Entry:
        """`record` within a transaction of the caller's: what was done and its entry are there together or not at all.

        Args:
            connection: of `transaction`.
            actor, action, subject, details: as for `record`, with the same errors.
        """
        facts = {name: redact(value) for name, value in details.items()}
        if secret := next((name for name in facts if _names_a_secret(name)), None):
            raise InputError(f"The detail {secret!r} would put a secret into the audit trail.", do="Leave it out.")
        _check_text(actor, action, subject, *facts, *facts.values())
        text = plain_json(facts)
        names = [len(name) for name in (actor, action, subject)]
        if max(names) > _LONGEST_NAME or len(text) + sum(names) > _LONGEST:
            raise InputError(
                f"The entry {action[:80]} is longer than {_LONGEST} characters, or one of its names than "
                f"{_LONGEST_NAME}.",
                do="Record less.",
            )
        last, previous = self._sealed_head(connection)
        moment, sequence = _now(), last + 1
        digest = entry_hash(
            previous, sequence, time=moment.isoformat(), actor=actor, action=action, subject=subject, details=facts
        )
        connection.execute(
            entry_table.insert().values(
                sequence=sequence,
                time=moment.isoformat(),
                actor=actor,
                action=action,
                subject=subject,
                details=text,
                hash=digest,
            )
        )
        self._put_head(connection, sequence, digest)
        return Entry(sequence, moment, actor, action, subject, facts, digest)

    def _begin_trail(self, connection: Connection) -> None:
        """Seal a trail without entries, so that one whose tables were emptied looks different."""
        if connection.execute(select(entry_table).limit(1)).first() is None:
            self._put_head(connection, 0, GENESIS)

    def _put_head(self, connection: Connection, sequence: int, digest: str) -> None:
        connection.execute(head_table.delete())
        seal = self._seal(sequence, digest)
        connection.execute(head_table.insert().values(sequence=sequence, hash=digest, seal=seal))

    def _sealed_head(self, connection: Connection) -> tuple[int, str]:
        """Sequence and hash of the last entry, once its seal has been checked."""
        heads = connection.execute(select(head_table)).mappings().all()
        last = (
            connection.execute(select(entry_table).order_by(entry_table.c.sequence.desc()).limit(1)).mappings().first()
        )
        found = (last["sequence"], last["hash"]) if last is not None else (0, GENESIS)
        if [(head["sequence"], head["hash"]) for head in heads] != [found]:
            raise broken(found[0], "the last entry is not the one that was sealed")
        if not hmac.compare_digest(str(heads[0]["seal"]).encode(), self._seal(*found).encode()):
            raise broken(found[0], "the seal of the last entry is false")
        return int(found[0]), str(found[1])

    def head(self) -> tuple[int, str]:
        """Sequence and hash of the last entry, to keep elsewhere and compare later.

        Raises:
            LedgerBroken: the last entry is not the one that was sealed.
        """
        with self.snapshot() as connection:
            return self._sealed_head(connection)

    def _seal(self, sequence: int, digest: str) -> str:
        return hmac.new(self._key, f"head:{sequence}:{digest}".encode(), hashlib.sha256).hexdigest()

    def verify(self) -> int:
        """Check the whole trail.

        Returns:
            How many entries it has.

        Raises:
            LedgerBroken: names the first entry that is not what was written.
        """
        with self.snapshot() as connection:
            previous, sequence = GENESIS, 0
            for row in connection.execute(select(entry_table).order_by(entry_table.c.sequence)).mappings():
                sequence += 1
                if row["sequence"] != sequence:
                    raise broken(sequence, "it is missing")
                previous = checked_hash(previous, row)
            self._sealed_head(connection)
        return sequence

    def entries(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        subject: str | None = None,
        after: int = 0,
        limit: int | None = None,
        newest: int | None = None,
    ) -> Sequence[Entry]:
        """Entries in order, filtered by what is given.

        Args:
            actor: only of this actor.
            action: only of this action, or of those below it (`login` finds `login.refused` too).
            subject: only about this subject.
            after: only with a higher sequence.
            limit: most entries, the oldest first; without it all.
            newest: only this many of the newest; not together with `limit`.
        """
        table = entry_table
        order = table.c.sequence.desc() if newest is not None else table.c.sequence
        query = select(table).where(table.c.sequence > after).order_by(order).limit(limit if newest is None else newest)
        if actor is not None:
            query = query.where(table.c.actor == actor)
        if action is not None:
            query = query.where((table.c.action == action) | table.c.action.startswith(action + ".", autoescape=True))
        if subject is not None:
            query = query.where(table.c.subject == subject)
        with self.snapshot() as connection:
            found = [
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
        return sorted(found, key=lambda entry: entry.sequence)


def _names_a_secret(name: str) -> bool:
    return any(word.lower() in _SECRET_WORDS for word in _WORD.findall(name))


def _check_text(*texts: str) -> None:
    """Refuse what is no UTF-8, such as file names that Python could not decode, and NUL, which PostgreSQL refuses."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"This is not text and cannot be recorded: {text[:80]!r}.") from error
        if "\0" in text:
            raise InputError(f"This is not text and cannot be recorded: {text[:80]!r}.")


def _now() -> datetime:
    return datetime.now(UTC)
