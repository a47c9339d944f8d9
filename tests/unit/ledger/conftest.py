"""Where a ledger is: every test of this folder that asks for one runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

TRIGGERS = ("entry_no_update", "entry_no_delete")


@dataclass(frozen=True)
class SqlitePlace:
    """A file.

    Args:
        file: it.
    """

    file: Path
    kind = "sqlite"

    @property
    def url(self) -> str:
        return f"sqlite:///{self.file}"

    def another(self) -> SqlitePlace:
        """A place beside it."""
        return SqlitePlace(self.file.with_name(f"other-{self.file.name}"))

    def sql(self, *statements: tuple[str, tuple[object, ...]]) -> list[list[tuple[Any, ...]]]:
        """Run statements as somebody with access to the database could; what each gave."""
        with closing(sqlite3.connect(self.file)) as connection, connection:
            return [connection.execute(statement, values).fetchall() for statement, values in statements]

    def drop_triggers(self) -> None:
        """What somebody does first who wants to change an entry."""
        self.sql(*((f"DROP TRIGGER {trigger}", ()) for trigger in TRIGGERS))

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Another writer is at work."""
        with closing(sqlite3.connect(self.file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")


@dataclass(frozen=True)
class PostgresqlPlace:
    """A database.

    Args:
        server: whose.
        name: its name.
    """

    server: Any
    name: str
    kind = "postgresql"

    @property
    def url(self) -> str:
        return str(self.server.url(self.name))

    def another(self) -> PostgresqlPlace:
        """A place beside it."""
        return PostgresqlPlace(self.server, self.server.database())

    def sql(self, *statements: tuple[str, tuple[object, ...]]) -> list[list[tuple[Any, ...]]]:
        """Run statements as somebody with access to the database could; what each gave."""
        found = []
        with self.server.connect(self.name) as connection, connection.transaction():
            for statement, values in statements:
                cursor = connection.execute(statement.replace("?", "%s"), values or None)
                found.append(cursor.fetchall() if cursor.description else [])
        return found

    def drop_triggers(self) -> None:
        """What somebody does first who wants to change an entry."""
        self.sql(*((f"DROP TRIGGER {trigger} ON entry", ()) for trigger in (*TRIGGERS, "entry_no_truncate")))

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Another writer is at work."""
        from ledger.database import LOCK

        with self.server.connect(self.name) as other, other.transaction():
            other.execute(LOCK)
            yield


Place = SqlitePlace | PostgresqlPlace


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where there is no ledger yet."""
    if request.param == "sqlite":
        return SqlitePlace(tmp_path / "ledger.sqlite")
    server = request.getfixturevalue("postgresql")
    return PostgresqlPlace(server, server.emptied())
