"""The ledger's tables, and bringing a database file up to them with Alembic's migrations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

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

sandbox_table = Table(
    "sandbox",
    metadata,
    Column("id", String(8), primary_key=True),
    Column("title", String(80), nullable=False),
    Column("purpose", Text, nullable=False),
    Column("sector", String(40), nullable=False),
    Column("data_class", String(20), nullable=False),
    Column("risk_class", String(20), nullable=False),
    Column("state", String(20), nullable=False, index=True),
    Column("owner", String(64), nullable=False),
    Column("created", String(40), nullable=False),
    Column("ends", String(40), nullable=False),
    Column("ended", String(40)),
    Column("erased", String(40)),
)

member_table = Table(
    "member",
    metadata,
    Column("sandbox", String(8), ForeignKey("sandbox.id"), primary_key=True),
    Column("person", String(64), primary_key=True, index=True),
    Column("added", String(40), nullable=False),
    Column("removed", String(40)),
)

invitation_table = Table(
    "invitation",
    metadata,
    Column("code_hash", String(64), primary_key=True),
    Column("sandbox", String(8), ForeignKey("sandbox.id"), nullable=False),
    Column("made_by", String(64), nullable=False),
    Column("expires", String(40), nullable=False),
)

opening_table = Table(
    "opening",
    metadata,
    Column("sandbox", String(8), ForeignKey("sandbox.id"), primary_key=True),
    Column("host", String(255), primary_key=True),
    Column("asked_by", String(64), nullable=False),
    Column("asked", String(40), nullable=False),
    Column("agreed_by", String(64)),
    Column("agreed", String(40)),
)

transfer_table = Table(
    "transfer",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("sandbox", String(8), ForeignKey("sandbox.id"), nullable=False, index=True),
    Column("direction", String(10), nullable=False),
    Column("name", String(255), nullable=False),
    Column("size", Integer),
    Column("sha256", String(64)),
    Column("state", String(20), nullable=False),
    Column("asked_by", String(64), nullable=False),
    Column("asked", String(40), nullable=False),
    Column("decided_by", String(64)),
    Column("decided", String(40)),
    Column("reason", String(255)),
)

answer_table = Table(
    "answer",
    metadata,
    Column("id", String(24), primary_key=True),
    Column("person", String(64), nullable=False),
    Column("place", String(20), nullable=False),
    Column("place_id", String(64), nullable=False),
    Column("model", String(64), nullable=False),
    Column("asked", Float, nullable=False, index=True),
    Column("seconds", Float),
    Column("tokens_in", Integer, nullable=False),
    Column("tokens_out", Integer, nullable=False),
    Column("joules", Float),
    Column("measured", Boolean, nullable=False),
    Column("state", String(20), nullable=False),
    Index("ix_answer_person_asked", "person", "asked"),
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
