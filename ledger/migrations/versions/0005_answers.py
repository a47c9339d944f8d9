"""What was asked of the assistant: who, where, which model, how much; never a question or an answer."""

import sqlalchemy as sa
from alembic import op

from ledger.columns import words

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "answer",
        sa.Column("id", words(24), primary_key=True),
        sa.Column("person", words(64), nullable=False),
        sa.Column("place", words(20), nullable=False),
        sa.Column("place_id", words(64), nullable=False),
        sa.Column("model", words(64), nullable=False),
        sa.Column("asked", sa.Float, nullable=False, index=True),
        sa.Column("seconds", sa.Float),
        sa.Column("tokens_in", sa.Integer, nullable=False),
        sa.Column("tokens_out", sa.Integer, nullable=False),
        sa.Column("joules", sa.Float),
        sa.Column("measured", sa.Boolean, nullable=False),
        sa.Column("state", words(20), nullable=False),
    )
    op.create_index("ix_answer_person_asked", "answer", ["person", "asked"])
