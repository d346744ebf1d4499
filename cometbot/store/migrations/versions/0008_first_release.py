"""The schema of 0.1.0, which ``migrate.upgrade`` creates from ``tables.metadata``; the next revision changes it."""

revision = "0008"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Do nothing: every database of a release has this schema at least."""
