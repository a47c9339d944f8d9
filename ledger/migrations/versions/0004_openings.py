"""Places outside that sandboxes may reach."""

import sqlalchemy as sa
from alembic import op

from ledger.columns import words

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "opening",
        sa.Column("sandbox", words(8), sa.ForeignKey("sandbox.id"), primary_key=True),
        sa.Column("host", words(255), primary_key=True),
        sa.Column("asked_by", words(64), nullable=False),
        sa.Column("asked", words(40), nullable=False),
        sa.Column("agreed_by", words(64)),
        sa.Column("agreed", words(40)),
    )
