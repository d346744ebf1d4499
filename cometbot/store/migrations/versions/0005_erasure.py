"""Ways to what is kept of one conversation, so that it can be erased."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    kept = sa.text("state IN ('done', 'discarded', 'dead')")
    op.create_index("mailbox_kept", "mailbox", ["lane"], sqlite_where=kept, postgresql_where=kept)
    kept = sa.text("state IN ('sent', 'discarded', 'dead')")
    op.create_index("outbox_kept", "outbox", ["lane"], sqlite_where=kept, postgresql_where=kept)
