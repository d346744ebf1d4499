"""The bots that people can choose: those that run in this server, and those that the admin has added."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cometbot.bot import Bot
from cometbot.channels.botyard.keys import StoredKey
from cometbot.chat import OutsideBot, OutsideBots, OutsideCommand
from cometbot.commands import Command
from cometbot.store.database import Database, Transaction


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where a bot is told of messages; the secret, if any, is sent along."""

    url: str
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ListedBot:
    """A bot as people see it. ``key`` and ``webhook`` are those of a bot that runs elsewhere; ``served`` is one that
    runs here."""

    id: str
    name: str
    description: str = ""
    avatar: str = ""
    key: StoredKey | None = None
    webhook: Webhook | None = None
    served: Bot | None = None


@dataclass(frozen=True, slots=True)
class ListedCommand:
    """A command of a bot, without its slash. ``usage`` says how it is written, where that is known."""

    id: str
    bot: str
    alias: str
    description: str = ""
    usage: str = ""


class Directory:
    """All bots of the platform. A bot that runs here has its name as its id, and cannot be changed from outside.

    Methods that take a connection work inside the caller's transaction.
    """

    def __init__(self, served: Iterable[Bot], database: Database) -> None:
        self._served = {bot.name: bot for bot in served}
        self._outside = OutsideBots(database)

    def is_served(self, bot_id: str) -> bool:
        """Whether this is a bot that runs here."""
        return bot_id in self._served

    def find(self, connection: Transaction, bot_id: str) -> ListedBot | None:
        """The bot with this id."""
        if bot_id in self._served:
            return _to_served(self._served[bot_id])
        found = self._outside.find(connection, bot_id)
        return _to_bot(found) if found else None

    def all(self, connection: Transaction) -> list[ListedBot]:
        """All bots: those of this server, then the others from the oldest on."""
        outside = self._outside.all(connection)
        return [*(_to_served(bot) for bot in self._served.values()), *(_to_bot(bot) for bot in outside)]

    def has_name(self, connection: Transaction, name: str) -> bool:
        """Whether a bot is called like that; a bot of this server also where case or spaces differ."""
        return self.is_name_of_served(name) or self._outside.has_name(connection, name)

    def is_name_of_served(self, name: str) -> bool:
        """Whether people would take ``name`` for that of a bot that runs here."""
        return _as_read(name) in map(_as_read, self._served)

    def add(self, connection: Transaction, bot: ListedBot, key: StoredKey) -> None:
        """Store a bot that runs elsewhere."""
        self._outside.add(connection, OutsideBot(bot.id, bot.name, bot.description, bot.avatar, key.salt, key.hashed))

    def change(self, connection: Transaction, bot_id: str, values: Mapping[str, str]) -> None:
        """Give name, description or avatar of a bot that runs elsewhere another value."""
        self._outside.change(connection, bot_id, values)

    def set_key(self, connection: Transaction, bot_id: str, key: StoredKey) -> None:
        """Let only this key open the bot from now on."""
        self._outside.change(connection, bot_id, {"key_salt": key.salt, "key_hash": key.hashed})

    def set_webhook(self, connection: Transaction, bot_id: str, webhook: Webhook | None) -> None:
        """Tell the bot of messages at ``webhook`` from now on, or nowhere."""
        wanted = webhook or Webhook("")
        self._outside.change(connection, bot_id, {"webhook_url": wanted.url, "webhook_secret": wanted.secret})

    def remove(self, connection: Transaction, bot_id: str) -> bool:
        """Whether there was such a bot; it is gone now, with its key, webhook and commands."""
        return self._outside.remove(connection, bot_id)

    def commands(self, connection: Transaction, bot: ListedBot) -> list[ListedCommand]:
        """The bot's commands, in the order in which they were made."""
        if bot.served is not None:
            return [_to_served_command(bot.served, command) for command in bot.served.commands]
        return [_to_command(command) for command in self._outside.commands(connection, bot.id)]

    def add_commands(self, connection: Transaction, commands: Sequence[ListedCommand]) -> None:
        """Store commands; one whose alias its bot has already gets the new description."""
        stored = [OutsideCommand(one.id, one.bot, one.alias, one.description) for one in commands]
        self._outside.add_commands(connection, stored)

    def find_command(self, connection: Transaction, command_id: str) -> ListedCommand | None:
        """The command with this id, of whichever bot that runs elsewhere."""
        found = self._outside.find_command(connection, command_id)
        return _to_command(found) if found else None

    def remove_command(self, connection: Transaction, command_id: str) -> None:
        """Let the command be gone."""
        self._outside.remove_command(connection, command_id)


def _as_read(name: str) -> str:
    """What people who glance at a list tell names apart by."""
    return " ".join(name.split()).casefold()


def _to_served(bot: Bot) -> ListedBot:
    return ListedBot(bot.name, bot.name, bot.description, bot.avatar, served=bot)


def _to_bot(bot: OutsideBot) -> ListedBot:
    webhook = Webhook(bot.webhook_url, bot.webhook_secret) if bot.webhook_url else None
    key = StoredKey(bot.key_salt, bot.key_hash)
    return ListedBot(bot.id, bot.name, bot.description, bot.avatar, key, webhook)


def _to_served_command(bot: Bot, command: Command) -> ListedCommand:
    return ListedCommand(f"{bot.name}.{command.name}", bot.name, command.name, command.description, command.usage)


def _to_command(command: OutsideCommand) -> ListedCommand:
    return ListedCommand(command.id, command.bot, command.alias, command.description)
