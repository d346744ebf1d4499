"""``cometbot db``: the database's schema."""

from __future__ import annotations

import click

from cometbot.cli import CommandGroup


@click.group(cls=CommandGroup)
def db() -> None:
    """Manage the database schema."""


@db.command()
def upgrade() -> None:
    """Upgrade the schema of the database of COMETBOT_DATABASE_URL.

    Every command that opens a SQLite file upgrades it; this command also prints the result.
    """
    from cometbot.settings import Settings
    from cometbot.store.factory import check_persistent, database_from_url
    from cometbot.store.migrate import HEAD

    url = Settings.from_environment().database_url
    check_persistent(url)
    store = database_from_url(url)
    try:
        store.upgrade()
    finally:
        store.close()
    click.echo(f"The database schema is at revision {HEAD}.")
