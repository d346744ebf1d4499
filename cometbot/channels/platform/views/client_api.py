"""The Client API, for the apps of users. See docs/protocols/platform.md, "Client API"."""

from __future__ import annotations

from typing import Any

import flask

from cometbot.channels.platform import schemas, serializers, validators
from cometbot.channels.platform.chat_service import ChatService, NewMessage
from cometbot.channels.platform.errors import ApiError
from cometbot.channels.platform.ids import ALL_BOTS, bot_scope
from cometbot.channels.platform.platform import Platform
from cometbot.channels.platform.serializers import JsonObject
from cometbot.channels.platform.settings import MAX_CHATS_PER_BOT
from cometbot.channels.platform.views.files import FileViews
from cometbot.channels.platform.views.query import messages_page, query_text
from cometbot.channels.platform.views.request_body import read_fields
from cometbot.channels.platform.views.routing import Route, client_address, set_cookies, to_response
from cometbot.chat import ChatConversation, ChatUser
from cometbot.store.database import ACK_TIMEOUT


class ClientApi:
    """The operations of the Client API."""

    def __init__(self, platform: Platform, chat_service: ChatService, files: FileViews) -> None:
        self._platform = platform
        self._chat = platform.chat
        self._chat_service = chat_service
        self._files = files

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
        return serializers.service_json(self._platform.config.current)

    def list_bots(self) -> list[JsonObject]:
        """List the bots."""
        with self._platform.database.read() as connection:
            return [serializers.bot_json(bot) for bot in self._platform.directory.list_bots(connection)]

    def get_bot(self, bot_id: str) -> JsonObject:
        """Return a bot."""
        with self._platform.database.read() as connection:
            bot = self._platform.directory.find(connection, bot_id)
        if bot is None:
            raise ApiError(404, "Bot not found.")
        return serializers.bot_json(bot)

    def create_user(self) -> flask.Response:
        """Create a user, who is logged in by the response."""
        fields = schemas.load(schemas.UserBody, self._read_body())
        validators.check_nickname(fields["nickname"], self._platform.config.current.user)
        user = sign_up(self._platform, {"nickname": fields["nickname"]})
        return login_response(self._platform, user, serializers.user_json(user))

    def get_user(self, user: ChatUser) -> JsonObject:
        """Return the logged-in user."""
        return serializers.user_json(user)

    def list_commands(self, user: ChatUser, bot_id: str) -> list[JsonObject]:
        """List a bot's commands."""
        with self._platform.database.read() as connection:
            bot = self._platform.directory.find(connection, bot_id)
            if bot is None:
                raise ApiError(404, "Bot not found.")
            return [serializers.command_json(one) for one in self._platform.directory.list_commands(connection, bot)]

    def create_chat(self, user: ChatUser) -> tuple[JsonObject, int]:
        """Create a chat with a bot."""
        fields = schemas.load(schemas.ChatBody, self._read_body())
        return serializers.chat_json(self._chat_service.create_chat(user, fields["bot_id"], fields["client_id"])), 201

    def list_chats(self, user: ChatUser) -> list[JsonObject]:
        """List the user's chats with a bot, oldest first."""
        bot_id = query_text("bot_id")
        if not bot_id:
            raise ApiError(400, "Bot ID is required.")
        with self._platform.database.read() as connection:
            if self._platform.directory.find(connection, bot_id) is None:
                raise ApiError(404, "Bot not found.")
            owned = self._chat.conversations.list_owned(
                connection, bot_scope(bot_id), user.id, limit=10 * MAX_CHATS_PER_BOT, oldest_first=True
            )
        return [serializers.chat_json(chat) for chat in owned.items]

    def delete_chat(self, user: ChatUser, chat_id: str) -> JsonObject:
        """Delete a chat."""
        self._chat_service.delete_chat(user, chat_id)
        return {"message": "Chat deleted."}

    def send_message(self, user: ChatUser) -> tuple[JsonObject, int]:
        """Send a message."""
        fields = schemas.load(schemas.MessageBody, self._read_body())
        check_message_rate(self._platform, user)
        new_message = NewMessage(fields["body"], fields["attachment_ids"], fields["client_id"])
        posted = self._chat_service.send_as_user(user, fields["chat_id"], new_message)
        return serializers.message_json(posted.message), 201

    def list_messages(self, user: ChatUser, chat_id: str) -> JsonObject:
        """Return a page of a chat's messages."""
        return messages_page(self._platform, self._get_user_chat(user, chat_id))

    def upload(self, user: ChatUser) -> list[JsonObject]:
        """Upload files."""
        check_message_rate(self._platform, user)
        return self._files.upload(user.id)

    def _read_body(self) -> Any:
        return read_fields(max_body_size(self._platform), self._platform.settings.body_timeout)

    def _get_user_chat(self, user: ChatUser, chat_id: str) -> ChatConversation:
        with self._platform.database.read() as connection:
            return self._chat_service.get_user_chat(connection, user, chat_id)


def sign_up(platform: Platform, data: dict[str, Any]) -> ChatUser:
    """Store a new user.

    Raises :class:`ApiError` if the request's address has created too many, :class:`StorageFull` if there is no room.
    """
    platform.signup_rates.check(client_address(), "Too many new users")
    with platform.database.write(timeout=ACK_TIMEOUT) as connection:
        platform.chat.quota.check(connection)
        return platform.chat.users.create(connection, ALL_BOTS, data)


def login_response(platform: Platform, user: ChatUser, body: JsonObject) -> flask.Response:
    """Return ``body`` as the response to a sign-up, with the user's cookie."""
    response = to_response(body, 201)
    set_cookies(platform, response, user)
    return response


def max_body_size(platform: Platform) -> int:
    """Return the largest body of a request other than an upload, in bytes.

    It has room for the longest text with every character escaped, and for the other fields.
    """
    return 6 * platform.config.current.message.max_body_length + 64 * 1024


def check_message_rate(platform: Platform, user: ChatUser) -> None:
    """Raise :class:`ApiError` for a user who sends more messages than allowed."""
    platform.message_rates.check(user.id, "Too many messages")
