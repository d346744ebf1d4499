"""The bots that people can choose: those that run in this server, and those that the admin has added."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cometbot.bot import Bot
from cometbot.channels.platform.keys import KeyHash
from cometbot.chat import ExternalBot, ExternalBots, ExternalCommand
from cometbot.commands import Command
from cometbot.store.database import Database, Transaction


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where a bot is told of messages; the secret, if any, is sent along."""

    url: str
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ListedBot:
    """A bot as people see it. ``key`` and ``webhook`` are those of a bot that runs elsewhere; ``local_bot`` is one that
    runs here."""

    id: str
    name: str
    description: str = ""
    avatar: str = ""
    key: KeyHash | None = None
    webhook: Webhook | None = None
    local_bot: Bot | None = None


@dataclass(frozen=True, slots=True)
class ListedCommand:
    """A command of a bot, without its slash. ``usage`` says how it is written, where that is known."""

    id: str
    bot: str
    alias: str
    description: str = ""
    usage: str = ""


class BotDirectory:
    """All bots of the platform. A bot that runs here has its name as its id, and cannot be changed from outside.

    Methods that take a connection work inside the caller's transaction.
    """

    def __init__(self, local_bots: Iterable[Bot], database: Database) -> None:
        self._local_bots = {bot.name: bot for bot in local_bots}
        self._external_bots = ExternalBots(database)

    def is_local(self, bot_id: str) -> bool:
        """Whether this is a bot that runs here."""
        return bot_id in self._local_bots

    def find(self, connection: Transaction, bot_id: str) -> ListedBot | None:
        """The bot with this id."""
        if bot_id in self._local_bots:
            return _from_local(self._local_bots[bot_id])
        found = self._external_bots.find(connection, bot_id)
        return _from_external(found) if found else None

    def list_bots(self, connection: Transaction) -> list[ListedBot]:
        """All bots: those of this server, then the others from the oldest on."""
        external = self._external_bots.list_bots(connection)
        return [*(_from_local(bot) for bot in self._local_bots.values()), *(_from_external(bot) for bot in external)]

    def has_name(self, connection: Transaction, name: str) -> bool:
        """Whether a bot is called like that; a bot of this server also where case or spaces differ."""
        return self.is_local_name(name) or self._external_bots.has_name(connection, name)

    def is_local_name(self, name: str) -> bool:
        """Whether people would take ``name`` for that of a bot that runs here."""
        return _normalized_name(name) in map(_normalized_name, self._local_bots)

    def add_bot(self, connection: Transaction, bot: ListedBot, key: KeyHash) -> None:
        """Store a bot that runs elsewhere."""
        self._external_bots.create(
            connection, ExternalBot(bot.id, bot.name, bot.description, bot.avatar, key.salt, key.hashed)
        )

    def update_bot(self, connection: Transaction, bot_id: str, values: Mapping[str, str]) -> None:
        """Give name, description or avatar of a bot that runs elsewhere another value."""
        self._external_bots.update(connection, bot_id, values)

    def set_key(self, connection: Transaction, bot_id: str, key: KeyHash) -> None:
        """Let only this key open the bot from now on."""
        self._external_bots.update(connection, bot_id, {"key_salt": key.salt, "key_hash": key.hashed})

    def set_webhook(self, connection: Transaction, bot_id: str, webhook: Webhook | None) -> None:
        """Tell the bot of messages at ``webhook`` from now on, or nowhere."""
        new_webhook = webhook or Webhook("")
        self._external_bots.update(
            connection, bot_id, {"webhook_url": new_webhook.url, "webhook_secret": new_webhook.secret}
        )

    def delete_bot(self, connection: Transaction, bot_id: str) -> bool:
        """Whether there was such a bot; it is gone now, with its key, webhook and commands."""
        return self._external_bots.delete(connection, bot_id)

    def list_commands(self, connection: Transaction, bot: ListedBot) -> list[ListedCommand]:
        """The bot's commands, in the order in which they were made."""
        if bot.local_bot is not None:
            return [_from_local_command(bot.local_bot, command) for command in bot.local_bot.commands]
        return [_from_external_command(command) for command in self._external_bots.list_commands(connection, bot.id)]

    def add_commands(self, connection: Transaction, commands: Sequence[ListedCommand]) -> None:
        """Store commands; one whose alias its bot has already gets the new description."""
        stored = [ExternalCommand(one.id, one.bot, one.alias, one.description) for one in commands]
        self._external_bots.save_commands(connection, stored)

    def find_command(self, connection: Transaction, command_id: str) -> ListedCommand | None:
        """The command with this id, of whichever bot that runs elsewhere."""
        found = self._external_bots.find_command(connection, command_id)
        return _from_external_command(found) if found else None

    def delete_command(self, connection: Transaction, command_id: str) -> None:
        """Let the command be gone."""
        self._external_bots.delete_command(connection, command_id)


def _normalized_name(name: str) -> str:
    """What people who glance at a list tell names apart by."""
    return " ".join(name.split()).casefold()


def _from_local(bot: Bot) -> ListedBot:
    return ListedBot(bot.name, bot.name, bot.description, bot.avatar, local_bot=bot)


def _from_external(bot: ExternalBot) -> ListedBot:
    webhook = Webhook(bot.webhook_url, bot.webhook_secret) if bot.webhook_url else None
    key = KeyHash(bot.key_salt, bot.key_hash)
    return ListedBot(bot.id, bot.name, bot.description, bot.avatar, key, webhook)


def _from_local_command(bot: Bot, command: Command) -> ListedCommand:
    return ListedCommand(f"{bot.name}.{command.name}", bot.name, command.name, command.description, command.usage)


def _from_external_command(command: ExternalCommand) -> ListedCommand:
    return ListedCommand(command.id, command.bot, command.alias, command.description)
