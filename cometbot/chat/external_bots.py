"""The bots of the platform. External ones run elsewhere and use HTTP; their keys and commands are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cometbot.chat import queries
from cometbot.store.database import Database
from cometbot.store.tables import platform_bots, platform_commands


@dataclass(frozen=True, slots=True)
class ListedBot:
    """A bot as users see it.

    The key and the webhook belong to an external bot. Only a hash of the key is stored. ``webhook_url`` is empty if the
    bot has no webhook. ``greets`` is true if it has a handler for the beginning of a conversation.
    """

    id: str
    name: str
    description: str = ""
    avatar: str = ""
    key_salt: str = ""
    key_hash: str = field(default="", repr=False)
    webhook_url: str = ""
    webhook_secret: str = field(default="", repr=False)
    is_local: bool = False
    greets: bool = False


@dataclass(frozen=True, slots=True)
class ListedCommand:
    """A command of a bot. ``alias`` has no slash. ``usage`` is the syntax, known only for bots of this server."""

    id: str
    bot: str
    alias: str
    description: str = ""
    usage: str = ""


_bots, _commands = platform_bots.c, platform_commands.c
_select_bots = sa.select(*(_bots[item.name] for item in fields(ListedBot) if item.name in _bots))
_select_commands = sa.select(*(_commands[item.name] for item in fields(ListedCommand) if item.name in _commands))


class ExternalBots:
    """The tables ``platform_bots`` and ``platform_commands``. All methods run in the caller's transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, connection: Connection, id: str) -> ListedBot | None:
        """Return the bot with this id, or None."""
        row = connection.execute(_select_bots.where(_equals(_bots.id, id))).one_or_none()
        return ListedBot(*row) if row else None

    def list_bots(self, connection: Connection) -> list[ListedBot]:
        """Return all bots, oldest first."""
        return [ListedBot(*row) for row in connection.execute(_select_bots.order_by(_bots.seq))]

    def has_name(self, connection: Connection, name: str) -> bool:
        """Return True if a bot has this name."""
        query = sa.select(_bots.id).where(_equals(_bots.name, name)).limit(1)
        return connection.execute(query).first() is not None

    def create(self, connection: Connection, bot: ListedBot) -> None:
        """Store a new bot."""
        values = {name: value for name, value in asdict(bot).items() if name in _bots}
        now = queries.now_ms(self._database)
        connection.execute(sa.insert(platform_bots).values(**values, created_at=now))

    def update(self, connection: Connection, id: str, values: Mapping[str, str]) -> None:
        """Set fields of a bot, by name."""
        if values:
            connection.execute(sa.update(platform_bots).where(_equals(_bots.id, id)).values(values))

    def delete(self, connection: Connection, id: str) -> None:
        """Delete a bot with its key, webhook and commands."""
        connection.execute(sa.delete(platform_commands).where(_equals(_commands.bot, id)))
        connection.execute(sa.delete(platform_bots).where(_equals(_bots.id, id)))

    def list_commands(self, connection: Connection, bot: str) -> list[ListedCommand]:
        """Return the commands of a bot, in the order in which they were first registered."""
        query = _select_commands.where(_equals(_commands.bot, bot)).order_by(_commands.seq)
        return [ListedCommand(*row) for row in connection.execute(query)]

    def save_commands(self, connection: Connection, commands: Sequence[ListedCommand]) -> None:
        """Store commands. If the bot already has the alias, its command gets the new description and keeps its id."""
        insert = self._database.insert(platform_commands)
        replaced = {"description": insert.excluded.description}
        change = insert.on_conflict_do_update(index_elements=["bot", "alias"], set_=replaced)
        for command in commands:
            values: dict[str, Any] = {name: value for name, value in asdict(command).items() if name in _commands}
            connection.execute(change, values)

    def find_command(self, connection: Connection, id: str) -> ListedCommand | None:
        """Return the command with this id, of any bot, or None."""
        row = connection.execute(_select_commands.where(_equals(_commands.id, id))).one_or_none()
        return ListedCommand(*row) if row else None

    def delete_command(self, connection: Connection, id: str) -> None:
        """Delete a command."""
        connection.execute(sa.delete(platform_commands).where(_equals(_commands.id, id)))


def _equals(column: sa.Column[Any], text: str) -> sa.ColumnElement[bool]:
    return column == queries.replace_unstorable(text)
