"""Procrastinate's own tables, on PostgreSQL; SQLite needs none."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    from procrastinate.schema import SchemaManager

    cursor = connection.connection.cursor()
    cursor.execute(SchemaManager.get_schema())
