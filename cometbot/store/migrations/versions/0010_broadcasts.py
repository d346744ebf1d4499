"""Add the tables of broadcasts."""

from alembic import op

from cometbot.store.tables import broadcast_recipients, broadcasts

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables as they are today."""
    for table in (broadcasts, broadcast_recipients):
        table.create(op.get_bind())
