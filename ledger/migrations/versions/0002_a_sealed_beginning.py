"""No change of tables: from here on a trail without entries has a sealed head too, put there by `ledger.store`."""

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing to change: the seal needs the key, which migrations do not have."""
