"""The Admin API: external bots, their keys, and the config. See docs/protocols/platform.md, "Admin API"."""

from __future__ import annotations

from cometbot.channels.platform import schemas, serializers, validators
from cometbot.channels.platform.directory import ListedBot
from cometbot.channels.platform.errors import ApiError, name_already_exists
from cometbot.channels.platform.ids import ALL_BOTS, bot_scope, delivery_records
from cometbot.channels.platform.platform import Platform
from cometbot.channels.platform.serializers import JsonObject
from cometbot.channels.platform.views.client_api import max_body_size
from cometbot.channels.platform.views.request_body import read_fields
from cometbot.channels.platform.views.routing import Route
from cometbot.chat import DELETE_BATCH_SIZE, new_id
from cometbot.errors import ConfigurationError
from cometbot.store.database import ACK_TIMEOUT, Transaction

_LOCAL_BOT_ERROR = "This bot runs inside the server: change it in its code."


class AdminApi:
    """The operations of the Admin API."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._directory = platform.directory

    def routes(self) -> list[Route]:
        """Return the routes of all operations."""
        return [
            Route("POST", "admin-api/bot", self.create_bot, "admin"),
            Route("DELETE", "admin-api/bot/<bot_id>", self.delete_bot, "admin"),
            Route("GET", "admin-api/bot/<bot_id>/key", self.get_key, "admin"),
            Route("PUT", "admin-api/bot/<bot_id>/key", self.replace_key, "admin"),
            Route("PUT", "admin-api/config", self.reload_config, "admin"),
        ]

    def create_bot(self) -> tuple[JsonObject, int]:
        """Create an external bot and return it with its key."""
        body = read_fields(max_body_size(self._platform), self._platform.settings.body_timeout)
        fields = schemas.load(schemas.BotBody, body)
        validators.check_bot_name(fields["name"])
        validators.check_bot_description(fields["description"])
        validators.check_avatar(fields["avatar"])
        bot = ListedBot(new_id().lower(), **fields)
        key, key_hash = self._platform.keys.create(bot.id)

        def work(connection: Transaction) -> None:
            if self._directory.has_name(connection, bot.name):
                raise name_already_exists()
            self._directory.add_bot(connection, bot, key_hash)

        self._platform.database.group_commit(work, timeout=ACK_TIMEOUT)
        return {"bot": serializers.bot_json(bot), "key": key}, 201

    def delete_bot(self, bot_id: str) -> JsonObject:
        """Delete a bot: first the bot, its key, webhook, commands and files, then its chats."""
        bot = self._find_external_bot(bot_id)
        with self._platform.database.write(timeout=ACK_TIMEOUT) as connection:
            self._directory.delete_bot(connection, bot.id)
            self._platform.chat.files.delete_by_owner(connection, ALL_BOTS, bot.id)
        self._delete_chats(bot.id)
        return {"message": "Bot deleted."}

    def get_key(self, bot_id: str) -> JsonObject:
        """Return a bot's key, recovered with the admin's secret.

        A key that was created with another secret gives a 404.
        """
        with self._platform.database.read() as connection:
            bot = self._directory.find(connection, bot_id)
        key = self._platform.keys.recover(bot.id, bot.key) if bot is not None and bot.key is not None else None
        if key is None:
            raise ApiError(404, "Key not found.")
        return {"key": key}

    def replace_key(self, bot_id: str) -> JsonObject:
        """Replace a bot's key. The old key becomes invalid."""
        bot = self._find_external_bot(bot_id)
        key, key_hash = self._platform.keys.create(bot.id)
        with self._platform.database.write(timeout=ACK_TIMEOUT) as connection:
            self._directory.set_key(connection, bot.id, key_hash)
        return {"key": key}

    def reload_config(self) -> JsonObject:
        """Reload the config in every process, within a second."""
        try:
            self._platform.config.reload()
        except ConfigurationError as error:
            raise ApiError(409, str(error)) from error
        return {"message": "Config reloaded."}

    def _delete_chats(self, bot_id: str) -> None:
        """Delete all chats of a bot, in small batches, so that other transactions do not wait for them."""
        chat, scope, is_finished = self._platform.chat, bot_scope(bot_id), False
        while not is_finished:
            with self._platform.database.write() as connection:
                found = chat.conversations.list(connection, scope, limit=DELETE_BATCH_SIZE).items
                signals = chat.delete_conversations(connection, found, delivery_records)
            chat.feed.publish(signals)
            is_finished = len(found) < DELETE_BATCH_SIZE

    def _find_external_bot(self, bot_id: str) -> ListedBot:
        with self._platform.database.read() as connection:
            bot = self._directory.find(connection, bot_id)
        if bot is None:
            raise ApiError(404, "Bot not found.")
        if bot.local_bot is not None:
            raise ApiError(409, _LOCAL_BOT_ERROR)
        return bot
