"""The first schema: record, cause, snapshot, setting, registry."""

from alembic import op

from tieline.store.schema import metadata

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make all tables."""
    metadata.create_all(op.get_bind())


def downgrade() -> None:
    """Drop all tables."""
    metadata.drop_all(op.get_bind())
