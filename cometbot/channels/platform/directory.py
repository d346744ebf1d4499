"""The bots that users can choose: those of this server, and external ones that the admin has added."""

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
    """The URL that receives a bot's messages, and the secret, if any, that is sent along."""

    url: str
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ListedBot:
    """A bot as users see it.

    ``key`` and ``webhook`` belong to an external bot. ``local_bot`` is the bot of this server, else None.
    """

    id: str
    name: str
    description: str = ""
    avatar: str = ""
    key: KeyHash | None = None
    webhook: Webhook | None = None
    local_bot: Bot | None = None


@dataclass(frozen=True, slots=True)
class ListedCommand:
    """A command of a bot, without its slash. ``usage`` is its syntax, if known."""

    id: str
    bot: str
    alias: str
    description: str = ""
    usage: str = ""


class BotDirectory:
    """All bots of the platform.

    The id of a bot of this server is its name, and it cannot be changed by the APIs. Methods that receive a connection
    work inside the caller's transaction.
    """

    def __init__(self, local_bots: Iterable[Bot], database: Database) -> None:
        self._local_bots = {bot.name: bot for bot in local_bots}
        self._external_bots = ExternalBots(database)

    def is_local(self, bot_id: str) -> bool:
        """Return whether this is a bot of this server."""
        return bot_id in self._local_bots

    def find(self, connection: Transaction, bot_id: str) -> ListedBot | None:
        """Return the bot with this id, or None."""
        if bot_id in self._local_bots:
            return _from_local(self._local_bots[bot_id])
        found = self._external_bots.find(connection, bot_id)
        return _from_external(found) if found else None

    def list_bots(self, connection: Transaction) -> list[ListedBot]:
        """Return all bots: those of this server, then the external ones, oldest first."""
        external = self._external_bots.list_bots(connection)
        return [*(_from_local(bot) for bot in self._local_bots.values()), *(_from_external(bot) for bot in external)]

    def has_name(self, connection: Transaction, name: str) -> bool:
        """Return whether a bot has this name. Names of this server's bots match regardless of case and extra spaces."""
        return self.is_local_name(name) or self._external_bots.has_name(connection, name)

    def is_local_name(self, name: str) -> bool:
        """Return whether users would confuse ``name`` with that of a bot of this server."""
        return _normalized_name(name) in map(_normalized_name, self._local_bots)

    def add_bot(self, connection: Transaction, bot: ListedBot, key: KeyHash) -> None:
        """Store an external bot."""
        self._external_bots.create(
            connection, ExternalBot(bot.id, bot.name, bot.description, bot.avatar, key.salt, key.hashed)
        )

    def update_bot(self, connection: Transaction, bot_id: str, values: Mapping[str, str]) -> None:
        """Update the name, description or avatar of an external bot."""
        self._external_bots.update(connection, bot_id, values)

    def set_key(self, connection: Transaction, bot_id: str, key: KeyHash) -> None:
        """Replace the key of an external bot; the old one becomes invalid."""
        self._external_bots.update(connection, bot_id, {"key_salt": key.salt, "key_hash": key.hashed})

    def set_webhook(self, connection: Transaction, bot_id: str, webhook: Webhook | None) -> None:
        """Replace the webhook of an external bot; None removes it."""
        new_webhook = webhook or Webhook("")
        self._external_bots.update(
            connection, bot_id, {"webhook_url": new_webhook.url, "webhook_secret": new_webhook.secret}
        )

    def delete_bot(self, connection: Transaction, bot_id: str) -> bool:
        """Delete an external bot with its key, webhook and commands; return False if there is none."""
        return self._external_bots.delete(connection, bot_id)

    def list_commands(self, connection: Transaction, bot: ListedBot) -> list[ListedCommand]:
        """Return the bot's commands, in the order in which they were created."""
        if bot.local_bot is not None:
            return [_from_local_command(bot.local_bot, command) for command in bot.local_bot.commands]
        return [_from_external_command(command) for command in self._external_bots.list_commands(connection, bot.id)]

    def add_commands(self, connection: Transaction, commands: Sequence[ListedCommand]) -> None:
        """Store commands. A command whose alias the bot already has gets the new description."""
        stored = [ExternalCommand(one.id, one.bot, one.alias, one.description) for one in commands]
        self._external_bots.save_commands(connection, stored)

    def find_command(self, connection: Transaction, command_id: str) -> ListedCommand | None:
        """Return the command with this id of any external bot, or None."""
        found = self._external_bots.find_command(connection, command_id)
        return _from_external_command(found) if found else None

    def delete_command(self, connection: Transaction, command_id: str) -> None:
        """Delete a command."""
        self._external_bots.delete_command(connection, command_id)


def _normalized_name(name: str) -> str:
    """Return the form in which two names that look alike are equal."""
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
