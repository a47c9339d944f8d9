"""What each job used: how long, of which processors and GPUs, and the energy; for whom and for what."""

import sqlalchemy as sa
from alembic import op

from ledger.columns import words

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "job_use",
        sa.Column("id", words(80), primary_key=True),
        sa.Column("job", sa.BigInteger),
        sa.Column("person", words(64), nullable=False),
        sa.Column("place", words(20), nullable=False),
        sa.Column("place_id", words(64), nullable=False),
        sa.Column("begun", sa.Float, nullable=False, index=True),
        sa.Column("seconds", sa.BigInteger, nullable=False),
        sa.Column("core_seconds", sa.BigInteger, nullable=False),
        sa.Column("cpu_seconds", sa.Float, nullable=False),
        sa.Column("gpu_thousandths", sa.BigInteger, nullable=False),
        sa.Column("joules", sa.Float, nullable=False),
        sa.Column("least", sa.Float, nullable=False),
        sa.Column("most", sa.Float, nullable=False),
        sa.Column("gpu_joules", sa.Float),
        sa.Column("measured", sa.Boolean, nullable=False),
        sa.Column("source", words(10), nullable=False),
        sa.Column("final", sa.Boolean, nullable=False),
    )
    op.create_index("ix_job_use_person_begun", "job_use", ["person", "begun"])
    op.create_index("ix_job_use_place_begun", "job_use", ["place", "place_id", "begun"])
