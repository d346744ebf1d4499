"""The Bot API, for external bots. See docs/protocols/platform.md, "Bot API"."""

from __future__ import annotations

from typing import Any

from cometbot.channels.platform import schemas, serializers, validators
from cometbot.channels.platform.chat_service import ChatService, NewMessage
from cometbot.channels.platform.directory import ListedBot, ListedCommand, Webhook
from cometbot.channels.platform.errors import ApiError, name_already_exists
from cometbot.channels.platform.ids import ALL_BOTS, bot_scope
from cometbot.channels.platform.platform import Platform
from cometbot.channels.platform.serializers import JsonObject
from cometbot.channels.platform.settings import MAX_CHATS_PER_BOT
from cometbot.channels.platform.views.client_api import max_body_size
from cometbot.channels.platform.views.files import FileViews
from cometbot.channels.platform.views.query import messages_page, query_text
from cometbot.channels.platform.views.request_body import read_fields
from cometbot.channels.platform.views.routing import Route
from cometbot.chat import new_id
from cometbot.store.database import ACK_TIMEOUT, Transaction


class BotApi:
    """The operations of the Bot API. They act on the bot whose key the request contains."""

    def __init__(self, platform: Platform, chat_service: ChatService, files: FileViews) -> None:
        self._platform = platform
        self._chat = platform.chat
        self._directory = platform.directory
        self._chat_service = chat_service
        self._files = files

    def routes(self) -> list[Route]:
        """Return the routes of all operations."""
        return [
            Route("GET", "bot-api/bot", serializers.bot_json, "bot"),
            Route("PUT", "bot-api/bot", self.update_bot, "bot"),
            Route("GET", "bot-api/bot/commands", self.list_commands, "bot"),
            Route("POST", "bot-api/bot/commands", self.add_commands, "bot"),
            Route("DELETE", "bot-api/bot/command/<command_id>", self.delete_command, "bot"),
            Route("GET", "bot-api/bot/webhook", self.get_webhook, "bot"),
            Route("POST", "bot-api/bot/webhook", self.set_webhook, "bot"),
            Route("DELETE", "bot-api/bot/webhook", self.delete_webhook, "bot"),
            Route("GET", "bot-api/chats", self.list_chats, "bot"),
            Route("POST", "bot-api/chat/message", self.send_message, "bot"),
            Route("GET", "bot-api/chat/<chat_id>/messages", self.list_messages, "bot"),
            Route("GET", "bot-api/chat/message/<message_id>", self.get_message, "bot"),
            Route("POST", "bot-api/files", self.upload, "bot"),
        ]

    def update_bot(self, bot: ListedBot) -> JsonObject:
        """Update the fields of the bot that are not empty.

        A new name that users would confuse with that of a bot of this server is refused.
        """
        fields = schemas.load(schemas.BotBody, self._read_body())
        given = {name: value for name, value in fields.items() if value}
        if "name" in given:
            validators.check_bot_name(given["name"])
            if given["name"] != bot.name and self._directory.is_local_name(given["name"]):
                raise name_already_exists()
        validators.check_bot_description(fields["description"])
        validators.check_avatar(fields["avatar"])

        def work(connection: Transaction) -> ListedBot | None:
            self._directory.update_bot(connection, bot.id, given)
            return self._directory.find(connection, bot.id)

        changed = self._platform.database.group_commit(work, timeout=ACK_TIMEOUT)
        if changed is None:
            raise ApiError(404, "Bot not found.")
        return serializers.bot_json(changed)

    def list_commands(self, bot: ListedBot) -> list[JsonObject]:
        """List the bot's commands."""
        with self._platform.database.read() as connection:
            return [serializers.command_json(one) for one in self._directory.list_commands(connection, bot)]

    def add_commands(self, bot: ListedBot) -> tuple[JsonObject, int]:
        """Store commands: all of them, or none if one is invalid.

        Of several commands with the same alias, the last one counts.
        """
        found = schemas.load(schemas.CommandBody, self._read_body(), many=True)
        for fields in found:
            validators.check_command(fields["alias"], fields["description"])
        unique = {fields["alias"]: fields["description"] for fields in found}
        commands = [
            ListedCommand(new_id().lower(), bot.id, alias, description) for alias, description in unique.items()
        ]

        def work(connection: Transaction) -> None:
            known = {command.alias for command in self._directory.list_commands(connection, bot)}
            if len(known | set(unique)) > validators.MAX_COMMANDS:
                raise ApiError(400, f"a bot can have at most {validators.MAX_COMMANDS} commands")
            self._directory.add_commands(connection, commands)

        self._platform.database.group_commit(work, timeout=ACK_TIMEOUT)
        return {"message": "Commands added."}, 201

    def delete_command(self, bot: ListedBot, command_id: str) -> JsonObject:
        """Delete a command."""

        def work(connection: Transaction) -> None:
            command = self._directory.find_command(connection, command_id)
            if command is None:
                raise ApiError(404, "Command not found.")
            if command.bot != bot.id:
                raise ApiError(403, "Can't delete a command that belongs to another bot.")
            self._directory.delete_command(connection, command_id)

        self._platform.database.group_commit(work, timeout=ACK_TIMEOUT)
        return {"message": "Command removed."}

    def get_webhook(self, bot: ListedBot) -> JsonObject:
        """Return the bot's webhook."""
        if bot.webhook is None:
            raise ApiError(404, "Webhook not found.")
        return serializers.webhook_json(bot.id, bot.webhook)

    def set_webhook(self, bot: ListedBot) -> JsonObject:
        """Replace the bot's webhook, including its secret."""
        fields = schemas.load(schemas.WebhookBody, self._read_body())
        validators.check_webhook(fields["url"], fields["secret"])
        if problem := self._platform.webhooks.check_url(fields["url"]):
            raise ApiError(400, f"specified url is not valid: {problem}")
        webhook = Webhook(fields["url"], fields["secret"])
        with self._platform.database.write(timeout=ACK_TIMEOUT) as connection:
            self._directory.set_webhook(connection, bot.id, webhook)
        return serializers.webhook_json(bot.id, webhook)

    def delete_webhook(self, bot: ListedBot) -> JsonObject:
        """Delete the bot's webhook."""
        if bot.webhook is None:
            raise ApiError(404, "Webhook not found.")
        with self._platform.database.write(timeout=ACK_TIMEOUT) as connection:
            self._directory.set_webhook(connection, bot.id, None)
        return {"message": "Webhook deleted."}

    def list_chats(self, bot: ListedBot) -> list[JsonObject]:
        """List the bot's chats with a user, oldest first."""
        user_id = query_text("user_id")
        if not user_id:
            raise ApiError(400, "User ID is required.")
        with self._platform.database.read() as connection:
            owned = self._chat.conversations.list_owned(
                connection, bot_scope(bot.id), user_id, limit=10 * MAX_CHATS_PER_BOT, oldest_first=True
            )
        return [serializers.chat_json(chat) for chat in owned.items]

    def send_message(self, bot: ListedBot) -> tuple[JsonObject, int]:
        """Send a message."""
        fields = schemas.load(schemas.MessageBody, self._read_body())
        new_message = NewMessage(fields["body"], fields["attachment_ids"], fields["client_id"])
        posted = self._chat_service.send_as_bot(bot, fields["chat_id"], new_message)
        return serializers.message_json(posted.message), 201

    def list_messages(self, bot: ListedBot, chat_id: str) -> JsonObject:
        """Return a page of a chat's messages."""
        with self._platform.database.read() as connection:
            chat = self._chat_service.get_bot_chat(connection, bot, chat_id)
        return messages_page(self._platform, chat)

    def get_message(self, bot: ListedBot, message_id: str) -> JsonObject:
        """Return a message with its files and their ids."""
        with self._platform.database.read() as connection:
            message = self._chat.messages.get(connection, ALL_BOTS, message_id)
            if message is None:
                raise ApiError(404, "Message not found.")
            self._chat_service.get_bot_chat(connection, bot, message.conversation)
        return serializers.message_json(message, with_ids=True)

    def upload(self, bot: ListedBot) -> list[JsonObject]:
        """Upload files."""
        return self._files.upload(bot.id, is_bot=True)

    def _read_body(self) -> Any:
        return read_fields(max_body_size(self._platform), self._platform.settings.body_timeout)
