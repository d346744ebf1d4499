"""The Bot API: what bots that run elsewhere ask for. Section 1.3 of the protocol."""

from __future__ import annotations

from typing import Any

from cometbot.channels.botyard import rules, schemas, shapes
from cometbot.channels.botyard.directory import ListedBot, ListedCommand, Webhook
from cometbot.channels.botyard.platform import EVERYWHERE, Platform, scope_of
from cometbot.channels.botyard.refusals import Refusal, name_taken
from cometbot.channels.botyard.settings import MOST_CHATS
from cometbot.channels.botyard.shapes import JSON
from cometbot.channels.botyard.talking import Talking, Words
from cometbot.channels.botyard.views.bodies import read_fields
from cometbot.channels.botyard.views.client_api import body_limit
from cometbot.channels.botyard.views.files import Files
from cometbot.channels.botyard.views.reading import messages_page, query_text
from cometbot.channels.botyard.views.routing import Route
from cometbot.chat import new_id
from cometbot.store.database import ACK_TIMEOUT, Transaction


class BotApi:
    """Operations B1 to B13. The bot is always the one whose key was given."""

    def __init__(self, platform: Platform, talking: Talking, files: Files) -> None:
        self._platform = platform
        self._chat = platform.chat
        self._directory = platform.directory
        self._talking = talking
        self._files = files

    def routes(self) -> list[Route]:
        """Every operation with its path."""
        return [
            Route("GET", "bot-api/bot", shapes.bot_json, "bot"),
            Route("PUT", "bot-api/bot", self.change, "bot"),
            Route("GET", "bot-api/bot/commands", self.commands, "bot"),
            Route("POST", "bot-api/bot/commands", self.add_commands, "bot"),
            Route("DELETE", "bot-api/bot/command/<command_id>", self.remove_command, "bot"),
            Route("GET", "bot-api/bot/webhook", self.webhook, "bot"),
            Route("POST", "bot-api/bot/webhook", self.set_webhook, "bot"),
            Route("DELETE", "bot-api/bot/webhook", self.remove_webhook, "bot"),
            Route("GET", "bot-api/chats", self.chats, "bot"),
            Route("POST", "bot-api/chat/message", self.send_message, "bot"),
            Route("GET", "bot-api/chat/<chat_id>/messages", self.messages, "bot"),
            Route("GET", "bot-api/chat/message/<message_id>", self.message, "bot"),
            Route("POST", "bot-api/files", self.upload, "bot"),
        ]

    def change(self, bot: ListedBot) -> JSON:
        """B2: what is empty stays as it is. A name like that of a bot of this server is not taken, only kept."""
        fields = schemas.load(schemas.BotBody, self._read())
        given = {name: value for name, value in fields.items() if value}
        if "name" in given:
            rules.check_bot_name(given["name"])
            if given["name"] != bot.name and self._directory.is_name_of_served(given["name"]):
                raise name_taken()
        rules.check_bot_description(fields["description"])
        rules.check_avatar(fields["avatar"])

        def work(connection: Transaction) -> ListedBot | None:
            self._directory.change(connection, bot.id, given)
            return self._directory.find(connection, bot.id)

        changed = self._platform.database.together(work, timeout=ACK_TIMEOUT)
        if changed is None:
            raise Refusal(404, "Bot not found.")
        return shapes.bot_json(changed)

    def commands(self, bot: ListedBot) -> list[JSON]:
        """B3."""
        with self._platform.database.read() as connection:
            return [shapes.command_json(one) for one in self._directory.commands(connection, bot)]

    def add_commands(self, bot: ListedBot) -> tuple[JSON, int]:
        """B4: all of them, or none where one is faulty; the last of several with the same alias counts."""
        found = schemas.load(schemas.CommandBody, self._read(), many=True)
        for fields in found:
            rules.check_command(fields["alias"], fields["description"])
        unique = {fields["alias"]: fields["description"] for fields in found}
        commands = [
            ListedCommand(new_id().lower(), bot.id, alias, description) for alias, description in unique.items()
        ]

        def work(connection: Transaction) -> None:
            known = {command.alias for command in self._directory.commands(connection, bot)}
            if len(known | set(unique)) > rules.MOST_COMMANDS:
                raise Refusal(400, f"a bot can have at most {rules.MOST_COMMANDS} commands")
            self._directory.add_commands(connection, commands)

        self._platform.database.together(work, timeout=ACK_TIMEOUT)
        return {"message": "Commands added."}, 201

    def remove_command(self, bot: ListedBot, command_id: str) -> JSON:
        """B5."""

        def work(connection: Transaction) -> None:
            command = self._directory.find_command(connection, command_id)
            if command is None:
                raise Refusal(404, "Command not found.")
            if command.bot != bot.id:
                raise Refusal(403, "Can't delete a command that belongs to another bot.")
            self._directory.remove_command(connection, command_id)

        self._platform.database.together(work, timeout=ACK_TIMEOUT)
        return {"message": "Command removed."}

    def webhook(self, bot: ListedBot) -> JSON:
        """B6."""
        if bot.webhook is None:
            raise Refusal(404, "Webhook not found.")
        return shapes.webhook_json(bot.id, bot.webhook)

    def set_webhook(self, bot: ListedBot) -> JSON:
        """B7: in place of an earlier one, its secret included."""
        fields = schemas.load(schemas.WebhookBody, self._read())
        rules.check_webhook(fields["url"], fields["secret"])
        if problem := self._platform.webhooks.check_url(fields["url"]):
            raise Refusal(400, f"specified url is not valid: {problem}")
        webhook = Webhook(fields["url"], fields["secret"])
        with self._platform.database.write(timeout=ACK_TIMEOUT) as connection:
            self._directory.set_webhook(connection, bot.id, webhook)
        return shapes.webhook_json(bot.id, webhook)

    def remove_webhook(self, bot: ListedBot) -> JSON:
        """B8."""
        if bot.webhook is None:
            raise Refusal(404, "Webhook not found.")
        with self._platform.database.write(timeout=ACK_TIMEOUT) as connection:
            self._directory.set_webhook(connection, bot.id, None)
        return {"message": "Webhook deleted."}

    def chats(self, bot: ListedBot) -> list[JSON]:
        """B9."""
        user_id = query_text("user_id")
        if not user_id:
            raise Refusal(400, "User ID is required.")
        with self._platform.database.read() as connection:
            owned = self._chat.conversations.list_owned(
                connection, scope_of(bot.id), user_id, limit=10 * MOST_CHATS, oldest_first=True
            )
        return [shapes.chat_json(chat) for chat in owned.items]

    def send_message(self, bot: ListedBot) -> tuple[JSON, int]:
        """B10."""
        fields = schemas.load(schemas.MessageBody, self._read())
        words = Words(fields["body"], fields["attachment_ids"], fields["client_id"])
        posted = self._talking.say_as_bot(bot, fields["chat_id"], words)
        return shapes.message_json(posted.message), 201

    def messages(self, bot: ListedBot, chat_id: str) -> JSON:
        """B11."""
        with self._platform.database.read() as connection:
            chat = self._talking.bots_chat(connection, bot, chat_id)
        return messages_page(self._platform, chat)

    def message(self, bot: ListedBot, message_id: str) -> JSON:
        """B12: with the ids of its files, and with the files."""
        with self._platform.database.read() as connection:
            message = self._chat.messages.get(connection, EVERYWHERE, message_id)
            if message is None:
                raise Refusal(404, "Message not found.")
            self._talking.bots_chat(connection, bot, message.conversation)
        return shapes.message_json(message, with_ids=True)

    def upload(self, bot: ListedBot) -> list[JSON]:
        """B13."""
        return self._files.upload(bot.id, is_bot=True)

    def _read(self) -> Any:
        return read_fields(body_limit(self._platform), self._platform.settings.body_timeout)
