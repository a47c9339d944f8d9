"""Sandboxes, their members, invitations and transfers."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "sandbox",
        sa.Column("id", sa.String(8), primary_key=True),
        sa.Column("title", sa.String(80), nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("sector", sa.String(40), nullable=False),
        sa.Column("data_class", sa.String(20), nullable=False),
        sa.Column("risk_class", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=False, index=True),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("created", sa.String(40), nullable=False),
        sa.Column("ends", sa.String(40), nullable=False),
        sa.Column("ended", sa.String(40)),
        sa.Column("erased", sa.String(40)),
    )
    op.create_table(
        "member",
        sa.Column("sandbox", sa.String(8), sa.ForeignKey("sandbox.id"), primary_key=True),
        sa.Column("person", sa.String(64), primary_key=True, index=True),
        sa.Column("added", sa.String(40), nullable=False),
        sa.Column("removed", sa.String(40)),
    )
    op.create_table(
        "invitation",
        sa.Column("code_hash", sa.String(64), primary_key=True),
        sa.Column("sandbox", sa.String(8), sa.ForeignKey("sandbox.id"), nullable=False),
        sa.Column("made_by", sa.String(64), nullable=False),
        sa.Column("expires", sa.String(40), nullable=False),
    )
    op.create_table(
        "transfer",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("sandbox", sa.String(8), sa.ForeignKey("sandbox.id"), nullable=False, index=True),
        sa.Column("direction", sa.String(10), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("size", sa.Integer),
        sa.Column("sha256", sa.String(64)),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("asked_by", sa.String(64), nullable=False),
        sa.Column("asked", sa.String(40), nullable=False),
        sa.Column("decided_by", sa.String(64)),
        sa.Column("decided", sa.String(40)),
        sa.Column("reason", sa.String(255)),
    )
