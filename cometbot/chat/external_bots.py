"""External bots, which run elsewhere and use HTTP: their names, keys, webhooks and commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cometbot.chat import queries
from cometbot.store.database import Database
from cometbot.store.tables import platform_bots, platform_commands


@dataclass(frozen=True, slots=True)
class ExternalBot:
    """A bot that runs elsewhere.

    Only a hash of its key is stored. ``webhook_url`` is empty if it has no webhook.
    """

    id: str
    name: str
    description: str = ""
    avatar: str = ""
    key_salt: str = ""
    key_hash: str = field(default="", repr=False)
    webhook_url: str = ""
    webhook_secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ExternalCommand:
    """A command that an external bot registered. ``alias`` has no slash."""

    id: str
    bot: str
    alias: str
    description: str = ""


class ExternalBots:
    """The tables ``platform_bots`` and ``platform_commands``. All methods run in the caller's transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, connection: Connection, id: str) -> ExternalBot | None:
        """Return the bot with this id, or None."""
        row = connection.execute(_bots().where(platform_bots.c.id == queries.replace_unstorable(id))).one_or_none()
        return ExternalBot(*row) if row else None

    def list_bots(self, connection: Connection) -> list[ExternalBot]:
        """Return all bots, oldest first."""
        return [ExternalBot(*row) for row in connection.execute(_bots().order_by(platform_bots.c.seq))]

    def has_name(self, connection: Connection, name: str) -> bool:
        """Return True if a bot has this name."""
        query = sa.select(platform_bots.c.id).where(platform_bots.c.name == queries.replace_unstorable(name)).limit(1)
        return connection.execute(query).first() is not None

    def create(self, connection: Connection, bot: ExternalBot) -> None:
        """Store a new bot."""
        values = {name: getattr(bot, name) for name in _COLUMNS}
        now = queries.now_ms(self._database)
        connection.execute(sa.insert(platform_bots).values(**values, created_at=now))

    def update(self, connection: Connection, id: str, values: Mapping[str, str]) -> None:
        """Set fields of a bot, by name."""
        if values:
            connection.execute(
                sa.update(platform_bots).where(platform_bots.c.id == queries.replace_unstorable(id)).values(values)
            )

    def delete(self, connection: Connection, id: str) -> bool:
        """Delete a bot with its key, webhook and commands. Return False if there is none."""
        connection.execute(
            sa.delete(platform_commands).where(platform_commands.c.bot == queries.replace_unstorable(id))
        )
        deletion = sa.delete(platform_bots).where(platform_bots.c.id == queries.replace_unstorable(id))
        return connection.execute(deletion).rowcount > 0

    def list_commands(self, connection: Connection, bot: str) -> list[ExternalCommand]:
        """Return the commands of a bot, in the order in which they were first registered."""
        query = (
            _commands()
            .where(platform_commands.c.bot == queries.replace_unstorable(bot))
            .order_by(platform_commands.c.seq)
        )
        return [ExternalCommand(*row) for row in connection.execute(query)]

    def save_commands(self, connection: Connection, commands: Sequence[ExternalCommand]) -> None:
        """Store commands. If the bot already has the alias, its command gets the new description and keeps its id."""
        insert = self._database.insert(platform_commands)
        replaced = {"description": insert.excluded.description}
        change = insert.on_conflict_do_update(index_elements=["bot", "alias"], set_=replaced)
        for command in commands:
            values: dict[str, Any] = {name: getattr(command, name) for name in ("id", "bot", "alias", "description")}
            connection.execute(change, values)

    def find_command(self, connection: Connection, id: str) -> ExternalCommand | None:
        """Return the command with this id, of any bot, or None."""
        row = connection.execute(
            _commands().where(platform_commands.c.id == queries.replace_unstorable(id))
        ).one_or_none()
        return ExternalCommand(*row) if row else None

    def delete_command(self, connection: Connection, id: str) -> None:
        """Delete a command."""
        connection.execute(sa.delete(platform_commands).where(platform_commands.c.id == queries.replace_unstorable(id)))


_COLUMNS = (
    "id",
    "name",
    "description",
    "avatar",
    "key_salt",
    "key_hash",
    "webhook_url",
    "webhook_secret",
)


def _bots() -> sa.Select[Any]:
    return sa.select(*(platform_bots.c[name] for name in _COLUMNS))


def _commands() -> sa.Select[Any]:
    columns = platform_commands.c
    return sa.select(columns.id, columns.bot, columns.alias, columns.description)
