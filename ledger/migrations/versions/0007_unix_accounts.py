"""Which unix account is whose, on sites where jobs run as each person's own."""

import sqlalchemy as sa
from alembic import op

from ledger.columns import words

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "unix_account",
        sa.Column("person", words(64), primary_key=True),
        sa.Column("name", words(32), nullable=False, unique=True),
        sa.Column("place", sa.Integer, unique=True),
        sa.Column("since", words(40), nullable=False),
    )
