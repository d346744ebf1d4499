"""A fake for the platform: the real one and its users, over the database of the delivery."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any, cast

from werkzeug.test import TestResponse

from cometbot.action_values import decode_value
from cometbot.bot import Bot
from cometbot.channels.platform.channel import PlatformChannel
from cometbot.channels.platform.ids import ALL_BOTS, bot_scope, conversation_of
from cometbot.channels.platform.platform import Platform, PlatformSettings
from cometbot.chat import Chat, ChatConversation, ChatMessage
from cometbot.content_types import media_family
from cometbot.field_values import field_from_json
from cometbot.messages import (
    Button,
    Card,
    Carousel,
    Choice,
    Choices,
    Form,
    Location,
    Media,
    MediaKind,
    Message,
    QuickReply,
    Text,
)
from cometbot.models import Attachment, Conversation
from cometbot.store.database import Database
from cometbot.temporary_folders import TemporaryFolder
from cometbot.testing.fakes.base import PUBLIC_URL, Actor, Fault, ShownRequest, Unsupported, UserMessage
from cometbot.testing.fakes.chat_fake import ChatFake, FaultyChannel
from cometbot.testing.replies import SentMessage


class _FaultyChannel(FaultyChannel, PlatformChannel):
    """The channel with injected faults."""

    def __init__(self, platform: Platform) -> None:
        super().__init__(platform)
        self.faults = []


class PlatformFake(ChatFake[_FaultyChannel]):
    """The platform in this process, whose users send the requests of its web page without sockets.

    Each user has one chat with the bot; there are no groups. ``platform`` may be used directly.
    """

    def __init__(self, bot: Bot) -> None:
        super().__init__(bot, bot_scope(bot.name))
        self._folder = TemporaryFolder("platform")
        self._chats: dict[str, str] = {}

    def use_database(self, database: Database) -> None:
        settings = PlatformSettings(
            message_rate=0,
            request_rate=0,
            signup_rate=0,
            jwt_secret="a secret for tests",
        )
        self._channel = _FaultyChannel(Platform(settings, [self.bot], Chat(database, self._folder.path)))

    @property
    def platform(self) -> Platform:
        """The platform of the channel."""
        return self.channel.platform

    @property
    def chat(self) -> Chat:
        return self.platform.chat

    def conversation(self, actor: Actor) -> Conversation:
        return conversation_of(self.bot.name, self._chat(actor), actor.user.uid)

    def send(self, actor: Actor, message: UserMessage) -> str:
        files = [self._upload(actor, item) for item in message.attachments if item.url in self.files]
        links = [item.url for item in message.attachments if item.url not in self.files]
        return self._send(actor, {"body": "\n".join([message.text, *links]), "attachmentIds": files})

    @classmethod
    def read_request(cls, payload: Mapping[str, Any]) -> ShownRequest | None:
        if "body" not in payload or payload["files"]:
            return None
        if payload.get("stored"):
            return ShownRequest.of(_to_media(payload["stored"][0], payload["body"]))
        return ShownRequest.of(_to_message(payload["content"], payload["body"]))

    def start(self, actor: Actor) -> None:
        self._chat(actor)

    def press(self, actor: Actor, said: SentMessage, offer: QuickReply) -> None:
        action = {"name": offer.name, "value": offer.value, "messageId": said.id}
        self._send(actor, {"body": offer.label, "action": action})

    def submit(self, actor: Actor, said: SentMessage, values: Mapping[str, str]) -> None:
        assert isinstance(said.message, Form)
        action = {"name": said.message.action, "values": dict(values), "messageId": said.id}
        self._send(actor, {"body": said.message.title, "action": action})

    def misbehave(self, *faults: Fault) -> None:
        if "rate_limited" in faults:
            raise Unsupported("the platform has no rate limit for the bot")
        self.channel.faults += faults

    def _to_sent_message(self, message: ChatMessage, conversation: ChatConversation) -> SentMessage:
        here = conversation_of(self.bot.name, conversation.id, conversation.owner)
        body = str(message.payload.get("body", ""))
        files = message.payload.get("attachments")
        shown = _to_media(files[0], body) if files else _to_message(message.payload.get("content"), body)
        return SentMessage(message.id, here, shown, client_id=message.client_id, versions=(body,), at=message.at)

    def close(self) -> None:
        self._folder.close()

    def _chat(self, actor: Actor) -> str:
        """Return the id of this user's chat; create both if they do not exist."""
        if actor.group:
            raise Unsupported("the platform has no groups")
        uid = actor.user.uid
        if uid not in self._chats:
            with self.platform.database.write() as connection:
                nickname = {"nickname": actor.user.name}
                self.chat.users.get_or_create(connection, ALL_BOTS, uid, nickname)
            opened = self._post(actor, "/v1/client-api/chat", json={"botId": self.bot.name})
            self._chats[uid] = str(opened.get_json()["id"])
        return self._chats[uid]

    def _upload(self, actor: Actor, item: Attachment) -> str:
        self._chat(actor)
        form = {"file": (io.BytesIO(self.files[item.url]), item.name)}
        answer = self._post(actor, "/v1/client-api/files", data=form)
        return str(answer.get_json()[0]["id"])

    def _send(self, actor: Actor, message: Mapping[str, Any]) -> str:
        answer = self._post(actor, f"/v1/page-api/chat/{self._chat(actor)}/messages", json=message)
        return str(answer.get_json()["id"])

    def _post(self, actor: Actor, path: str, **options: Any) -> TestResponse:
        token = self.platform.token_signer.create(actor.user.uid, actor.user.name, 60)
        return self._request("POST", path, headers={"Cookie": f"token={token.value}"}, **options)


def _to_media(file: Mapping[str, Any], body: str) -> Media:
    """Return the message with a File object and the text beside it."""
    kind = cast(MediaKind, media_family(file["mimeType"]))
    return Media(f"{PUBLIC_URL}/{file['path']}", kind, file["name"], file["mimeType"], file["size"], body)


def _to_message(content: Mapping[str, Any] | None, body: str) -> Message:
    """Return the message of a stored ``content``, or the text ``body`` without one."""
    if content is None:
        return Text(body)
    made: dict[str, Callable[[dict[str, Any]], Message]] = {
        "card": _card,
        "carousel": lambda item: Carousel([_card(card) for card in item["cards"]]),
        "choices": _choices,
        "form": lambda item: Form(**{**item, "fields": [field_from_json(field) for field in item["fields"]]}),
        "location": lambda item: Location(**item),
        "media": lambda item: Media(
            item["url"], item["media"], item["name"], item["mimeType"], caption=item["caption"]
        ),
    }
    return made[content["kind"]]({name: value for name, value in content.items() if name != "kind"})


def _card(content: Mapping[str, Any]) -> Card:
    buttons = [Button(**{**button, "value": decode_value(button.get("value", ""))}) for button in content["buttons"]]
    return Card(content["title"], content["text"], content["image"], buttons)


def _choices(content: Mapping[str, Any]) -> Choices:
    options = content["options"]
    shared = {option["action"] for option in options}
    action = next(iter(shared)) if len(shared) == 1 else ""
    choices = [Choice(option["label"], decode_value(option["value"])) for option in options]
    return Choices(content["text"], choices, action)
