"""The Admin API: external bots, their keys, and the config. See docs/protocols/platform.md, "Admin API"."""

from __future__ import annotations

from dataclasses import dataclass

from cometbot.channels.platform import schemas, serializers, validators
from cometbot.channels.platform.chat_service import ChatService
from cometbot.channels.platform.errors import ApiError, name_already_exists
from cometbot.channels.platform.ids import ALL_BOTS, bot_scope, delivery_records
from cometbot.channels.platform.keys import BotKeys
from cometbot.channels.platform.serializers import JsonObject
from cometbot.channels.platform.views.parameters import BodyReader
from cometbot.channels.platform.views.routing import Route
from cometbot.chat import DELETE_BATCH_SIZE, ListedBot, new_id
from cometbot.errors import ConfigurationError
from cometbot.store.database import ACK_TIMEOUT, Transaction


@dataclass(frozen=True, slots=True)
class AdminApi:
    """The operations of the Admin API."""

    service: ChatService
    keys: BotKeys
    bodies: BodyReader

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
        fields = self.bodies.read(schemas.BotBody)
        if not fields["name"]:
            raise ApiError(400, "bot name must not be empty")
        validators.check_bot(**fields)
        bot_id = new_id().lower()
        key, stored = self.keys.create(bot_id)
        bot = ListedBot(bot_id, **fields, **stored)

        def work(connection: Transaction) -> None:
            if self.service.directory.has_name(connection, bot.name):
                raise name_already_exists()
            self.service.directory.external.create(connection, bot)

        self.service.chat.commit(work)
        return {"bot": serializers.bot_json(bot), "key": key}, 201

    def delete_bot(self, bot_id: str) -> JsonObject:
        """Delete a bot: first the bot, its key, webhook, commands and files, then its chats."""
        bot = self._find_external_bot(bot_id)
        with self.service.database.write(timeout=ACK_TIMEOUT) as connection:
            self.service.directory.external.delete(connection, bot.id)
            self.service.chat.files.delete_by_owner(connection, ALL_BOTS, bot.id)
        self._delete_chats(bot.id)
        return {"message": "Bot deleted."}

    def get_key(self, bot_id: str) -> JsonObject:
        """Return a bot's key, recovered with the admin's secret.

        A key that was created with another secret gives a 404.
        """
        with self.service.database.read() as connection:
            bot = self.service.directory.find(connection, bot_id)
        key = self.keys.recover(bot) if bot is not None else None
        if key is None:
            raise ApiError(404, "Key not found.")
        return {"key": key}

    def replace_key(self, bot_id: str) -> JsonObject:
        """Replace a bot's key. The old key becomes invalid."""
        bot = self._find_external_bot(bot_id)
        key, stored = self.keys.create(bot.id)
        self.service.chat.commit(lambda connection: self.service.directory.external.update(connection, bot.id, stored))
        return {"key": key}

    def reload_config(self) -> JsonObject:
        """Reload the config in every process, within a second."""
        try:
            self.service.config.reload()
        except ConfigurationError as error:
            raise ApiError(409, str(error)) from error
        return {"message": "Config reloaded."}

    def _delete_chats(self, bot_id: str) -> None:
        """Delete all chats of a bot, in small batches, so that other transactions do not wait for them."""
        chat, scope = self.service.chat, bot_scope(bot_id)

        def work(connection: Transaction) -> int:
            found = chat.conversations.list(connection, scope, limit=DELETE_BATCH_SIZE).items
            chat.delete_conversations(connection, found, delivery_records)
            return len(found)

        while chat.commit(work, timeout=None) == DELETE_BATCH_SIZE:
            pass

    def _find_external_bot(self, bot_id: str) -> ListedBot:
        with self.service.database.read() as connection:
            bot = self.service.find_bot(connection, bot_id)
        if bot.is_local:
            raise ApiError(409, "This bot runs inside the server: change it in its code.")
        return bot
