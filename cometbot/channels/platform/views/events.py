"""The web chat's event stream: the signals of a user's chats, as they happen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import flask
import orjson

from cometbot.channels.platform import serializers
from cometbot.channels.platform.ids import ALL_BOTS
from cometbot.channels.platform.platform import CHAT_CREATED, STREAM_DELTA, TYPING
from cometbot.chat import (
    CONVERSATION_DELETED,
    CONVERSATION_UPDATED,
    MESSAGE_CREATED,
    MESSAGE_DELETED,
    MESSAGE_UPDATED,
    Chat,
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


def event_stream(chat: Chat, user: ChatUser) -> flask.Response:
    """Return an endless response with the events in the chats of ``user`` from now on."""
    frames = _EventStream(chat, user)
    return stream(
        frames.listen, frames.render, limits={f"platform:{user.id}": MAX_STREAMS_PER_USER}, first=frame(b"{}", "hello")
    )


class _DeltaAssembler:
    """Joins the parts of the deltas of messages that bots are still writing."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[tuple[int, int], str]] = {}
        """For each stream the delta and part that must come next, and the parts of the current delta."""

    def add(self, data: Any) -> str | None:
        """Return a delta once all its parts have arrived; None before, and if an earlier delta is missing."""
        name, delta, part = data["stream"], data["sequence"], data["part"]
        expected, text = self._open.get(name, ((0, 0), ""))
        if expected != (delta, part):
            self._open.pop(name, None)
            return None
        text += data["text"]
        self._open[name] = ((delta + 1, 0), "") if data["last"] else ((delta, part + 1), text)
        while len(self._open) > _MAX_OPEN_MESSAGES:
            del self._open[next(iter(self._open))]
        return text if data["last"] else None


class _EventStream:
    """Converts signals of the feed to the frames of one page's stream."""

    def __init__(self, chat: Chat, user: ChatUser) -> None:
        self._chat = chat
        self._user = user
        self._deltas = _DeltaAssembler()
        self._listener: Listener | None = None

    def listen(self) -> Listener:
        """Return a listener for the signals of all chats of the user."""
        listener = self._listener = self._chat.feed.listen(Topic.of_user(ALL_BOTS, self._user.id))
        try:
            with self._chat.database.read() as connection:
                owned = self._chat.conversations.list_owned(connection, ALL_BOTS, self._user.id, limit=_MAX_CHATS)
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
            yield _frame("typing", {"chatId": signal.topic.id, "on": bool(signal.data["on"]), "text": _status(signal)})
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
        with self._chat.database.read() as connection:
            chat = self._chat.conversations.get(connection, ALL_BOTS, chat_id)
        if chat is None or chat.owner != self._user.id or self._listener is None:
            return
        self._listener.follow(chat.topic)
        with self._chat.database.read() as connection:
            last = self._chat.messages.get_newest(connection, [chat])
            backlog = (
                self._chat.messages.list_after(connection, chat.scope, chat.id, 0, _MAX_BACKLOG).items if is_new else ()
            )
        yield _frame("chat", serializers.page_chat_json(chat, last.get(chat.id)))
        for message in backlog:
            yield _frame("message", serializers.page_message_json(message))


def _status(signal: Signal) -> str:
    """Return what the bot is working on, which a process of an older version does not say."""
    return str(signal.data.get("text", ""))


def _frame(event: str, value: Any) -> bytes:
    return frame(orjson.dumps(value), event)
