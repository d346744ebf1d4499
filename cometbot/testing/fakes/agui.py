"""A fake for AG-UI: the real channel and its clients, over the database of the delivery."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cometbot.bot import Bot
from cometbot.channels.agui import rows
from cometbot.channels.agui.answer import PROTOCOL_VERSION
from cometbot.channels.agui.channel import AguiChannel
from cometbot.channels.agui.ids import make_conversation, scope_of
from cometbot.channels.agui.parsing import message_id
from cometbot.channels.agui.schemas import read_input
from cometbot.channels.agui.settings import AguiSettings
from cometbot.chat import Chat, ChatConversation, ChatMessage
from cometbot.content_types import media_family
from cometbot.messages import ClientCall, Message, Text
from cometbot.models import Attachment, ClientTool, Conversation, User
from cometbot.settings import Secret
from cometbot.store.database import Database
from cometbot.testing.fakes.base import Actor, Fault, ShownRequest, Unsupported, UserMessage
from cometbot.testing.fakes.chat_fake import ChatFake, FaultyChannel
from cometbot.testing.replies import SentMessage

JsonObject = dict[str, Any]

_TOKEN = "the token of tests, of 32 characters"
_USER_HEADER = "X-User"


class _FaultyChannel(FaultyChannel, AguiChannel):
    """The channel with injected faults."""

    def __init__(self, chat: Chat, settings: AguiSettings) -> None:
        super().__init__(chat, settings)
        self.faults = []


class _Client:
    """What the client of one user has: the messages of the thread, which it sends with each request, and its tools."""

    def __init__(self) -> None:
        self.messages: list[JsonObject] = []
        self.tools: Sequence[ClientTool] = ()
        self.seen: set[str] = set()
        self.last: JsonObject = {}

    def add_answers(self, found: Sequence[SentMessage]) -> None:
        """Add what the bot has said since the last request."""
        for said in found:
            if said.id not in self.seen:
                self.seen.add(said.id)
                self.messages.append({"id": said.id, "role": "assistant", **_to_content(said.message)})


class AguiFake(ChatFake[_FaultyChannel]):
    """AG-UI in this process, whose clients send their requests without sockets, in version 1.0 of the protocol.

    Each user has one thread with the bot, whose id is ``thread-`` and the user's id. There are no groups. A client
    sends the whole thread with each request, and the tools of the last message.

    A user sees what the bot says as soon as it is stored. On the protocol itself, that which no request is answered by
    comes with the next answer. :meth:`read_answer` returns the protocol's own events.
    """

    def __init__(self, bot: Bot) -> None:
        super().__init__(bot, scope_of(bot.name))
        self._clients: dict[str, _Client] = {}
        self._numbers = itertools.count(1)
        self._last: tuple[str, JsonObject] | None = None

    def use_database(self, database: Database) -> None:
        chat = Chat(database, Path("cometbot-data"))
        chat.feed.close()  # nobody waits for an answer here, so that no thread is needed
        self._channel = _FaultyChannel(chat, AguiSettings(tokens=(Secret(_TOKEN),), user_header=_USER_HEADER))

    @property
    def chat(self) -> Chat:
        return self.channel.chat

    def known_name(self, user: User) -> str:
        return ""

    def conversation(self, actor: Actor) -> Conversation:
        """Return the thread of ``actor``. It is created if it does not exist."""
        if actor.group:
            raise Unsupported("AG-UI has no groups")
        uid = actor.user.uid
        if uid not in self._clients:
            self._clients[uid] = _Client()
            with self.chat.database.write() as connection:
                self.chat.conversations.create(connection, self._scope, uid, id=_thread_id(actor))
        return make_conversation(self.bot.name, _thread_id(actor), uid)

    def send(self, actor: Actor, message: UserMessage) -> str:
        client = self._client_of(actor)
        client.tools = message.client_tools
        body = self._post(actor, {"role": "user", "content": self._to_parts(message)})
        return message_id(read_input(body).event_key)

    def answer_call(self, actor: Actor, call: ClientCall, content: str) -> None:
        self._post(actor, {"role": "tool", "toolCallId": call.id, "content": content})

    def resume(
        self, interrupt: str, payload: Any = None, *, is_cancelled: bool = False, actor: Actor | None = None
    ) -> None:
        """Answer an interrupt, whose id is in the last event of :meth:`read_answer`.

        ``actor`` is by default who has sent the last request.
        """
        status = {"status": "cancelled"} if is_cancelled else {"status": "resolved", "payload": payload}
        uid = self._last_request()[0] if actor is None else actor.user.uid
        self._post(Actor(User(uid)), resume=[{"interruptId": interrupt, **status}])

    def read_answer(self, actor: Actor | None = None) -> list[JsonObject]:
        """Return the events of the answer to the last request, of ``actor`` or of anybody, as a client reads them.

        They are what a client gets that sends the request again: a stream is one piece there, and calls of the bot's
        own tools are left out. Without an end of the handling, the last event is ``RUN_ERROR`` with the code
        ``INTERRUPTED``.
        """
        uid, body = self._last_request() if actor is None else (actor.user.uid, self._client_of(actor).last)
        answer = self._request("POST", self._path, json=body, headers=_headers(uid), buffered=True)
        frames = [frame for frame in answer.text.split("\n\n") if frame.startswith("data: ")]
        return [json.loads(frame.removeprefix("data: ")) for frame in frames]

    @classmethod
    def read_request(cls, payload: Mapping[str, Any]) -> ShownRequest | None:
        message = _to_message(payload)
        return ShownRequest.of(message) if message is not None else None

    def repeat(self) -> None:
        uid, body = self._last_request()
        self._send_body(uid, body)

    def misbehave(self, *faults: Fault) -> None:
        if "rate_limited" in faults:
            raise Unsupported("AG-UI has no rate limit for the bot")
        self.channel.faults += faults

    def _to_sent_message(self, message: ChatMessage, conversation: ChatConversation) -> SentMessage | None:
        here = make_conversation(self.bot.name, conversation.id, conversation.owner)
        shown = _to_message(message.payload)
        if shown is None:
            return None
        versions = (shown.to_text(),)
        return SentMessage(message.id, here, shown, client_id=message.client_id, versions=versions, at=message.at)

    @property
    def _path(self) -> str:
        return f"/agui/{self.bot.name}"

    def _client_of(self, actor: Actor) -> _Client:
        self.conversation(actor)
        return self._clients[actor.user.uid]

    def _last_request(self) -> tuple[str, JsonObject]:
        if self._last is None:
            raise Unsupported("no client has sent a request yet")
        return self._last

    def _post(self, actor: Actor, message: JsonObject | None = None, **more: Any) -> JsonObject:
        """Send a request with the thread so far, and return its body."""
        client, here = self._client_of(actor), self.conversation(actor)
        client.add_answers([said for said in self.said() if said.conversation.id == here.id])
        number = next(self._numbers)
        if message is not None:
            client.messages.append({"id": f"message-{number}", **message})
        body = {
            "threadId": here.id,
            "runId": f"run-{number}",
            "messages": list(client.messages),
            "tools": [_to_tool(tool) for tool in client.tools],
            "protocolVersion": PROTOCOL_VERSION,
            **more,
        }
        client.last = body
        self._last = (actor.user.uid, body)
        self._send_body(actor.user.uid, body)
        return body

    def _send_body(self, uid: str, body: JsonObject) -> None:
        """Send a request, and do not wait for its answer: it is handled later, in the thread of the test."""
        self._request("POST", self._path, json=body, headers=_headers(uid)).close()

    def _to_parts(self, message: UserMessage) -> str | list[JsonObject]:
        if not message.attachments:
            return message.text
        texts = [{"type": "text", "text": message.text}] if message.text else []
        return [*texts, *(self._to_part(item) for item in message.attachments)]

    def _to_part(self, attachment: Attachment) -> JsonObject:
        """Return the part of a message for a file: its bytes, as clients send them, or an address."""
        family = media_family(attachment.mime_type)
        kind = "document" if family == "file" else family
        content = self.files.get(attachment.url)
        source = (
            {"type": "url", "value": attachment.url, "mimeType": attachment.mime_type}
            if content is None
            else {"type": "data", "value": base64.b64encode(content).decode(), "mimeType": attachment.mime_type}
        )
        return {"type": kind, "source": source, "filename": attachment.name}


def _thread_id(actor: Actor) -> str:
    return f"thread-{actor.user.uid}"


def _headers(uid: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {_TOKEN}", _USER_HEADER: uid}


def _to_tool(tool: ClientTool) -> JsonObject:
    return {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}


def _to_message(payload: Mapping[str, Any]) -> Message | None:
    """Return the message of a row, or None for one that users do not see."""
    if payload.get("kind") == rows.TEXT:
        return Text(payload["text"])
    if payload.get("kind") == rows.TOOL_CALL:
        return ClientCall(payload["name"], payload["arguments"], payload["id"])
    return None


def _to_content(message: Message) -> JsonObject:
    """Return the content of an assistant's message."""
    if not isinstance(message, ClientCall):
        return {"content": message.to_text()}
    function = {"name": message.name, "arguments": json.dumps(dict(message.arguments))}
    return {"content": "", "toolCalls": [{"id": message.id, "type": "function", "function": function}]}
