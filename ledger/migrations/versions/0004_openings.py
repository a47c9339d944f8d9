"""Places outside that sandboxes may reach."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "opening",
        sa.Column("sandbox", sa.String(8), sa.ForeignKey("sandbox.id"), primary_key=True),
        sa.Column("host", sa.String(255), primary_key=True),
        sa.Column("asked_by", sa.String(64), nullable=False),
        sa.Column("asked", sa.String(40), nullable=False),
        sa.Column("agreed_by", sa.String(64)),
        sa.Column("agreed", sa.String(40)),
    )
