"""The web chat's event stream: the signals of a user's chats, as they happen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import flask
import orjson

from cometbot.channels.platform import serializers
from cometbot.channels.platform.ids import ALL_BOTS
from cometbot.channels.platform.platform import CHAT_CREATED, STREAM_DELTA, TYPING, Platform
from cometbot.chat import (
    CONVERSATION_DELETED,
    CONVERSATION_UPDATED,
    MESSAGE_CREATED,
    MESSAGE_DELETED,
    MESSAGE_UPDATED,
    ChatUser,
    Listener,
    Signal,
    Topic,
)
from cometbot.http.sse import frame, stream

MAX_STREAMS_PER_USER = 12
"""The number of open pages of one user, in each process."""

_MAX_CHATS = 500
_MAX_OPEN_MESSAGES = 32
_MAX_BACKLOG = 50


def event_stream(platform: Platform, user: ChatUser) -> flask.Response:
    """Return an endless response with the events in the chats of ``user`` from now on."""
    frames = _EventStream(platform, user)
    return stream(
        frames.listen, frames.render, limits={f"platform:{user.id}": MAX_STREAMS_PER_USER}, first=frame(b"{}", "hello")
    )


@dataclass
class _PartialMessage:
    """A message that the bot is still writing.

    ``text`` holds the parts of the current delta. ``expected_position`` is the delta and part that must come next.
    """

    text: str = ""
    expected_position: tuple[int, int] = (0, 0)


@dataclass
class _DeltaAssembler:
    """Joins the parts of deltas, by stream."""

    streams: dict[str, _PartialMessage] = field(default_factory=dict)

    def add(self, data: Any) -> str | None:
        """Return a delta once all its parts have arrived; None before, and if an earlier delta is missing."""
        name, position = data["stream"], (data["sequence"], data["part"])
        found = self.streams.get(name)
        if found is None and position == (0, 0):
            found = self.streams[name] = _PartialMessage()
            while len(self.streams) > _MAX_OPEN_MESSAGES:
                del self.streams[next(iter(self.streams))]
        if found is None or found.expected_position != position:
            self.streams.pop(name, None)
            return None
        found.text += data["text"]
        found.expected_position = (position[0] + 1, 0) if data["last"] else (position[0], position[1] + 1)
        if not data["last"]:
            return None
        text, found.text = found.text, ""
        return text


class _EventStream:
    """Converts signals of the feed to the frames of one page's stream."""

    def __init__(self, platform: Platform, user: ChatUser) -> None:
        self._platform = platform
        self._user = user
        self._deltas = _DeltaAssembler()
        self._listener: Listener | None = None

    def listen(self) -> Listener:
        """Return a listener for the signals of all chats of the user."""
        chat_server = self._platform.chat
        listener = self._listener = chat_server.feed.listen(Topic.of_user(ALL_BOTS, self._user.id))
        try:
            with self._platform.database.read() as connection:
                owned = chat_server.conversations.list_owned(connection, ALL_BOTS, self._user.id, limit=_MAX_CHATS)
            for chat in owned.items:
                listener.follow(chat.topic)
        except BaseException:
            listener.close()
            raise
        return listener

    def render(self, signal: Signal) -> Iterator[bytes]:
        """Yield the frames of ``signal``."""
        if signal.message is not None and signal.kind in (MESSAGE_CREATED, MESSAGE_UPDATED):
            yield _frame("message", serializers.page_message_json(signal.message))
        elif signal.kind == MESSAGE_DELETED:
            yield _frame("removed", {"chatId": signal.topic.id, "id": signal.data["id"]})
        elif signal.kind == TYPING:
            yield _frame("typing", {"chatId": signal.topic.id, "on": bool(signal.data["on"])})
        elif signal.kind == STREAM_DELTA:
            yield from self._delta_frames(signal)
        elif signal.kind == CHAT_CREATED:
            yield from self._chat_frames(str(signal.data["id"]), is_new=True)
        elif signal.kind == CONVERSATION_UPDATED:
            yield from self._chat_frames(signal.topic.id)
        elif signal.kind == CONVERSATION_DELETED:
            if self._listener is not None:
                self._listener.unfollow(signal.topic)
            yield _frame("chat-removed", {"id": signal.topic.id})

    def _delta_frames(self, signal: Signal) -> Iterator[bytes]:
        delta_data = {"chatId": signal.topic.id, "id": signal.data["stream"]}
        if signal.data["text"] is None:
            yield _frame("delta", {**delta_data, "text": None})
            return
        text = self._deltas.add(signal.data)
        if text is not None:
            yield _frame("delta", {**delta_data, "sequence": signal.data["sequence"], "text": text})

    def _chat_frames(self, chat_id: str, *, is_new: bool = False) -> Iterator[bytes]:
        """Yield the chat as it is now; for a new chat also the messages from before the listener followed it."""
        chat_server = self._platform.chat
        with self._platform.database.read() as connection:
            chat = chat_server.conversations.get(connection, ALL_BOTS, chat_id)
        if chat is None or chat.owner != self._user.id or self._listener is None:
            return
        self._listener.follow(chat.topic)
        with self._platform.database.read() as connection:
            last = chat_server.messages.get_newest(connection, [chat])
            backlog = (
                chat_server.messages.list_after(connection, chat.scope, chat.id, 0, _MAX_BACKLOG).items
                if is_new
                else ()
            )
        yield _frame("chat", serializers.page_chat_json(chat, last.get(chat.id)))
        for message in backlog:
            yield _frame("message", serializers.page_message_json(message))


def _frame(event: str, value: Any) -> bytes:
    return frame(orjson.dumps(value), event)
