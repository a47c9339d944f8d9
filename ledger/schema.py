"""The ledger's tables, and bringing a database file up to them with Alembic's migrations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, String, Table, Text, UniqueConstraint

metadata = MetaData()

person_table = Table(
    "person",
    metadata,
    Column("pseudonym", String(64), primary_key=True),
    Column("provider", String(64), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("title", String(255), nullable=False),
    Column("first_seen", String(40), nullable=False),
    UniqueConstraint("provider", "subject"),
)

entry_table = Table(
    "entry",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("time", String(40), nullable=False),
    Column("actor", String(255), nullable=False, index=True),
    Column("action", String(255), nullable=False, index=True),
    Column("subject", String(255), nullable=False, index=True),
    Column("details", Text, nullable=False),
    Column("hash", String(64), nullable=False),
)

head_table = Table(
    "head",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("hash", String(64), nullable=False),
    Column("seal", String(64), nullable=False),
)


def upgrade(engine: Engine, moved: Callable[[Connection], None]) -> None:
    """Run the migrations that the database has not seen; two processes may do this at once.

    Args:
        engine: the database.
        moved: called in the same transaction when there were migrations to run.
    """
    configuration = Config()
    configuration.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    newest = ScriptDirectory.from_config(configuration).get_current_head()
    # The transaction holds SQLite's write lock from its first statement, so a second process waits and finds all done.
    with engine.begin() as connection:
        if MigrationContext.configure(connection).get_current_revision() == newest:
            return
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "head")
        moved(connection)
