"""A fake for the platform: the real one and its users, over the database of the delivery."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from werkzeug.test import Client, TestResponse

from cometbot.bot import Bot
from cometbot.channels.base import OutgoingRequest
from cometbot.channels.platform.channel import PlatformChannel
from cometbot.channels.platform.ids import ALL_BOTS, bot_scope, conversation_of
from cometbot.channels.platform.platform import Platform
from cometbot.channels.platform.settings import PlatformSettings
from cometbot.chat import Chat, ChatConversation, ChatMessage
from cometbot.delivery import Delivery
from cometbot.errors import BotError, OutcomeUnknown, Rejected, Unreachable
from cometbot.messages import Form, QuickReply
from cometbot.models import Attachment, Conversation
from cometbot.store.database import Database, Transaction
from cometbot.temporary_folders import TemporaryFolder
from cometbot.testing.fakes.base import Actor, Fake, Fault, Unsupported
from cometbot.testing.fakes.platform_content import to_message
from cometbot.testing.replies import SentMessage
from cometbot.testing.wsgi_app import make_channel_app

_PAGE = 100
_ERRORS: dict[Fault, Exception] = {
    "failed": OutcomeUnknown("500", status=500),
    "failed_after_acting": OutcomeUnknown("500", status=500),
    "unreachable": Unreachable("the database is away"),
    "refused": Rejected("no", code="refused", status=403),
}


class PlatformFake(Fake):
    """The platform in this process, whose users send the requests of its web page without sockets.

    Each user has one chat with the bot; there are no groups. ``platform`` may be used directly.
    """

    def __init__(self, bot: Bot, *, join_replies: bool = False) -> None:
        super().__init__(bot)
        self._join_replies = join_replies
        self._folder = TemporaryFolder("platform")
        self._channel: _FaultyChannel | None = None
        self._client: Client | None = None
        self._files: dict[str, bytes] = {}
        self._chats: dict[str, str] = {}

    def use_database(self, database: Database) -> None:
        settings = PlatformSettings(
            merge_replies=self._join_replies,
            message_rate=0,
            request_rate=0,
            signup_rate=0,
            jwt_secret="a secret for tests",
        )
        self._channel = _FaultyChannel(Platform(settings, [self.bot], Chat(database, self._folder.path)))

    @property
    def channel(self) -> PlatformChannel:
        return self._faulty_channel

    @property
    def platform(self) -> Platform:
        """The platform of the channel."""
        return self._faulty_channel.platform

    @property
    def _faulty_channel(self) -> _FaultyChannel:
        if self._channel is None:
            raise BotError("use_database() says in which database this platform lives; call it first")
        return self._channel

    def attach(self, delivery: Delivery) -> None:
        self._client = Client(make_channel_app(self.channel, delivery), use_cookies=False)

    def conversation(self, actor: Actor) -> Conversation:
        return conversation_of(self.bot.name, self._chat(actor), actor.user.uid)

    def say(
        self,
        actor: Actor,
        text: str,
        *,
        thread_id: str = "",
        quote_id: str = "",
        mention: bool = False,
        attachments: Sequence[Attachment] = (),
    ) -> str:
        files = [self._upload(actor, item) for item in attachments if item.url in self._files]
        links = [item.url for item in attachments if item.url not in self._files]
        return self._send(actor, {"body": "\n".join([text, *links]), "attachmentIds": files})

    def press(self, actor: Actor, said: SentMessage, offer: QuickReply) -> None:
        action = {"name": offer.name, "value": offer.value, "messageId": said.id}
        self._send(actor, {"body": offer.label, "action": action})

    def submit(self, actor: Actor, said: SentMessage, values: Mapping[str, str]) -> None:
        assert isinstance(said.message, Form)
        action = {"name": said.message.action, "values": dict(values), "messageId": said.id}
        self._send(actor, {"body": said.message.title, "action": action})

    def upload(self, name: str, content: bytes, mime_type: str) -> str:
        url = super().upload(name, content, mime_type)
        self._files[url] = content
        return url

    def misbehave(self, *faults: Fault) -> None:
        if "rate_limited" in faults:
            raise Unsupported("nobody limits how often the platform writes into its own database")
        self._faulty_channel.faults += faults

    def said(self) -> list[SentMessage]:
        found = []
        with self.platform.database.read() as connection:
            for chat in self._all_chats(connection):
                here = conversation_of(self.bot.name, chat.id, chat.owner)
                found += [
                    _to_sent_message(message, here) for message in self._messages(connection, chat) if message.is_bot
                ]
        return sorted(found, key=lambda said: said.at)

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
                self.platform.chat.users.get_or_create(connection, ALL_BOTS, uid, nickname)
                made = self.platform.chat.conversations.create(connection, bot_scope(self.bot.name), uid)
            self._chats[uid] = made.id
        return self._chats[uid]

    def _upload(self, actor: Actor, item: Attachment) -> str:
        self._chat(actor)
        form = {"file": (io.BytesIO(self._files[item.url]), item.name)}
        answer = self._post(actor, "/v1/client-api/files", data=form)
        return str(answer.get_json()[0]["id"])

    def _send(self, actor: Actor, message: Mapping[str, Any]) -> str:
        answer = self._post(actor, f"/v1/page-api/chat/{self._chat(actor)}/messages", json=message)
        return str(answer.get_json()["id"])

    def _post(self, actor: Actor, path: str, **options: Any) -> TestResponse:
        if self._client is None:
            raise BotError("attach() comes before anything that users do")
        token = self.platform.token_signer.create(actor.user.uid, actor.user.name, 60)
        answer = self._client.post(path, headers={"Cookie": f"token={token.value}"}, **options)
        assert answer.status_code < 300, f"{path} was refused with {answer.status}: {answer.text}"
        return answer

    def _all_chats(self, connection: Transaction) -> list[ChatConversation]:
        conversations, scope = self.platform.chat.conversations, bot_scope(self.bot.name)
        page = conversations.list(connection, scope, limit=_PAGE)
        found = list(page.items)
        while page.next:
            page = conversations.list(connection, scope, cursor=page.next, limit=_PAGE)
            found += page.items
        return found

    def _messages(self, connection: Transaction, chat: ChatConversation) -> list[ChatMessage]:
        messages = self.platform.chat.messages
        page = messages.list_newest(connection, chat.scope, chat.id, limit=_PAGE)
        found = list(page.items)
        while page.next:
            page = messages.list_newest(connection, chat.scope, chat.id, cursor=page.next, limit=_PAGE)
            found += page.items
        return found


class _FaultyChannel(PlatformChannel):
    """The channel with injected faults."""

    def __init__(self, platform: Platform) -> None:
        super().__init__(platform)
        self.faults: list[Fault] = []

    def send(self, sending: OutgoingRequest, *, timeout: float) -> str:
        if not self.faults:
            return super().send(sending, timeout=timeout)
        fault = self.faults.pop(0)
        if fault == "failed_after_acting":
            super().send(sending, timeout=timeout)
        raise _ERRORS[fault]


def _to_sent_message(message: ChatMessage, here: Conversation) -> SentMessage:
    body = str(message.payload.get("body", ""))
    shown = to_message(message.payload.get("content"), body)
    return SentMessage(message.id, here, shown, client_id=message.client_id, versions=(body,), at=message.at)
