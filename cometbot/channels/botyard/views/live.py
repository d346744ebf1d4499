"""What happens in a user's chats, told to the web chat the moment it happens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import flask
import orjson

from cometbot.channels.botyard import shapes
from cometbot.channels.botyard.platform import CHAT_MADE, EVERYWHERE, PIECE, TYPING, Platform
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

MOST_STREAMS = 12
"""Pages that one user may have open, in a process."""

_MOST_CHATS = 500
_MOST_PIECES = 32
_MOST_SAID = 50


def live_stream(platform: Platform, user: ChatUser) -> flask.Response:
    """Return an endless response with what happens in the chats of ``user`` from now on."""
    frames = _Frames(platform, user)
    return stream(frames.listen, frames.of, limits={f"botyard:{user.id}": MOST_STREAMS}, first=frame(b"{}", "hello"))


@dataclass
class _Stream:
    """A message that is being written: the parts of its current piece, and the piece and part that are due."""

    text: str = ""
    next: tuple[int, int] = (0, 0)


@dataclass
class _Pieces:
    """The messages that are being written."""

    streams: dict[str, _Stream] = field(default_factory=dict)

    def add(self, data: Any) -> str | None:
        """Return the piece of ``data`` once it is whole; None until then, and if an earlier piece is missing."""
        name, place = data["stream"], (data["sequence"], data["part"])
        found = self.streams.get(name)
        if found is None and place == (0, 0):
            found = self.streams[name] = _Stream()
            while len(self.streams) > _MOST_PIECES:
                del self.streams[next(iter(self.streams))]
        if found is None or found.next != place:
            self.streams.pop(name, None)
            return None
        found.text += data["text"]
        found.next = (place[0] + 1, 0) if data["last"] else (place[0], place[1] + 1)
        if not data["last"]:
            return None
        text, found.text = found.text, ""
        return text


class _Frames:
    """Turns what the feed tells into the frames of one page's stream."""

    def __init__(self, platform: Platform, user: ChatUser) -> None:
        self._platform = platform
        self._user = user
        self._pieces = _Pieces()
        self._listener: Listener | None = None

    def listen(self) -> Listener:
        """What hears all that happens in the user's chats."""
        server = self._platform.chat
        listener = self._listener = server.feed.listen(Topic.of_user(EVERYWHERE, self._user.id))
        try:
            with self._platform.database.read() as connection:
                owned = server.conversations.list_owned(connection, EVERYWHERE, self._user.id, limit=_MOST_CHATS)
            for chat in owned.items:
                listener.follow(chat.topic)
        except BaseException:
            listener.close()
            raise
        return listener

    def of(self, signal: Signal) -> Iterator[bytes]:
        """The frames that say ``signal``."""
        if signal.message is not None and signal.kind in (MESSAGE_CREATED, MESSAGE_UPDATED):
            yield _frame("message", shapes.page_message_json(signal.message))
        elif signal.kind == MESSAGE_DELETED:
            yield _frame("removed", {"chatId": signal.topic.id, "id": signal.data["id"]})
        elif signal.kind == TYPING:
            yield _frame("typing", {"chatId": signal.topic.id, "on": bool(signal.data["on"])})
        elif signal.kind == PIECE:
            yield from self._piece(signal)
        elif signal.kind == CHAT_MADE:
            yield from self._chat(str(signal.data["id"]), is_new=True)
        elif signal.kind == CONVERSATION_UPDATED:
            yield from self._chat(signal.topic.id)
        elif signal.kind == CONVERSATION_DELETED:
            if self._listener is not None:
                self._listener.unfollow(signal.topic)
            yield _frame("chat-removed", {"id": signal.topic.id})

    def _piece(self, signal: Signal) -> Iterator[bytes]:
        told = {"chatId": signal.topic.id, "id": signal.data["stream"]}
        if signal.data["text"] is None:
            yield _frame("delta", {**told, "text": None})
            return
        text = self._pieces.add(signal.data)
        if text is not None:
            yield _frame("delta", {**told, "sequence": signal.data["sequence"], "text": text})

    def _chat(self, chat_id: str, *, is_new: bool = False) -> Iterator[bytes]:
        """The chat as it is now; of a new one also what was said before anybody listened there."""
        server = self._platform.chat
        with self._platform.database.read() as connection:
            chat = server.conversations.get(connection, EVERYWHERE, chat_id)
        if chat is None or chat.owner != self._user.id or self._listener is None:
            return
        self._listener.follow(chat.topic)
        with self._platform.database.read() as connection:
            last = server.messages.last(connection, [chat])
            said = server.messages.after(connection, chat.scope, chat.id, 0, _MOST_SAID).items if is_new else ()
        yield _frame("chat", shapes.page_chat_json(chat, last.get(chat.id)))
        for message in said:
            yield _frame("message", shapes.page_message_json(message))


def _frame(event: str, value: Any) -> bytes:
    return frame(orjson.dumps(value), event)
