"""A fake for the Chat API: the real channel and its users, over the database of the delivery."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cometbot.bot import Bot
from cometbot.channels.chat_api import payloads
from cometbot.channels.chat_api.channel import ChatApiChannel
from cometbot.channels.chat_api.ids import conversation_of
from cometbot.channels.chat_api.parsing import stable_user_id
from cometbot.channels.chat_api.settings import ChatApiSettings
from cometbot.chat import Chat, ChatConversation, ChatMessage, Scope
from cometbot.content_types import media_family
from cometbot.messages import Media, Message, QuickReply, Text
from cometbot.models import Attachment, Conversation, User
from cometbot.store.database import Database
from cometbot.testing.fakes.base import Actor, ShownRequest, UserMessage
from cometbot.testing.fakes.chat_fake import ChatFake, FakeWeb
from cometbot.testing.replies import SentMessage

_GROUP_OWNER = "host-of-groups"


class ChatApiFake(ChatFake[ChatApiChannel]):
    """The Chat API in this process, whose users send its requests without sockets.

    Each user has one conversation with the bot, whose id is ``chat-`` and the user's id. A group is a conversation
    whose id is the group's name; its owner never writes.
    """

    def __init__(self, bot: Bot) -> None:
        super().__init__(bot, Scope("chat_api", bot.name))
        self._keys: dict[str, str] = {}
        self._entered: set[tuple[str, str]] = set()

    def use_database(self, database: Database) -> None:
        chat = Chat(database, Path("cometbot-data"))
        settings = ChatApiSettings(request_rate=0, signup_rate=0)
        self._channel = ChatApiChannel(chat, settings, fetcher=FakeWeb(self.files))

    @property
    def chat(self) -> Chat:
        return self.channel.chat

    def stable_id(self, user: User, group: str = "") -> str:
        self._enter_once(Actor(user, group))
        with self.chat.database.read() as connection:
            found = self.chat.users.get(connection, self._scope, user.uid)
        assert found is not None, "who enters is a user"
        return stable_user_id(found.id, found.created_at)

    def conversation(self, actor: Actor) -> Conversation:
        """Return the conversation of ``actor``. It is created if it does not exist.

        The user becomes a participant, but not again after being removed.
        """
        self._enter_once(actor)
        return super().conversation(actor)

    def send(self, actor: Actor, message: UserMessage) -> str:
        written = f"<@uid:{self.bot.ids[0]}> {message.text}" if message.mention else message.text
        parts = [_to_payload(item) for item in message.attachments]
        if written or not parts:
            parts.append({"type": "text", "text": written})
        payload = parts[0] if len(parts) == 1 else {"type": "bloc", "items": parts}
        key = self._join_conversation(actor)
        body = {"conversationId": _conversation_id(actor), "payload": payload}
        return str(self._post("/messages", body, key)["message"]["id"])

    @classmethod
    def read_request(cls, payload: Mapping[str, Any]) -> ShownRequest | None:
        return ShownRequest.of(_to_message(payload["payload"])) if payload.get("op") == "say" else None

    def start(self, actor: Actor) -> None:
        self._join_conversation(actor)

    def press(self, actor: Actor, said: SentMessage, offer: QuickReply) -> None:
        """Send the value of a button or choice, as client applications of the Chat API do."""
        self.say(actor, offer.value)

    def delete(self, actor: Actor, message_id: str) -> None:
        self._call("DELETE", f"/messages/{message_id}", {}, self._join_conversation(actor))

    def remove_member(self, actor: Actor) -> None:
        """Remove the user from the participants of the actor's group. The Chat API has no event for the bot.

        The user becomes a participant again with the next action there.
        """
        host = self._key(_GROUP_OWNER, "")
        self._call("DELETE", f"/conversations/{actor.group}/participants/{actor.user.uid}", {}, host)

    def _to_sent_message(self, message: ChatMessage, conversation: ChatConversation) -> SentMessage:
        shown = _to_message(message.payload)
        return SentMessage(
            message.id,
            conversation_of(self.bot.name, conversation, is_group=conversation.owner == _GROUP_OWNER),
            shown,
            client_id=message.client_id,
            versions=(shown.to_text(),),
            at=message.at / 1000,
        )

    def _enter_once(self, actor: Actor) -> None:
        if (actor.group, actor.user.uid) not in self._entered:
            self._join_conversation(actor)

    def _join_conversation(self, actor: Actor) -> str:
        """Add the user to the actor's conversation and return the user's key."""
        uid = actor.user.uid
        self._entered.add((actor.group, uid))
        place = _conversation_id(actor)
        if not actor.group:
            key = self._key(uid, actor.user.name)
            self._post("/conversations/get-or-create", {"id": place}, key)
            return key
        host, key = self._key(_GROUP_OWNER, ""), self._key(uid, actor.user.name)
        self._post("/conversations/get-or-create", {"id": place}, host)
        self._post(f"/conversations/{place}/participants", {"userId": uid}, host)
        return key

    def _key(self, uid: str, name: str) -> str:
        if uid not in self._keys:
            body = {"id": uid, **({"name": name} if name else {})}
            self._keys[uid] = str(self._post("/users", body, "")["key"])
        return self._keys[uid]

    def _post(self, path: str, body: dict[str, Any], key: str) -> Any:
        return self._call("POST", path, body, key)

    def _call(self, method: str, path: str, body: dict[str, Any], key: str) -> Any:
        headers = {"x-user-key": key} if key else {}
        return self._request(method, f"/chat/{self.bot.name}{path}", json=body, headers=headers).json


def _conversation_id(actor: Actor) -> str:
    """Return the id of an actor's conversation."""
    return actor.group or f"chat-{actor.user.uid}"


def _to_payload(attachment: Attachment) -> dict[str, Any]:
    kind = media_family(attachment.mime_type)
    payload = {"type": kind, f"{kind}Url": attachment.url}
    return {**payload, "title": attachment.name} if kind == "file" and attachment.name else payload


def _to_message(payload: Any) -> Message:
    """Return the message of a bot's payload. A file with a text beside it is a file with a caption."""
    found = payloads.to_messages(payload)
    if len(found) == 1:
        return found[0]
    files = [message for message in found if isinstance(message, Media)]
    texts = "\n".join(message.to_text() for message in found if not isinstance(message, Media))
    if len(files) == 1:
        return Media(files[0].url, files[0].kind, files[0].name, caption=texts)
    return Text("\n".join(message.to_text() for message in found))
