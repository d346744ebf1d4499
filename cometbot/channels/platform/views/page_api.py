"""The web chat's own API, beside the Client API. It is not part of the protocol."""

from __future__ import annotations

from typing import Any

import flask

from cometbot.channels.platform import schemas, serializers
from cometbot.channels.platform.chat_service import ChatService, NewMessage
from cometbot.channels.platform.display_names import normalize_name, to_user_data
from cometbot.channels.platform.ids import ALL_BOTS
from cometbot.channels.platform.platform import Platform
from cometbot.channels.platform.serializers import JsonObject
from cometbot.channels.platform.settings import MAX_CHATS_PER_BOT
from cometbot.channels.platform.views.client_api import check_message_rate, login_response, max_body_size, sign_up
from cometbot.channels.platform.views.events import event_stream
from cometbot.channels.platform.views.query import query_number
from cometbot.channels.platform.views.request_body import read_fields
from cometbot.channels.platform.views.routing import Route, delete_cookies, to_response
from cometbot.chat import ChatConversation, ChatUser

_MAX_LISTED_CHATS = 500
_MAX_MESSAGES = 100


class PageApi:
    """The operations of the web chat."""

    def __init__(self, platform: Platform, chat_service: ChatService) -> None:
        self._platform = platform
        self._chat = platform.chat
        self._chat_service = chat_service

    def routes(self) -> list[Route]:
        """Return the routes of all operations."""
        return [
            Route("GET", "page-api/start", self.get_initial_state, "guest"),
            Route("POST", "page-api/user", self.create_user),
            Route("PATCH", "page-api/chat/<chat_id>", self.rename_chat, "user"),
            Route("GET", "page-api/chat/<chat_id>/messages", self.list_messages, "user"),
            Route("POST", "page-api/chat/<chat_id>/messages", self.send_message, "user"),
            Route("GET", "page-api/events", self.stream_events, "user"),
            Route("POST", "page-api/leave", self.log_out),
        ]

    def get_initial_state(self, user: ChatUser | None) -> JsonObject:
        """Return the data that the page loads first: service, bots, user, chats and limits."""
        config = self._platform.config.current
        with self._platform.database.read() as connection:
            bots = self._platform.directory.list_bots(connection)
            known = {bot.id for bot in bots}
            chats: list[ChatConversation] = []
            if user is not None:
                owned = self._chat.conversations.list_owned(connection, ALL_BOTS, user.id, limit=_MAX_LISTED_CHATS)
                chats = [chat for chat in owned.items if chat.scope.bot in known]
            last = self._chat.messages.get_newest(connection, chats)
        return {
            "service": serializers.page_service_json(config, bots),
            "bots": [serializers.page_bot_json(bot) for bot in bots],
            "user": serializers.page_user_json(user) if user else None,
            "chats": [serializers.page_chat_json(chat, last.get(chat.id)) for chat in chats],
            "limits": serializers.limits_json(config, MAX_CHATS_PER_BOT),
        }

    def create_user(self) -> flask.Response:
        """Create a user with a name in any language; Botyard's clients see a nickname that is derived from it."""
        fields, limits = schemas.load(schemas.NameBody, self._read_body()), self._platform.config.current.user
        user = sign_up(self._platform, to_user_data(normalize_name(fields["name"], limits), limits))
        return login_response(self._platform, user, serializers.page_user_json(user))

    def rename_chat(self, user: ChatUser, chat_id: str) -> JsonObject:
        """Set the title of a chat."""
        fields = schemas.load(schemas.TitleBody, self._read_body())
        chat = self._chat_service.rename_chat(user, chat_id, fields["title"].strip())
        with self._platform.database.read() as connection:
            last = self._chat.messages.get_newest(connection, [chat])
        return serializers.page_chat_json(chat, last.get(chat.id))

    def list_messages(self, user: ChatUser, chat_id: str) -> JsonObject:
        """Return messages before a time, or after one; without either, the newest."""
        limit = min(max(query_number("limit", 40), 1), _MAX_MESSAGES)
        before, after = query_number("before", 0), query_number("after", -1)
        messages = self._chat.messages
        with self._platform.database.read() as connection:
            chat = self._chat_service.get_user_chat(connection, user, chat_id)
            if after >= 0:
                found = messages.list_after(connection, chat.scope, chat.id, after, limit)
            else:
                found = messages.list_before(connection, chat.scope, chat.id, before if before > 0 else None, limit)
        message_bodies = [serializers.page_message_json(message) for message in found.items]
        return {"messages": message_bodies, "more": bool(found.next)}

    def send_message(self, user: ChatUser, chat_id: str) -> tuple[JsonObject, int]:
        """Send a message, or an action in one.

        A message with the same ``clientId`` as an earlier one is not sent again.
        """
        fields = schemas.load(schemas.PageMessageBody, self._read_body())
        check_message_rate(self._platform, user)
        new_message = NewMessage(fields["body"], fields["attachment_ids"], fields["client_id"], fields["action"])
        posted = self._chat_service.send_as_user(user, chat_id, new_message)
        return serializers.page_message_json(posted.message), 201 if posted.is_new else 200

    def stream_events(self, user: ChatUser) -> flask.Response:
        """Return the event stream of all chats of the user."""
        return event_stream(self._platform, user)

    def log_out(self) -> flask.Response:
        """Delete the user's cookies in this browser."""
        response = to_response({"message": "Logged out."})
        delete_cookies(self._platform, response)
        return response

    def _read_body(self) -> Any:
        return read_fields(max_body_size(self._platform), self._platform.settings.body_timeout)
