"""The Admin API: bots that run elsewhere, their keys, and the config. Section 1.4 of the protocol."""

from __future__ import annotations

from cometbot.channels.botyard import rules, schemas, shapes
from cometbot.channels.botyard.directory import ListedBot
from cometbot.channels.botyard.platform import EVERYWHERE, Platform
from cometbot.channels.botyard.refusals import Refusal, name_taken
from cometbot.channels.botyard.removal import remove_chats
from cometbot.channels.botyard.shapes import JSON
from cometbot.channels.botyard.views.bodies import read_fields
from cometbot.channels.botyard.views.client_api import body_limit
from cometbot.channels.botyard.views.routing import Route
from cometbot.chat import new_id
from cometbot.errors import ConfigurationError
from cometbot.store.database import ACK_TIMEOUT, Transaction

_RUNS_HERE = "This bot runs inside the server: change it in its code."


class AdminApi:
    """Operations A1 to A5."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._directory = platform.directory

    def routes(self) -> list[Route]:
        """Every operation with its path."""
        return [
            Route("POST", "admin-api/bot", self.create_bot, "admin"),
            Route("DELETE", "admin-api/bot/<bot_id>", self.delete_bot, "admin"),
            Route("GET", "admin-api/bot/<bot_id>/key", self.key, "admin"),
            Route("PUT", "admin-api/bot/<bot_id>/key", self.change_key, "admin"),
            Route("PUT", "admin-api/config", self.reload_config, "admin"),
        ]

    def create_bot(self) -> tuple[JSON, int]:
        """A1."""
        body = read_fields(body_limit(self._platform), self._platform.settings.body_timeout)
        fields = schemas.load(schemas.BotBody, body)
        rules.check_bot_name(fields["name"])
        rules.check_bot_description(fields["description"])
        rules.check_avatar(fields["avatar"])
        bot = ListedBot(new_id().lower(), **fields)
        key, stored = self._platform.keys.make(bot.id)

        def work(connection: Transaction) -> None:
            if self._directory.has_name(connection, bot.name):
                raise name_taken()
            self._directory.add(connection, bot, stored)

        self._platform.database.together(work, timeout=ACK_TIMEOUT)
        return {"bot": shapes.bot_json(bot), "key": key}, 201

    def delete_bot(self, bot_id: str) -> JSON:
        """A2: the bot, its key, webhook, commands and files at once; then its chats."""
        bot = self._find(bot_id)
        with self._platform.database.write(timeout=ACK_TIMEOUT) as connection:
            self._directory.remove(connection, bot.id)
            self._platform.chat.files.delete_owned(connection, EVERYWHERE, bot.id)
        remove_chats(self._platform.chat, bot.id)
        return {"message": "Bot deleted."}

    def key(self, bot_id: str) -> JSON:
        """A3: the key, made again from the admin's secret; a key from the time of another secret is not known."""
        with self._platform.database.read() as connection:
            bot = self._directory.find(connection, bot_id)
        key = self._platform.keys.recall(bot.id, bot.key) if bot is not None and bot.key is not None else None
        if key is None:
            raise Refusal(404, "Key not found.")
        return {"key": key}

    def change_key(self, bot_id: str) -> JSON:
        """A4: the old key opens nothing any more."""
        bot = self._find(bot_id)
        key, stored = self._platform.keys.make(bot.id)
        with self._platform.database.write(timeout=ACK_TIMEOUT) as connection:
            self._directory.set_key(connection, bot.id, stored)
        return {"key": key}

    def reload_config(self) -> JSON:
        """A5: in every process, within a second."""
        try:
            self._platform.config.reload()
        except ConfigurationError as error:
            raise Refusal(409, str(error)) from error
        return {"message": "Config reloaded."}

    def _find(self, bot_id: str) -> ListedBot:
        with self._platform.database.read() as connection:
            bot = self._directory.find(connection, bot_id)
        if bot is None:
            raise Refusal(404, "Bot not found.")
        if bot.served is not None:
            raise Refusal(409, _RUNS_HERE)
        return bot
