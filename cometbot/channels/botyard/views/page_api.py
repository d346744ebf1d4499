"""What the web chat asks for beside the Client API; of our own making, and only for it."""

from __future__ import annotations

from typing import Any

import flask

from cometbot.channels.botyard import schemas, shapes
from cometbot.channels.botyard.names import check_name, named
from cometbot.channels.botyard.platform import EVERYWHERE, Platform
from cometbot.channels.botyard.settings import MOST_CHATS
from cometbot.channels.botyard.shapes import JSON
from cometbot.channels.botyard.talking import Talking, Words
from cometbot.channels.botyard.views.bodies import read_fields
from cometbot.channels.botyard.views.client_api import body_limit, check_pace, logged_in, sign_up
from cometbot.channels.botyard.views.live import live_stream
from cometbot.channels.botyard.views.reading import query_number
from cometbot.channels.botyard.views.routing import Route, drop_cookie, to_response
from cometbot.chat import ChatConversation, ChatUser

_MOST_LISTED = 500
_MOST_MESSAGES = 100


class PageApi:
    """The operations of the web chat."""

    def __init__(self, platform: Platform, talking: Talking) -> None:
        self._platform = platform
        self._chat = platform.chat
        self._talking = talking

    def routes(self) -> list[Route]:
        """Every operation with its path."""
        return [
            Route("GET", "page-api/start", self.start, "guest"),
            Route("POST", "page-api/user", self.create_user),
            Route("PATCH", "page-api/chat/<chat_id>", self.rename, "user"),
            Route("GET", "page-api/chat/<chat_id>/messages", self.messages, "user"),
            Route("POST", "page-api/chat/<chat_id>/messages", self.send, "user"),
            Route("GET", "page-api/events", self.events, "user"),
            Route("POST", "page-api/leave", self.leave),
        ]

    def start(self, user: ChatUser | None) -> JSON:
        """All that the page begins with."""
        config = self._platform.config.now
        with self._platform.database.read() as connection:
            bots = self._platform.directory.all(connection)
            known = {bot.id for bot in bots}
            chats: list[ChatConversation] = []
            if user is not None:
                owned = self._chat.conversations.list_owned(connection, EVERYWHERE, user.id, limit=_MOST_LISTED)
                chats = [chat for chat in owned.items if chat.scope.bot in known]
            last = self._chat.messages.last(connection, chats)
        return {
            "service": shapes.page_service_json(config, bots),
            "bots": [shapes.page_bot_json(bot) for bot in bots],
            "user": shapes.page_user_json(user) if user else None,
            "chats": [shapes.page_chat_json(chat, last.get(chat.id)) for chat in chats],
            "limits": shapes.limits_json(config, MOST_CHATS),
        }

    def create_user(self) -> flask.Response:
        """Sign up with a name of any language; Botyard's clients see a nickname that is made of it."""
        fields, limits = schemas.load(schemas.NameBody, self._read()), self._platform.config.now.user
        user = sign_up(self._platform, named(check_name(fields["name"], limits), limits))
        return logged_in(self._platform, user, shapes.page_user_json(user))

    def rename(self, user: ChatUser, chat_id: str) -> JSON:
        """Another title for a chat."""
        fields = schemas.load(schemas.TitleBody, self._read())
        chat = self._talking.rename_chat(user, chat_id, fields["title"].strip())
        with self._platform.database.read() as connection:
            last = self._chat.messages.last(connection, [chat])
        return shapes.page_chat_json(chat, last.get(chat.id))

    def messages(self, user: ChatUser, chat_id: str) -> JSON:
        """Messages from before a time, or from after one; the newest without either."""
        limit = min(max(query_number("limit", 40), 1), _MOST_MESSAGES)
        before, after = query_number("before", 0), query_number("after", -1)
        messages = self._chat.messages
        with self._platform.database.read() as connection:
            chat = self._talking.own_chat(connection, user, chat_id)
            if after >= 0:
                found = messages.after(connection, chat.scope, chat.id, after, limit)
            else:
                found = messages.before(connection, chat.scope, chat.id, before if before > 0 else None, limit)
        shown = [shapes.page_message_json(message) for message in found.items]
        return {"messages": shown, "more": bool(found.next)}

    def send(self, user: ChatUser, chat_id: str) -> tuple[JSON, int]:
        """Send a message, or press what stands in one; what was sent under the same ``clientId`` is not sent again."""
        fields = schemas.load(schemas.PageMessageBody, self._read())
        check_pace(self._platform, user)
        words = Words(fields["body"], fields["attachment_ids"], fields["client_id"], fields["action"])
        posted = self._talking.say(user, chat_id, words)
        return shapes.page_message_json(posted.message), 201 if posted.is_new else 200

    def events(self, user: ChatUser) -> flask.Response:
        """What happens in all chats of the user, as it happens."""
        return live_stream(self._platform, user)

    def leave(self) -> flask.Response:
        """Forget in this browser who one is."""
        response = to_response({"message": "Logged out."})
        drop_cookie(self._platform, response)
        return response

    def _read(self) -> Any:
        return read_fields(body_limit(self._platform), self._platform.settings.body_timeout)
