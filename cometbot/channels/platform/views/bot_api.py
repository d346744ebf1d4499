"""The Bot API, for external bots. See docs/protocols/platform.md, "Bot API"."""

from __future__ import annotations

from dataclasses import dataclass

from cometbot.channels.platform import schemas, serializers, validators
from cometbot.channels.platform.chat_service import ChatService
from cometbot.channels.platform.errors import ApiError, name_already_exists
from cometbot.channels.platform.ids import ALL_BOTS
from cometbot.channels.platform.serializers import JsonObject
from cometbot.channels.platform.views.files import FileViews
from cometbot.channels.platform.views.parameters import BodyReader, messages_page, query_text
from cometbot.channels.platform.views.routing import Route
from cometbot.chat import ListedBot, ListedCommand, new_id
from cometbot.http.webhooks import WebhookClient
from cometbot.store.database import Transaction


@dataclass(frozen=True, slots=True)
class BotApi:
    """The operations of the Bot API. They act on the bot whose key the request contains."""

    service: ChatService
    files: FileViews
    bodies: BodyReader
    webhooks: WebhookClient

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
        fields = self.bodies.read(schemas.BotBody)
        given = {name: value for name, value in fields.items() if value}
        validators.check_bot(**fields)
        if fields["name"] not in ("", bot.name) and self.service.directory.is_local_name(fields["name"]):
            raise name_already_exists()

        def work(connection: Transaction) -> ListedBot:
            self.service.directory.external.update(connection, bot.id, given)
            return self.service.find_bot(connection, bot.id)

        return serializers.bot_json(self.service.chat.commit(work))

    def list_commands(self, bot: ListedBot) -> list[JsonObject]:
        """List the bot's commands."""
        return self.service.list_commands(bot.id)

    def add_commands(self, bot: ListedBot) -> tuple[JsonObject, int]:
        """Store commands: all of them, or none if one is invalid.

        Of several commands with the same alias, the last one counts.
        """
        found = self.bodies.read(schemas.CommandBody, many=True)
        for fields in found:
            validators.check_command(fields["alias"], fields["description"])
        unique = {fields["alias"]: fields["description"] for fields in found}
        commands = [
            ListedCommand(new_id().lower(), bot.id, alias, description) for alias, description in unique.items()
        ]

        def work(connection: Transaction) -> None:
            known = {command.alias for command in self.service.directory.list_commands(connection, bot.id)}
            if len(known | set(unique)) > validators.MAX_COMMANDS:
                raise ApiError(400, f"a bot can have at most {validators.MAX_COMMANDS} commands")
            self.service.directory.external.save_commands(connection, commands)

        self.service.chat.commit(work)
        return {"message": "Commands added."}, 201

    def delete_command(self, bot: ListedBot, command_id: str) -> JsonObject:
        """Delete a command."""

        def work(connection: Transaction) -> None:
            command = self.service.directory.external.find_command(connection, command_id)
            if command is None:
                raise ApiError(404, "Command not found.")
            if command.bot != bot.id:
                raise ApiError(403, "Can't delete a command that belongs to another bot.")
            self.service.directory.external.delete_command(connection, command_id)

        self.service.chat.commit(work)
        return {"message": "Command removed."}

    def get_webhook(self, bot: ListedBot) -> JsonObject:
        """Return the bot's webhook."""
        if not bot.webhook_url:
            raise ApiError(404, "Webhook not found.")
        return serializers.webhook_json(bot.id, bot.webhook_url, bot.webhook_secret)

    def set_webhook(self, bot: ListedBot) -> JsonObject:
        """Replace the bot's webhook, including its secret."""
        fields = self.bodies.read(schemas.WebhookBody)
        validators.check_webhook(**fields)
        if problem := self.webhooks.check_url(fields["url"]):
            raise ApiError(400, f"specified url is not valid: {problem}")
        self._update_webhook(bot, **fields)
        return serializers.webhook_json(bot.id, **fields)

    def delete_webhook(self, bot: ListedBot) -> JsonObject:
        """Delete the bot's webhook."""
        if not bot.webhook_url:
            raise ApiError(404, "Webhook not found.")
        self._update_webhook(bot, "", "")
        return {"message": "Webhook deleted."}

    def _update_webhook(self, bot: ListedBot, url: str, secret: str) -> None:
        values = {"webhook_url": url, "webhook_secret": secret}
        self.service.chat.commit(lambda connection: self.service.directory.external.update(connection, bot.id, values))

    def list_chats(self, bot: ListedBot) -> list[JsonObject]:
        """List the bot's chats with a user, oldest first."""
        user_id = query_text("user_id")
        if not user_id:
            raise ApiError(400, "User ID is required.")
        with self.service.database.read() as connection:
            return self.service.list_chats(connection, bot.id, user_id)

    def send_message(self, bot: ListedBot) -> tuple[JsonObject, int]:
        """Send a message."""
        posted = self.service.send_as_bot(bot, *self.bodies.read_message())
        return serializers.message_json(posted.message), 201

    def list_messages(self, bot: ListedBot, chat_id: str) -> JsonObject:
        """Return a page of a chat's messages."""
        with self.service.database.read() as connection:
            chat = self.service.get_bot_chat(connection, bot, chat_id)
        return messages_page(self.service.chat, chat)

    def get_message(self, bot: ListedBot, message_id: str) -> JsonObject:
        """Return a message with its files and their ids."""
        with self.service.database.read() as connection:
            message = self.service.chat.messages.get(connection, ALL_BOTS, message_id)
            if message is None:
                raise ApiError(404, "Message not found.")
            self.service.get_bot_chat(connection, bot, message.conversation)
        return serializers.message_json(message, with_ids=True)

    def upload(self, bot: ListedBot) -> list[JsonObject]:
        """Upload files."""
        return self.files.upload(bot.id, is_bot=True)
