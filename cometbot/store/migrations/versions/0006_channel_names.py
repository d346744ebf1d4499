"""Refuse a database of a development version, whose rows hold channel names that no longer exist."""

import sqlalchemy as sa
from alembic import op

from cometbot.errors import ConfigurationError

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("conversations", "chat_users"):
        found = sa.text(f"SELECT channel FROM {table} WHERE channel IN ('botpress', 'botyard') LIMIT 1")
        if channel := op.get_bind().execute(found).scalar():
            raise ConfigurationError(
                f"the database was made by a development version: it holds data of the channel {channel}, which 0.1.0 "
                "does not have. Set COMETBOT_DATABASE_URL to a new database."
            )
