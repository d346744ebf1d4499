"""The Client API, for the apps of users. See docs/protocols/platform.md, "Client API"."""

from __future__ import annotations

from dataclasses import dataclass

import flask

from cometbot.channels.platform import schemas, serializers, validators
from cometbot.channels.platform.chat_service import ChatService
from cometbot.channels.platform.errors import ApiError
from cometbot.channels.platform.serializers import JsonObject
from cometbot.channels.platform.views.access import Sessions, client_address
from cometbot.channels.platform.views.files import FileViews
from cometbot.channels.platform.views.parameters import BodyReader, messages_page, query_text
from cometbot.channels.platform.views.routing import Route, to_response
from cometbot.chat import ChatUser


@dataclass(frozen=True, slots=True)
class ClientApi:
    """The operations of the Client API."""

    service: ChatService
    sessions: Sessions
    files: FileViews
    bodies: BodyReader

    def routes(self) -> list[Route]:
        """Return the routes of all operations."""
        return [
            Route("GET", "client-api/service-info", self.get_service_info),
            Route("GET", "client-api/bots", self.list_bots),
            Route("GET", "client-api/bot/<bot_id>", self.get_bot),
            Route("POST", "client-api/user", self.create_user),
            Route("GET", "client-api/user", self.get_user, "account"),
            Route("GET", "client-api/bot/<bot_id>/commands", self.list_commands, "user"),
            Route("POST", "client-api/chat", self.create_chat, "user"),
            Route("GET", "client-api/chats", self.list_chats, "user"),
            Route("DELETE", "client-api/chat/<chat_id>", self.delete_chat, "user"),
            Route("POST", "client-api/chat/message", self.send_message, "user"),
            Route("GET", "client-api/chat/<chat_id>/messages", self.list_messages, "user"),
            Route("POST", "client-api/files", self.upload, "user"),
        ]

    def get_service_info(self) -> JsonObject:
        """Return the service's info."""
        return serializers.service_json(self.service.config.current.service)

    def list_bots(self) -> list[JsonObject]:
        """List the bots."""
        with self.service.database.read() as connection:
            return [serializers.bot_json(bot) for bot in self.service.directory.list_bots(connection)]

    def get_bot(self, bot_id: str) -> JsonObject:
        """Return a bot."""
        with self.service.database.read() as connection:
            return serializers.bot_json(self.service.find_bot(connection, bot_id))

    def create_user(self) -> flask.Response:
        """Create a user, who is logged in by the response."""
        fields = self.bodies.read(schemas.UserBody)
        validators.check_nickname(fields["nickname"], self.service.limits.user)
        user = self.service.create_user(fields, client_address())
        return self.sessions.log_in(to_response(serializers.user_json(user), 201), user)

    def get_user(self, user: ChatUser) -> JsonObject:
        """Return the logged-in user."""
        return serializers.user_json(user)

    def list_commands(self, user: ChatUser, bot_id: str) -> list[JsonObject]:
        """List a bot's commands."""
        return self.service.list_commands(bot_id)

    def create_chat(self, user: ChatUser) -> tuple[JsonObject, int]:
        """Create a chat with a bot."""
        fields = self.bodies.read(schemas.ChatBody)
        return serializers.chat_json(self.service.create_chat(user, fields["botId"], fields["clientId"])), 201

    def list_chats(self, user: ChatUser) -> list[JsonObject]:
        """List the user's chats with a bot, oldest first."""
        bot_id = query_text("bot_id")
        if not bot_id:
            raise ApiError(400, "Bot ID is required.")
        with self.service.database.read() as connection:
            self.service.find_bot(connection, bot_id)
            return self.service.list_chats(connection, bot_id, user.id)

    def delete_chat(self, user: ChatUser, chat_id: str) -> JsonObject:
        """Delete a chat."""
        self.service.delete_chat(user, chat_id)
        return {"message": "Chat deleted."}

    def send_message(self, user: ChatUser) -> tuple[JsonObject, int]:
        """Send a message."""
        chat_id, new_message = self.bodies.read_message()
        self.service.check_message_rate(user)
        posted = self.service.send_as_user(user, chat_id, new_message)
        return serializers.message_json(posted.message), 201

    def list_messages(self, user: ChatUser, chat_id: str) -> JsonObject:
        """Return a page of a chat's messages."""
        with self.service.database.read() as connection:
            chat = self.service.get_user_chat(connection, user, chat_id)
        return messages_page(self.service.chat, chat)

    def upload(self, user: ChatUser) -> list[JsonObject]:
        """Upload files."""
        self.service.check_message_rate(user)
        return self.files.upload(user.id)
