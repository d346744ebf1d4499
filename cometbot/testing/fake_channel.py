"""A channel without a platform: the bot's messages stay in memory, and faults can be injected."""

from __future__ import annotations

import itertools
import json
import mimetypes
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cometbot.action_values import decode_value, encode_value
from cometbot.bot import Bot
from cometbot.channels.base import (
    FILE_TIMEOUT,
    MEMBER_TIMEOUT,
    MEMBERS_TIMEOUT,
    Channel,
    IncomingEvent,
    OutgoingRequest,
    fall_back_to_text,
)
from cometbot.content_types import media_family
from cometbot.errors import BotError, NotFound, PayloadError, Rejected
from cometbot.events import ActionEvent, Event, MessageEvent
from cometbot.field_values import limit_to_json
from cometbot.messages import (
    MESSAGE_CLASSES,
    Button,
    Capabilities,
    Card,
    Carousel,
    Choice,
    ClientCall,
    Custom,
    Field,
    Media,
    Operation,
    Text,
)
from cometbot.models import SCOPES, Attachment, ClientTool, Conversation, Group, Mention, Quote, User
from cometbot.splitting import split_text
from cometbot.testing.replies import SentMessage
from cometbot.turns import ToolCall

_CLASSES = {kind.__name__: kind for kind in (*MESSAGE_CLASSES, ClientCall, Button, Choice, Field)}

EVERYTHING = Capabilities(
    native=frozenset((*MESSAGE_CLASSES, ClientCall)),
    text_limit=4000,
    edit=True,
    delete=True,
    react=True,
    threads=True,
    history=True,
    look_up=True,
    stream_interval=0.0,
    status=True,
    tool_calls=True,
    members=True,
    moderate=True,
    ban=True,
)

TEXT_ONLY = Capabilities()

ChannelFault = BaseException | Callable[[OutgoingRequest], None]


class FakeChannel(Channel):
    """The fake platform for tests, in memory.

    ``said`` has the messages that arrived, in order. Each request consumes one of ``faults``: an exception is raised
    before any effect; a callable is called and may raise or wait; :meth:`lose_answer` makes one that takes effect
    first. ``requests`` has all requests. ``reactions`` has the bot's reactions by message id. ``files`` has the bytes
    of URLs, for ``attachment.read()`` and ``ctx.client.download(url)``. ``former_members`` has the users who left a
    group or were removed, as pairs of group and uid; all others are members. ``banned`` has those who may not come
    back. ``scopes`` has what users are in a group, if not participants, and ``bot_scopes`` what the bot is in a group,
    if not an admin. ``statuses`` has what ``ctx.status`` has shown, ``tool_calls`` the calls of tools that agents have
    made, and ``tool_results`` the results by the ids of the calls. ``clock`` returns the Unix seconds at which the
    bot's own messages are sent.
    """

    name = "fake"
    takes_files = True

    def __init__(self, capabilities: Capabilities = EVERYTHING, account: str = "test") -> None:
        self.capabilities = capabilities
        self._account = account
        self._ids = itertools.count(1)
        self._changed = threading.Condition()
        self._said: dict[str, SentMessage] = {}
        self._history: dict[str, MessageEvent] = {}
        self._events: dict[str, Event] = {}
        self.faults: list[ChannelFault | None] = []
        self.requests: list[OutgoingRequest] = []
        self.reactions: dict[str, list[str]] = {}
        self.bot_uids: set[str] = set()
        self.files: dict[str, bytes] = {}
        self.former_members: set[tuple[str, str]] = set()
        self.banned: set[tuple[str, str]] = set()
        self.scopes: dict[tuple[str, str], str] = {}
        self.bot_scopes: dict[str, str] = {}
        self._seen: dict[tuple[str, str], User] = {}
        self.statuses: list[str] = []
        self.tool_calls: list[ToolCall] = []
        self.tool_results: dict[str, str] = {}
        self.clock: Callable[[], float] = time.time

    @property
    def account(self) -> str:
        return self._account

    @property
    def said(self) -> list[SentMessage]:
        """The bot's messages in order, without deleted ones."""
        with self._changed:
            return [said for said in self._said.values() if not said.deleted]

    def texts(self, conversation: str = "") -> list[str]:
        """Return the texts of the bot's messages in all conversations, or in one."""
        return [said.text for said in self.said if conversation in ("", said.conversation.id)]

    def wait_for(self, condition: Callable[[], bool], timeout: float = 60.0) -> None:
        """Wait until ``condition`` returns true. It is checked whenever something changes.

        Raises :class:`AssertionError` after ``timeout`` seconds.
        """
        end = time.monotonic() + timeout
        with self._changed:
            while not condition():
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"the condition was not met within {timeout} s; sent so far: {self.texts()}")
                self._changed.wait(min(left, 0.05))

    def conversation(self, bot: Bot, *, user: str = "", group: str = "") -> Conversation:
        name = f"group_{group}" if group else f"{bot.name}_user_{user}"
        return Conversation(self.name, self.account, bot.name, name, group or user, is_group=bool(group))

    def incoming(self, bot: Bot, text: str = "", *, user: str = "maria", group: str = "", **more: Any) -> IncomingEvent:
        """Return an incoming message to ``bot``.

        ``more`` are fields of the message, such as ``id``, ``attachments``, ``thread_id`` and ``action``.
        """
        body = {"id": str(more.pop("id", None) or self.new_id()), "user": user, "text": text, "group": group, **more}
        kind = "action" if "action" in more else "message"
        where = self.conversation(bot, user=user, group=group)
        return IncomingEvent(where, f"{kind}:{body['id']}", json.dumps(body).encode(), user)

    def incoming_event(self, event: Event) -> IncomingEvent:
        """Return an incoming event that is parsed as exactly this ``event``."""
        self._events[event.key] = event
        return IncomingEvent(event.conversation, event.key, b'{"made": true}', event.sender.uid)

    def new_id(self) -> str:
        """Return an unused message id."""
        return str(next(self._ids))

    def parse(self, incoming: IncomingEvent) -> Event:
        if incoming.key in self._events:
            return self._events[incoming.key]
        try:
            body = json.loads(incoming.body)
            event = self._event(incoming, body)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise PayloadError(f"not a message of the fake channel: {error}") from error
        if isinstance(event, MessageEvent):
            self._history.setdefault(event.key, event)
        return event

    def _event(self, incoming: IncomingEvent, body: dict[str, Any]) -> Event:
        common: dict[str, Any] = {
            "key": incoming.key,
            "conversation": incoming.conversation,
            "sender": User(body["user"], body.get("name", body["user"].title())),
            "group": Group(body["group"]) if body.get("group") else None,
            "sent_at": body.get("sent_at", 0),
            "raw": body,
            "client_tools": tuple(ClientTool(**item) for item in body.get("client_tools", ())),
        }
        if "action" in body:
            named = _pick(body, "value", "values", "thread_id")
            message_id = body.get("message_id", body["id"])
            return ActionEvent(**common, name=body["action"], message_id=message_id, **named)
        quote = body.get("quote", "")
        return MessageEvent(
            **common,
            id=body["id"],
            text=body["text"],
            **_pick(body, "type", "thread_id"),
            attachments=tuple(Attachment(**item) for item in body.get("attachments", ())),
            mentions=tuple(Mention(uid) for uid in body.get("mentions", ())),
            quote=Quote(quote, said.text if (said := self._said.get(quote)) else "") if quote else None,
        )

    def render(self, operation: Operation) -> list[dict[str, Any]]:
        base: dict[str, Any] = {
            "op": operation.kind,
            "thread_id": operation.thread_id if self.capabilities.threads else "",
            "quote_id": operation.quote_id,
            "message_id": operation.message_id,
            "reaction": operation.reaction,
        }
        if operation.user:
            base["user"] = operation.user
        if operation.message is None:
            return [base]
        message = fall_back_to_text(operation.message, self.capabilities)
        if not isinstance(message, Text):
            return [{**base, "message": encode(message)}]
        first, *rest = split_text(message.text, self.capabilities.text_limit)
        parts = [{**base, "message": encode(replace(message, text=first))}]
        return parts + [{**base, "op": "send", "message": encode(replace(message, text=text))} for text in rest]

    def send(self, sending: OutgoingRequest, *, timeout: float) -> str:
        with self._changed:
            self.requests.append(sending)
            fault = self.faults.pop(0) if self.faults else None
            self._changed.notify_all()
        if isinstance(fault, BaseException):
            raise fault
        if fault is not None:
            fault(sending)
        return self.perform(sending)

    def lose_answer(self, error: BaseException) -> ChannelFault:
        """Return a fault that performs the request and then raises ``error``, like a lost response."""

        def fault(sending: OutgoingRequest) -> None:
            self.perform(sending)
            raise error

        return fault

    def perform(self, sending: OutgoingRequest) -> str:
        """Perform the operation of ``sending`` and return the id of its message."""
        payload = sending.payload
        with self._changed:
            if payload["op"] == "send":
                id = self._add(sending).id
            elif "user" in payload or (payload["op"] == "delete" and not sending.target_id):
                id = self._moderate(payload, sending.conversation.target)
            else:
                id = self._change(payload, sending.target_id or payload["message_id"]).id
            self._changed.notify_all()
        return id

    def _moderate(self, payload: Mapping[str, Any], group: str) -> str:
        """Delete a message of somebody, or remove, ban or let in a member. A call that changes nothing is no error."""
        id = str(payload["message_id"])
        message = self._history.get(f"message:{id}")
        own = self._said.get(id)
        if own is not None:
            self._change(payload, id)
        elif message is not None or payload["op"] != "delete":
            user = message.sender.uid if message is not None else str(payload["user"])
            self._check_clearance(group, user)
            self.remove_from_history(id)
            self._change_member(payload["op"], (group, user))
        return id

    def _check_clearance(self, group: str, user: str) -> None:
        """Raise :class:`Rejected` unless the bot may moderate a user: an admin all but owners, a moderator no admin."""
        allowed = {"owner": SCOPES, "admin": SCOPES[1:], "moderator": SCOPES[3:]}
        bot = self.bot_scopes.get(group, "admin")
        if self.scopes.get((group, user), "participant") not in allowed.get(bot, ()):
            raise Rejected(f"the bot is {bot} and may not moderate {user}", code="ERR_GROUP_NO_CLEARANCE", status=403)

    def _change_member(self, operation: str, member: tuple[str, str]) -> None:
        if operation in ("kick", "ban"):
            self.former_members.add(member)
            self.scopes.pop(member, None)
        if operation == "ban":
            self.banned.add(member)
        elif operation == "unban":
            self.banned.discard(member)

    def _add(self, sending: OutgoingRequest) -> SentMessage:
        message = decode(sending.payload["message"])
        said = SentMessage(
            f"p{next(self._ids)}",
            sending.conversation,
            message,
            sending.payload["thread_id"],
            sending.payload["quote_id"],
            sending.client_id,
            versions=(message.to_text(),),
            at=time.monotonic(),
        )
        self._said[said.id] = said
        self.add_to_history(_to_history_event(said, self.clock()))
        return said

    def _change(self, payload: Any, message_id: str) -> SentMessage:
        said = self._said.get(message_id)
        if payload["op"] == "react":
            self.reactions.setdefault(message_id, []).append(payload["reaction"])
        if said is None and payload["op"] == "react":
            return SentMessage(message_id, Conversation("", "", "", "", ""), Text(payload["reaction"]))
        if said is None:
            raise NotFound(f"there is no message {message_id}", code="ERR_MESSAGE_ID_NOT_FOUND", status=404)
        if payload["op"] == "edit":
            message = decode(payload["message"])
            said = replace(said, message=message, versions=(*said.versions, message.to_text()))
            self.add_to_history(_to_history_event(said, self._history[f"message:{said.id}"].sent_at))
        elif payload["op"] == "delete":
            said = replace(said, deleted=True)
            self.remove_from_history(said.id)
        else:
            said = replace(said, reactions=(*said.reactions, payload["reaction"]))
        self._said[message_id] = said
        return said

    def find_sent(self, sending: OutgoingRequest, *, timeout: float) -> str | None:
        with self._changed:
            return next((said.id for said in self._said.values() if said.client_id == sending.client_id), None)

    def preview(self, conversation: Conversation, message_id: str, text: str) -> None:
        with self._changed:
            said = self._said[message_id]
            self._said[message_id] = replace(said, versions=(*said.versions, text))
            self._changed.notify_all()

    def set_status(self, conversation: Conversation, text: str) -> None:
        with self._changed:
            self.statuses.append(text)
            self._changed.notify_all()

    def show_tool_call(self, conversation: Conversation, call_id: str, name: str, arguments: Mapping[str, Any]) -> None:
        with self._changed:
            self.tool_calls.append(ToolCall(name, arguments, call_id))
            self._changed.notify_all()

    def show_tool_result(self, conversation: Conversation, call_id: str, content: str) -> None:
        with self._changed:
            self.tool_results[call_id] = content
            self._changed.notify_all()

    def history(self, conversation: Conversation, limit: int) -> list[MessageEvent]:
        if not self.capabilities.history:
            return []
        with self._changed:
            here = [event for event in self._history.values() if event.conversation == conversation]
        return here[-limit:] if limit > 0 else []

    def add_to_history(self, message: MessageEvent) -> None:
        """Add ``message`` to the history. It replaces an earlier one with the same key."""
        with self._changed:
            self._history[message.key] = message

    def remove_from_history(self, message_id: str) -> None:
        """Remove a deleted message from the history."""
        with self._changed:
            self._history.pop(f"message:{message_id}", None)

    def client(self, bot: str) -> FakeChannel:
        return self

    def read_file(self, file: Attachment, client: Any, *, limit: int, timeout: float = FILE_TIMEOUT) -> bytes:
        return self.download(file.url)

    def download(self, url: str) -> bytes:
        """Return the bytes of a file that a user sent. Raises :class:`Rejected` if it does not exist."""
        if url not in self.files:
            raise Rejected(f"there is no file at {url}", status=404)
        return self.files[url]

    def has_member(self, conversation: Conversation, user: User, *, timeout: float = MEMBER_TIMEOUT) -> bool:
        has_left = conversation.is_group and (conversation.target, user.uid) in self.former_members
        return not has_left and super().has_member(conversation, user, timeout=timeout)

    def add_member(self, group: str, user: User) -> None:
        """Add a user to a group. Raises :class:`BotError` for a banned one."""
        if (group, user.uid) in self.banned:
            raise BotError(f"{user.uid} is banned from {group}")
        self.former_members.discard((group, user.uid))
        self._seen[(group, user.uid)] = user

    def members(self, conversation: Conversation, *, timeout: float = MEMBERS_TIMEOUT) -> list[User]:
        """Return the users who have done something in the group, as far as they are members."""
        with self._changed:
            here = [(key, user) for key, user in self._seen.items() if key[0] == conversation.target]
            return [replace(user, scope=self._get_scope(key)) for key, user in here if key not in self.former_members]

    def get_scope(self, conversation: Conversation, user: User, *, timeout: float = MEMBER_TIMEOUT) -> str:
        return self._get_scope((conversation.target, user.uid))

    def _get_scope(self, member: tuple[str, str]) -> str:
        return "" if member in self.former_members else self.scopes.get(member, "participant")

    def is_bot(self, uid: str) -> bool:
        return uid in self.bot_uids


def _pick(body: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: body[name] for name in names if name in body}


def _to_history_event(said: SentMessage, sent_at: float) -> MessageEvent:
    """Return a bot's message as a history event: a file as an attachment, any other type with its fields."""
    message = said.message
    kind = type(message).__name__.lower()
    shown: dict[str, Any] = {"type": kind, "text": message.to_text()}
    if isinstance(message, Media):
        file = Attachment(message.url, message.name, message.mime_type, Path(message.name).suffix[1:], message.size)
        kind = message.kind or media_family(mimetypes.guess_type(urlsplit(message.url).path)[0] or "")
        shown = {"type": kind, "text": message.caption, "attachments": (file,)}
    elif isinstance(message, Custom):
        shown = {"type": message.type, "category": "custom", "text": message.text, "data": dict(message.data)}
    elif not isinstance(message, Text):
        shown |= {
            "category": "card" if isinstance(message, Card | Carousel) else "interactive",
            "data": encode(message),
        }
    return MessageEvent(
        key=f"message:{said.id}",
        conversation=said.conversation,
        sender=User(said.conversation.bot),
        group=Group(said.conversation.target) if said.conversation.is_group else None,
        sent_at=sent_at,
        id=said.id,
        thread_id=said.thread_id,
        quote=Quote(said.quote_id, "") if said.quote_id else None,
        **shown,
    )


def encode(value: Any) -> Any:
    """Return ``value`` as JSON. Dataclasses become objects with their class name under ``@``.

    The value of a button or choice becomes what comes back when it is pressed.
    """
    if isinstance(value, Button | Choice):
        value = replace(value, value=decode_value(encode_value(value.value)))
    if is_dataclass(value) and not isinstance(value, type):
        return {"@": type(value).__name__, **{item.name: encode(getattr(value, item.name)) for item in fields(value)}}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else limit_to_json(value)


def decode(value: Any) -> Any:
    """Return the value that :func:`encode` was called with. Lists become tuples."""
    if isinstance(value, list):
        return tuple(decode(item) for item in value)
    if isinstance(value, dict) and value.get("@") in _CLASSES:
        kind = _CLASSES[value["@"]]
        return kind(**{name: decode(item) for name, item in value.items() if name != "@"})
    return value
