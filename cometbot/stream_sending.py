"""Send streams: messages whose parts arrive slowly, by edits, by deltas, or at once when they are complete."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Protocol

from cometbot.errors import DeliveryError
from cometbot.messages import Operation, Text
from cometbot.sent import Sent, break_off, prepare_mark
from cometbot.sinks import ReplySink
from cometbot.splitting import close_code, ends_in_fence, split_text, utf8_size
from cometbot.stream_sources import iterate_texts
from cometbot.streaming import DeltaBuffer, PreviewThrottle, rejoin_surrogates, take_until

BeforeLast = Callable[[str], None]
"""Gets the whole text of a stream before the last operation, which stores it."""

_MARK_GROWTH = 1.5
"""The factor by which a shown text grows before its mark is stored again."""

_FENCE_SIZE = 68
"""The bytes for the end of a code block before a mark."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StreamSender:
    """Sends one stream of a context, in answer to the message or event ``answered``.

    ``outgoing`` returns an operation as outgoing middleware lets it pass, ``post`` posts one that it has seen.
    ``broken_off_text`` follows what has come of a stream that raises.
    """

    sink: ReplySink
    answered: str
    make_operation: Callable[[str], Operation]
    outgoing: Callable[[Operation], Operation]
    post: Callable[[Operation], Sent]
    make_sent: Callable[[int, Operation], Sent]
    broken_off_text: str

    def restore(self, ordinal: int, text: str) -> Sent | None:
        """Return the message that an earlier run has streamed."""
        return self.make_sent(ordinal, self.make_operation(text)) if text else None

    def send(
        self, source: Any, before_last: BeforeLast, *, text: Callable[[Any], str | None] | None = None
    ) -> Sent | None:
        """Send the message made of the pieces of ``source``.

        Return None if it is blank or outgoing middleware dropped it.
        """
        if self.sink.is_cancelled:
            self._keep_place()
            return None
        shown = self._choose_display()
        with closing(iterate_texts(source, text)) as texts:
            whole = self._collect(rejoin_surrogates(take_until(texts, self._is_stopped)), shown)
        return shown.finish(whole, before_last) if whole.strip() else None

    def _choose_display(self) -> _Display:
        capabilities = self.sink.capabilities
        interval = capabilities.stream_interval
        if capabilities.deltas:
            return _Deltas(self, interval or 0.0)
        if interval is not None and capabilities.edit:
            return _Edits(self, interval)
        return _Whole(self)

    def _keep_place(self) -> None:
        """Send nothing in a run that is stopped already. A message that an earlier run has begun keeps its place."""
        if self.sink.has_said_next:
            self.post(self.make_operation("…"))

    def _is_stopped(self) -> bool:
        """Return True if the user has stopped the stream, which keeps what has come; its source is then closed."""
        self.sink.check_open()
        return self.sink.is_cancelled

    def _collect(self, parts: Iterable[str], shown: _Display) -> str:
        """Return the whole text, which is shown while it grows."""
        text, is_blank = "", True
        try:
            for part in parts:
                text += part
                is_blank = is_blank and not part.strip()
                if part and not is_blank:
                    shown.grow(text)
        except DeliveryError:
            raise  # another worker continues, or the same one a little later
        except BaseException:
            shown.break_off(text)
            raise
        return text

    def mark(self, text: str) -> str:
        """Return what is left of a stream that is broken off after ``text``: one message, with the mark at its end."""
        if not (mark := self.broken_off_text):
            return (split_text(text, self.sink.capabilities.text_limit) or [""])[0].rstrip()
        room = self.sink.capabilities.text_limit - utf8_size(mark) - _FENCE_SIZE
        [half, *_] = split_text(text, max(room, 1)) or [""]
        half = close_code(half.rstrip())
        return f"{half}\n\n{mark}" if ends_in_fence(half) else f"{half} {mark}"


class _Display(Protocol):
    """A way to send a growing text."""

    def grow(self, text: str) -> None:
        """Show what has come so far, if it is time for that."""

    def finish(self, text: str, before_last: BeforeLast) -> Sent | None:
        """Send the complete text, which is not blank. Return None if outgoing middleware dropped it."""

    def break_off(self, text: str) -> None:
        """Mark as broken off what has come, if anything has."""


class _Edits:
    """A message that is sent with the first words and then edited."""

    def __init__(self, sender: StreamSender, interval: float) -> None:
        self._sender = sender
        self._throttle = PreviewThrottle(interval)
        self._sent: Sent | None = None

    def grow(self, text: str) -> None:
        shown = self._throttle.next_text(text)
        if not shown:
            return
        mark = self._sender.mark(shown)
        if self._sent is None:
            first = replace(self._sender.make_operation(shown), is_growing=True, mark=Text(mark))
            self._sent = self._sender.post(self._sender.outgoing(first))
        else:
            prepare_mark(self._sent, mark)
            self._sent.preview(shown)

    def finish(self, text: str, before_last: BeforeLast) -> Sent | None:
        if self._sent is not None:
            before_last(text)
            self._sent.edit(text)
        return self._sent

    def break_off(self, text: str) -> None:
        if self._sent is not None:
            break_off(self._sent, self._sender.mark(text))


class _Deltas:
    """A message that is shown piece by piece, and sent when it is complete."""

    def __init__(self, sender: StreamSender, interval: float) -> None:
        self._sender = sender
        self._buffer = DeltaBuffer(interval)
        self._buffered_length = 0
        self._sequence = 0
        self._key: int | None = None
        self._stream_id = ""
        self._marked_length = 0

    def grow(self, text: str) -> None:
        part, self._buffered_length = text[self._buffered_length :], len(text)
        pieces = self._buffer.add(part)
        if pieces:
            self._begin()
            self._prepare_mark(text)
            self._show(pieces)

    def _begin(self) -> None:
        """Name the stream. The name is the same in every run, so clients know a stream that an earlier run began."""
        if not self._stream_id:
            self._key = self._sender.sink.stream_key()
            self._stream_id = f"{self._sender.answered}-{self._key or 0}"

    def _prepare_mark(self, text: str) -> None:
        if self._key is not None and len(text) >= self._marked_length * _MARK_GROWTH:
            self._marked_length = len(text)
            mark = self._sender.mark(text)
            ending = mark.removeprefix(text.rstrip())
            self._sender.sink.prepare_mark(self._key, replace(self._make_operation(mark), ending=ending))

    def _make_operation(self, text: str) -> Operation:
        return replace(self._sender.make_operation(text), stream_id=self._stream_id)

    def _show(self, pieces: Iterable[str]) -> None:
        for piece in pieces:
            self._sender.sink.stream_delta(self._stream_id, self._sequence, piece)
            self._sequence += 1

    def finish(self, text: str, before_last: BeforeLast) -> Sent | None:
        self._begin()
        self._show(self._buffer.flush())
        before_last(text)
        return _post_whole(self._sender, self._sender.outgoing(self._make_operation(text)))

    def break_off(self, text: str) -> None:
        if self._sequence:
            self._sender.sink.stream_delta(self._stream_id, self._sequence, None)
        if text.strip():
            _break_off_whole(self._sender, self._sender.make_operation(self._sender.mark(text)))


class _Whole:
    """A message that is sent when it is complete, and not shown before."""

    def __init__(self, sender: StreamSender) -> None:
        self._sender = sender

    def grow(self, text: str) -> None:
        """Show nothing."""

    def finish(self, text: str, before_last: BeforeLast) -> Sent | None:
        operation = self._sender.outgoing(self._sender.make_operation(text))
        if operation.message is not None:
            before_last(operation.message.to_text())
        sent = _post_whole(self._sender, operation)
        return None if operation.is_dropped else sent

    def break_off(self, text: str) -> None:
        if not text.strip():
            return
        try:
            operation = self._sender.outgoing(self._sender.make_operation(self._sender.mark(text)))
        except Exception:
            _log.exception("held back a stream that was broken off: outgoing middleware raised an error")
            return
        if not operation.is_dropped:
            _break_off_whole(self._sender, operation)


def _post_whole(sender: StreamSender, operation: Operation) -> Sent:
    """Post a whole text, by an edit if an earlier run has sent a part of it, marked as broken off."""
    key = sender.sink.stream_key()
    marked = sender.sink.sent_mark(key) if key is not None else None
    if marked is None or not sender.sink.capabilities.edit or operation.is_dropped:
        return sender.post(operation)
    sender.post(replace(operation, kind="edit", target=marked, stream_id=""))
    return sender.make_sent(marked, operation)


def _break_off_whole(sender: StreamSender, operation: Operation) -> None:
    """Send ``operation`` later as the mark, and use the ordinal that the whole text has in another run."""
    if (key := sender.sink.stream_key()) is not None:
        sender.sink.break_off(key, operation)
        sender.post(replace(operation, message=None))
