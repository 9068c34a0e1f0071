"""The index of ids and causes stands beside the record now: column `key`, its index and table `cause` go."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Drop what a first schema of before has; one that was made of today's metadata has none of it."""
    seen = sa.inspect(op.get_bind())
    if "cause" in seen.get_table_names():
        op.drop_table("cause")
    if "key" in {column["name"] for column in seen.get_columns("record")}:
        op.drop_index("record_key", "record")
        op.drop_column("record", "key")


def downgrade() -> None:
    """Nothing: what was dropped follows from the records."""
