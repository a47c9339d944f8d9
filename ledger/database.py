"""The connection to a SQLite file: transactions that take the write lock at once, and clear errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DatabaseError

from base.errors import LeerlabError

READS = "leerlab_reads"
"""Execution option of a connection that only reads: it sees a snapshot and keeps no writer waiting."""


@contextmanager
def bounded() -> Iterator[None]:
    """Say clearly what SQLite says tersely."""
    try:
        yield
    except DatabaseError as error:
        raise LeerlabError(
            f"The ledger cannot be read or written: {error.orig}.",
            "What was to be recorded has not been recorded, and so has not been done either.",
            "Is the disk full, or does another program hold the file? Then try again.",
        ) from error


def engine_of(url: str, busy_seconds: float) -> Engine:
    """An engine whose transactions take the write lock at once: a deferred one could fail half-way (SQLite, BEGIN).

    What is deleted or written over is overwritten with zeros in the file (PRAGMA secure_delete).

    Args:
        url: SQLAlchemy URL of a SQLite file.
        busy_seconds: longest wait for another program's transaction.
    """
    engine = sqlalchemy.create_engine(url, connect_args={"timeout": busy_seconds})

    @event.listens_for(engine, "connect")
    def _connected(connection: sqlalchemy.engine.interfaces.DBAPIConnection, _record: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        reads = connection.get_execution_options().get(READS, False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine
