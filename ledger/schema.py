"""The ledger's tables, and bringing a database up to them with Alembic's migrations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

from ledger.columns import words

metadata = MetaData()

person_table = Table(
    "person",
    metadata,
    Column("pseudonym", words(64), primary_key=True),
    Column("provider", words(64), nullable=False),
    Column("subject", words(255), nullable=False),
    Column("title", words(255), nullable=False),
    Column("first_seen", words(40), nullable=False),
    UniqueConstraint("provider", "subject"),
)

entry_table = Table(
    "entry",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("time", words(40), nullable=False),
    Column("actor", words(255), nullable=False, index=True),
    Column("action", words(255), nullable=False, index=True),
    Column("subject", words(255), nullable=False, index=True),
    Column("details", Text, nullable=False),
    Column("hash", words(64), nullable=False),
)

head_table = Table(
    "head",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("hash", words(64), nullable=False),
    Column("seal", words(64), nullable=False),
)

sandbox_table = Table(
    "sandbox",
    metadata,
    Column("id", words(8), primary_key=True),
    Column("title", words(80), nullable=False),
    Column("purpose", Text, nullable=False),
    Column("sector", words(40), nullable=False),
    Column("data_class", words(20), nullable=False),
    Column("risk_class", words(20), nullable=False),
    Column("state", words(20), nullable=False, index=True),
    Column("owner", words(64), nullable=False),
    Column("created", words(40), nullable=False),
    Column("ends", words(40), nullable=False),
    Column("ended", words(40)),
    Column("erased", words(40)),
)

member_table = Table(
    "member",
    metadata,
    Column("sandbox", words(8), ForeignKey("sandbox.id"), primary_key=True),
    Column("person", words(64), primary_key=True, index=True),
    Column("added", words(40), nullable=False),
    Column("removed", words(40)),
)

invitation_table = Table(
    "invitation",
    metadata,
    Column("code_hash", words(64), primary_key=True),
    Column("sandbox", words(8), ForeignKey("sandbox.id"), nullable=False),
    Column("made_by", words(64), nullable=False),
    Column("expires", words(40), nullable=False),
)

opening_table = Table(
    "opening",
    metadata,
    Column("sandbox", words(8), ForeignKey("sandbox.id"), primary_key=True),
    Column("host", words(255), primary_key=True),
    Column("asked_by", words(64), nullable=False),
    Column("asked", words(40), nullable=False),
    Column("agreed_by", words(64)),
    Column("agreed", words(40)),
)

transfer_table = Table(
    "transfer",
    metadata,
    Column("id", words(16), primary_key=True),
    Column("sandbox", words(8), ForeignKey("sandbox.id"), nullable=False, index=True),
    Column("direction", words(10), nullable=False),
    Column("name", words(255), nullable=False),
    Column("size", BigInteger),
    Column("sha256", words(64)),
    Column("state", words(20), nullable=False),
    Column("asked_by", words(64), nullable=False),
    Column("asked", words(40), nullable=False),
    Column("decided_by", words(64)),
    Column("decided", words(40)),
    Column("reason", words(255)),
)

answer_table = Table(
    "answer",
    metadata,
    Column("id", words(24), primary_key=True),
    Column("person", words(64), nullable=False),
    Column("place", words(20), nullable=False),
    Column("place_id", words(64), nullable=False),
    Column("model", words(64), nullable=False),
    Column("asked", Float, nullable=False, index=True),
    Column("seconds", Float),
    Column("tokens_in", Integer, nullable=False),
    Column("tokens_out", Integer, nullable=False),
    Column("joules", Float),
    Column("measured", Boolean, nullable=False),
    Column("state", words(20), nullable=False),
    Index("ix_answer_person_asked", "person", "asked"),
)

use_table = Table(
    "job_use",
    metadata,
    Column("id", words(80), primary_key=True),
    Column("job", BigInteger),
    Column("person", words(64), nullable=False),
    Column("place", words(20), nullable=False),
    Column("place_id", words(64), nullable=False),
    Column("begun", Float, nullable=False, index=True),
    Column("seconds", BigInteger, nullable=False),
    Column("core_seconds", BigInteger, nullable=False),
    Column("cpu_seconds", Float, nullable=False),
    Column("gpu_thousandths", BigInteger, nullable=False),
    Column("joules", Float, nullable=False),
    Column("least", Float, nullable=False),
    Column("most", Float, nullable=False),
    Column("gpu_joules", Float),
    Column("measured", Boolean, nullable=False),
    Column("source", words(10), nullable=False),
    Column("final", Boolean, nullable=False),
    Index("ix_job_use_person_begun", "person", "begun"),
    Index("ix_job_use_place_begun", "place", "place_id", "begun"),
)

unix_account_table = Table(
    "unix_account",
    metadata,
    Column("person", words(64), primary_key=True),
    Column("name", words(32), nullable=False, unique=True),
    # In the row of accounts that were made beforehand; none of those of a directory.
    Column("place", Integer, unique=True),
    Column("since", words(40), nullable=False),
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
    # The transaction holds the writers' lock from its first statement, so a second process waits and finds all done.
    with engine.begin() as connection:
        if MigrationContext.configure(connection).get_current_revision() == newest:
            return
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "head")
        moved(connection)
