"""Sandboxes, their members, invitations and transfers."""

import sqlalchemy as sa
from alembic import op

from ledger.columns import words

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "sandbox",
        sa.Column("id", words(8), primary_key=True),
        sa.Column("title", words(80), nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("sector", words(40), nullable=False),
        sa.Column("data_class", words(20), nullable=False),
        sa.Column("risk_class", words(20), nullable=False),
        sa.Column("state", words(20), nullable=False, index=True),
        sa.Column("owner", words(64), nullable=False),
        sa.Column("created", words(40), nullable=False),
        sa.Column("ends", words(40), nullable=False),
        sa.Column("ended", words(40)),
        sa.Column("erased", words(40)),
    )
    op.create_table(
        "member",
        sa.Column("sandbox", words(8), sa.ForeignKey("sandbox.id"), primary_key=True),
        sa.Column("person", words(64), primary_key=True, index=True),
        sa.Column("added", words(40), nullable=False),
        sa.Column("removed", words(40)),
    )
    op.create_table(
        "invitation",
        sa.Column("code_hash", words(64), primary_key=True),
        sa.Column("sandbox", words(8), sa.ForeignKey("sandbox.id"), nullable=False),
        sa.Column("made_by", words(64), nullable=False),
        sa.Column("expires", words(40), nullable=False),
    )
    op.create_table(
        "transfer",
        sa.Column("id", words(16), primary_key=True),
        sa.Column("sandbox", words(8), sa.ForeignKey("sandbox.id"), nullable=False, index=True),
        sa.Column("direction", words(10), nullable=False),
        sa.Column("name", words(255), nullable=False),
        sa.Column("size", sa.BigInteger),
        sa.Column("sha256", words(64)),
        sa.Column("state", words(20), nullable=False),
        sa.Column("asked_by", words(64), nullable=False),
        sa.Column("asked", words(40), nullable=False),
        sa.Column("decided_by", words(64)),
        sa.Column("decided", words(40)),
        sa.Column("reason", words(255)),
    )
