"""People, and the audit trail that nobody can change through SQL."""

import sqlalchemy as sa
from alembic import op

from ledger.columns import words

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the first tables."""
    op.create_table(
        "person",
        sa.Column("pseudonym", words(64), primary_key=True),
        sa.Column("provider", words(64), nullable=False),
        sa.Column("subject", words(255), nullable=False),
        sa.Column("title", words(255), nullable=False),
        sa.Column("first_seen", words(40), nullable=False),
        sa.UniqueConstraint("provider", "subject"),
    )
    op.create_table(
        "entry",
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("time", words(40), nullable=False),
        sa.Column("actor", words(255), nullable=False),
        sa.Column("action", words(255), nullable=False),
        sa.Column("subject", words(255), nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("hash", words(64), nullable=False),
    )
    for column in ("actor", "action", "subject"):
        op.create_index(f"ix_entry_{column}", "entry", [column])
    op.create_table(
        "head",
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("hash", words(64), nullable=False),
        sa.Column("seal", words(64), nullable=False),
    )
    make_append_only(op.get_bind().dialect.name)


def make_append_only(dialect: str) -> None:
    """Refuse changes of the trail that come through SQL."""
    refusal = "the audit trail is append-only"
    if dialect == "postgresql":
        op.execute(
            "CREATE FUNCTION entry_is_kept() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{refusal}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
        )
        for change, each in (("UPDATE", "ROW"), ("DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
            op.execute(
                f"CREATE TRIGGER entry_no_{change.lower()} BEFORE {change} ON entry "
                f"FOR EACH {each} EXECUTE FUNCTION entry_is_kept()"
            )
        return
    for change in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER entry_no_{change.lower()} BEFORE {change} ON entry "
            f"BEGIN SELECT RAISE(ABORT, '{refusal}'); END"
        )
