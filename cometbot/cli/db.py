"""``cometbot db``: the database's schema."""

from __future__ import annotations

import click

from cometbot.cli import CommandGroup


@click.group(cls=CommandGroup)
def db() -> None:
    """Keep the database in shape."""


@db.command()
def upgrade() -> None:
    """Bring the schema up to date.

    The database is the one of COMETBOT_DATABASE_URL. SQLite files are brought up to date by every command that opens
    them; this one says what came of it.
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
    click.echo(f"The database has the schema that this version needs ({HEAD}).")
