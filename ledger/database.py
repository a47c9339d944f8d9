"""The connection to the ledger's database: one writer at a time, readers on a snapshot, and clear errors.

On SQLite a writing transaction takes the file's write lock at once (BEGIN IMMEDIATE). On PostgreSQL it takes a lock of
the ledger's own first, and reads what is committed after it got that lock; so both keep the same order of writers, and
nobody chains an entry to one that is not the last.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError

from base.database_url import for_sqlalchemy, is_postgresql
from base.errors import LeerlabError
from ledger.schema import metadata

READS = "leerlab_reads"
"""Execution option of a connection that only reads: it sees a snapshot and keeps no writer waiting."""
HASTY = "leerlab_hasty"
"""Execution option of a connection whose commit does not wait for the disk: after a power cut it may never have been,
and nothing else is harmed (https://www.sqlite.org/pragma.html#pragma_synchronous; PostgreSQL's synchronous_commit)."""

# Held to the transaction's end. The number means nothing but this lock, in each database for itself.
LOCK = "SELECT pg_advisory_xact_lock(30510990410981730)"
# The trail is never erased, and writing it anew would take long.
_KEPT = ("entry", "head")


@contextmanager
def bounded() -> Iterator[None]:
    """Say clearly what a database says tersely."""
    try:
        yield
    except DBAPIError as error:
        here = type(error.orig).__module__.startswith("psycopg")
        said = " ".join(str(error.orig).split()).rstrip(".")
        raise LeerlabError(
            f"The ledger cannot be read or written: {said}.",
            "What was to be recorded has not been recorded, and so has not been done either.",
            "Does PostgreSQL run, may this account use the database, and is its disk full? Then try again."
            if here
            else "Is the disk full, or does another program hold the file? Then try again.",
        ) from error


def engine_of(url: str, busy_seconds: float) -> Engine:
    """An engine whose writing transactions come one after another.

    Args:
        url: of a SQLite file, or of PostgreSQL on a unix socket.
        busy_seconds: longest wait for another program's transaction.
    """
    if is_postgresql(url):
        return _postgresql(for_sqlalchemy(url), busy_seconds)
    return _sqlite(url, busy_seconds)


def _sqlite(url: str, busy_seconds: float) -> Engine:
    """A deferred transaction could fail half-way (SQLite, BEGIN), so each writing one takes the lock at once.

    What is deleted or written over is overwritten with zeros in the file (PRAGMA secure_delete).
    """
    engine = sqlalchemy.create_engine(url, connect_args={"timeout": busy_seconds})

    @event.listens_for(engine, "connect")
    def _connected(connection: DBAPIConnection, _record: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "foreign_keys=ON", "secure_delete=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        options = connection.get_execution_options()
        connection.exec_driver_sql(f"PRAGMA synchronous={'NORMAL' if options.get(HASTY) else 'FULL'}")
        connection.exec_driver_sql("BEGIN" if options.get(READS) else "BEGIN IMMEDIATE")

    return engine


def _postgresql(url: str, busy_seconds: float) -> Engine:
    """Connections of before a restart of the database are noticed and replaced when they are next used."""
    milliseconds = max(1, round(busy_seconds * 1000))
    # lock_timeout bounds every wait for a lock; the commit waits for the disk, as on SQLite.
    settings = f"-c lock_timeout={milliseconds} -c synchronous_commit=on -c timezone=UTC"
    engine = sqlalchemy.create_engine(
        url, pool_pre_ping=True, connect_args={"connect_timeout": max(2, round(busy_seconds)), "options": settings}
    )

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get(READS):
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        else:
            # Before anything is read: what is read then is what the writer before has committed.
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
            connection.exec_driver_sql(LOCK)
            if options.get(HASTY):
                connection.exec_driver_sql("SET LOCAL synchronous_commit TO OFF")

    return engine


def settle(engine: Engine) -> None:
    """Leave nothing that was deleted in the database's own files.

    SQLite: the journal goes into the file, where what was deleted is zeros. PostgreSQL: the tables are written anew
    without it; the old files are removed, not overwritten, and its write-ahead log keeps the rows until it is recycled.

    Raises:
        LeerlabError: somebody reads for longer than the wait for other programs.
    """
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            raw = connection.connection.dbapi_connection
            assert raw is not None
            with raw.cursor() as cursor:  # type: ignore[attr-defined]  # SQLAlchemy's protocol lacks it; psycopg has it
                cursor.execute(f"VACUUM (FULL) {', '.join(name for name in metadata.tables if name not in _KEPT)}")
        return
    with engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        assert raw is not None
        cursor = raw.cursor()
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        answer = cursor.fetchone()
        cursor.close()
    if answer is None or answer[0]:
        raise LeerlabError("The ledger's journal could not be emptied: another program reads it.", do="Try again.")
