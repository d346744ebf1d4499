"""Add the tables of the files that bots send."""

from alembic import op

from cometbot.store.tables import sent_chunks, sent_contents, sent_files

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables as they are today."""
    for table in (sent_files, sent_contents, sent_chunks):
        table.create(op.get_bind())
