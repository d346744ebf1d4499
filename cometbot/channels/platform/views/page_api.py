"""The web chat's own API, beside the Client API. It is not part of the protocol."""

from __future__ import annotations

from dataclasses import dataclass

import flask

from cometbot.channels.platform import schemas, serializers
from cometbot.channels.platform.chat_service import ChatService, NewMessage
from cometbot.channels.platform.display_names import normalize_name, to_user_data
from cometbot.channels.platform.ids import ALL_BOTS
from cometbot.channels.platform.platform import MAX_CHATS_PER_BOT
from cometbot.channels.platform.serializers import JsonObject
from cometbot.channels.platform.views.access import Sessions, client_address
from cometbot.channels.platform.views.events import event_stream
from cometbot.channels.platform.views.parameters import BodyReader, query_number
from cometbot.channels.platform.views.routing import Route, to_response
from cometbot.chat import ChatConversation, ChatUser

_MAX_LISTED_CHATS = 500
_MAX_MESSAGES = 100


@dataclass(frozen=True, slots=True)
class PageApi:
    """The operations of the web chat."""

    service: ChatService
    sessions: Sessions
    bodies: BodyReader

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
        config = self.service.config.current
        with self.service.database.read() as connection:
            bots = self.service.directory.list_bots(connection)
            known = {bot.id for bot in bots}
            chats: list[ChatConversation] = []
            if user is not None:
                owned = self.service.chat.conversations.list_owned(
                    connection, ALL_BOTS, user.id, limit=_MAX_LISTED_CHATS
                )
                chats = [chat for chat in owned.items if chat.scope.bot in known]
            last = self.service.chat.messages.get_newest(connection, chats)
        return {
            "service": serializers.page_service_json(config.service, bots),
            "bots": [serializers.page_bot_json(bot) for bot in bots],
            "user": serializers.page_user_json(user) if user else None,
            "chats": [serializers.page_chat_json(chat, last.get(chat.id)) for chat in chats],
            "limits": serializers.limits_json(config.limits, MAX_CHATS_PER_BOT),
        }

    def create_user(self) -> flask.Response:
        """Create a user with a name in any language; Botyard's clients see a nickname that is derived from it."""
        fields, limits = self.bodies.read(schemas.NameBody), self.service.limits.user
        data = to_user_data(normalize_name(fields["name"], limits), limits)
        user = self.service.create_user(data, client_address())
        return self.sessions.log_in(to_response(serializers.page_user_json(user), 201), user)

    def rename_chat(self, user: ChatUser, chat_id: str) -> JsonObject:
        """Set the title of a chat."""
        fields = self.bodies.read(schemas.TitleBody)
        chat = self.service.rename_chat(user, chat_id, fields["title"].strip())
        with self.service.database.read() as connection:
            last = self.service.chat.messages.get_newest(connection, [chat])
        return serializers.page_chat_json(chat, last.get(chat.id))

    def list_messages(self, user: ChatUser, chat_id: str) -> JsonObject:
        """Return messages before a time, or after one; without either, the newest."""
        limit = min(max(query_number("limit", 40), 1), _MAX_MESSAGES)
        before, after = query_number("before", 0), query_number("after", -1)
        messages = self.service.chat.messages
        with self.service.database.read() as connection:
            chat = self.service.get_user_chat(connection, user, chat_id)
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
        fields = self.bodies.read(schemas.PageMessageBody)
        self.service.check_message_rate(user)
        new_message = NewMessage(fields["body"], fields["attachmentIds"], fields["clientId"], fields["action"])
        posted = self.service.send_as_user(user, chat_id, new_message)
        return serializers.page_message_json(posted.message), 201 if posted.is_new else 200

    def stream_events(self, user: ChatUser) -> flask.Response:
        """Return the event stream of all chats of the user."""
        return event_stream(self.service.chat, user)

    def log_out(self) -> flask.Response:
        """Delete the user's cookies in this browser."""
        return self.sessions.log_out(to_response({"message": "Logged out."}))
