"""The Client API: what apps of people ask for. Section 1.2 of the protocol."""

from __future__ import annotations

from typing import Any

import flask

from cometbot.channels.botyard import rules, schemas, shapes
from cometbot.channels.botyard.platform import EVERYWHERE, Platform, scope_of
from cometbot.channels.botyard.refusals import Refusal, too_many
from cometbot.channels.botyard.settings import MOST_CHATS
from cometbot.channels.botyard.shapes import JSON
from cometbot.channels.botyard.talking import Talking, Words
from cometbot.channels.botyard.views.bodies import read_fields
from cometbot.channels.botyard.views.files import Files
from cometbot.channels.botyard.views.reading import messages_page, query_text
from cometbot.channels.botyard.views.routing import Route, address, set_cookie, to_response
from cometbot.chat import ChatConversation, ChatUser
from cometbot.store.database import ACK_TIMEOUT


class ClientApi:
    """Operations C1 to C12."""

    def __init__(self, platform: Platform, talking: Talking, files: Files) -> None:
        self._platform = platform
        self._chat = platform.chat
        self._talking = talking
        self._files = files

    def routes(self) -> list[Route]:
        """Every operation with its path."""
        return [
            Route("GET", "client-api/service-info", self.service_info),
            Route("GET", "client-api/bots", self.bots),
            Route("GET", "client-api/bot/<bot_id>", self.bot),
            Route("POST", "client-api/user", self.create_user),
            Route("GET", "client-api/user", self.user, "account"),
            Route("GET", "client-api/bot/<bot_id>/commands", self.commands, "user"),
            Route("POST", "client-api/chat", self.create_chat, "user"),
            Route("GET", "client-api/chats", self.chats, "user"),
            Route("DELETE", "client-api/chat/<chat_id>", self.delete_chat, "user"),
            Route("POST", "client-api/chat/message", self.send_message, "user"),
            Route("GET", "client-api/chat/<chat_id>/messages", self.messages, "user"),
            Route("POST", "client-api/files", self.upload, "user"),
        ]

    def service_info(self) -> JSON:
        """C1."""
        return shapes.service_json(self._platform.config.now)

    def bots(self) -> list[JSON]:
        """C2."""
        with self._platform.database.read() as connection:
            return [shapes.bot_json(bot) for bot in self._platform.directory.all(connection)]

    def bot(self, bot_id: str) -> JSON:
        """C3."""
        with self._platform.database.read() as connection:
            bot = self._platform.directory.find(connection, bot_id)
        if bot is None:
            raise Refusal(404, "Bot not found.")
        return shapes.bot_json(bot)

    def create_user(self) -> flask.Response:
        """C4: a new user, who is logged in by the answer."""
        fields = schemas.load(schemas.UserBody, self.read())
        rules.check_nickname(fields["nickname"], self._platform.config.now.user)
        user = sign_up(self._platform, {"nickname": fields["nickname"]})
        return logged_in(self._platform, user, shapes.user_json(user))

    def user(self, user: ChatUser) -> JSON:
        """C5."""
        return shapes.user_json(user)

    def commands(self, user: ChatUser, bot_id: str) -> list[JSON]:
        """C6."""
        with self._platform.database.read() as connection:
            bot = self._platform.directory.find(connection, bot_id)
            if bot is None:
                raise Refusal(404, "Bot not found.")
            return [shapes.command_json(one) for one in self._platform.directory.commands(connection, bot)]

    def create_chat(self, user: ChatUser) -> tuple[JSON, int]:
        """C7."""
        fields = schemas.load(schemas.ChatBody, self.read())
        return shapes.chat_json(self._talking.make_chat(user, fields["bot_id"], fields["client_id"])), 201

    def chats(self, user: ChatUser) -> list[JSON]:
        """C8."""
        bot_id = query_text("bot_id")
        if not bot_id:
            raise Refusal(400, "Bot ID is required.")
        with self._platform.database.read() as connection:
            if self._platform.directory.find(connection, bot_id) is None:
                raise Refusal(404, "Bot not found.")
            owned = self._chat.conversations.list_owned(
                connection, scope_of(bot_id), user.id, limit=10 * MOST_CHATS, oldest_first=True
            )
        return [shapes.chat_json(chat) for chat in owned.items]

    def delete_chat(self, user: ChatUser, chat_id: str) -> JSON:
        """C9."""
        self._talking.remove_chat(user, chat_id)
        return {"message": "Chat deleted."}

    def send_message(self, user: ChatUser) -> tuple[JSON, int]:
        """C10."""
        fields = schemas.load(schemas.MessageBody, self.read())
        check_pace(self._platform, user)
        words = Words(fields["body"], fields["attachment_ids"], fields["client_id"])
        posted = self._talking.say(user, fields["chat_id"], words)
        return shapes.message_json(posted.message), 201

    def messages(self, user: ChatUser, chat_id: str) -> JSON:
        """C11."""
        return messages_page(self._platform, self._own_chat(user, chat_id))

    def upload(self, user: ChatUser) -> list[JSON]:
        """C12."""
        check_pace(self._platform, user)
        return self._files.upload(user.id)

    def read(self) -> Any:
        """The request's body."""
        return read_fields(body_limit(self._platform), self._platform.settings.body_timeout)

    def _own_chat(self, user: ChatUser, chat_id: str) -> ChatConversation:
        with self._platform.database.read() as connection:
            return self._talking.own_chat(connection, user, chat_id)


def sign_up(platform: Platform, data: dict[str, Any]) -> ChatUser:
    """Store a new user.

    Raises :class:`Refusal` if the request's address has made too many, :class:`StorageFull` if there is no room.
    """
    wait = platform.signups_of_address.wait(address())
    if wait > 0:
        raise too_many("new users", wait)
    with platform.database.write(timeout=ACK_TIMEOUT) as connection:
        platform.chat.room.check(connection)
        return platform.chat.users.create(connection, EVERYWHERE, data)


def logged_in(platform: Platform, user: ChatUser, shown: JSON) -> flask.Response:
    """Return ``shown`` as the response to a sign-up, with the user's cookie."""
    response = to_response(shown, 201)
    set_cookie(platform, response, user)
    return response


def body_limit(platform: Platform) -> int:
    """The longest body of a request that is no upload: the longest text with every letter escaped, and some more."""
    return 6 * platform.config.now.message.max_body_length + 64 * 1024


def check_pace(platform: Platform, user: ChatUser) -> None:
    """Raise :class:`Refusal` for a user who sends more than may be."""
    wait = platform.messages_of_user.wait(user.id)
    if wait > 0:
        raise too_many("messages", wait)
