"""Send streams: messages whose parts arrive slowly, by edits, by deltas, or at once when they are complete."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from cometbot.messages import Operation
from cometbot.sent import Sent
from cometbot.sinks import ReplySink
from cometbot.streaming import DeltaBuffer, PreviewThrottle, rejoin_surrogates, take_until

BeforeLast = Callable[[str], None]
"""Gets the whole text of a stream before the last operation, which stores it."""


@dataclass(frozen=True, slots=True)
class StreamSender:
    """Sends one stream of a context.

    ``outgoing`` returns an operation as outgoing middleware lets it pass, ``post`` posts one that it has seen.
    """

    sink: ReplySink
    stream_id: str
    make_operation: Callable[[str], Operation]
    outgoing: Callable[[Operation], Operation]
    post: Callable[[Operation], Sent]
    make_sent: Callable[[int, Operation], Sent]

    def restore(self, ordinal: int, text: str) -> Sent | None:
        """Return the message that an earlier run has streamed."""
        return self.make_sent(ordinal, self.make_operation(text)) if text else None

    def send(self, parts: Iterable[str] | Callable[[], Iterable[str]], before_last: BeforeLast) -> Sent | None:
        """Send the message made of ``parts``. Return None if it is blank or outgoing middleware dropped it."""
        if self.sink.is_cancelled:
            self._leave()
            return None
        capabilities, whole = self.sink.capabilities, rejoin_surrogates(parts() if callable(parts) else parts)
        whole = take_until(whole, lambda: self.sink.is_cancelled)
        interval = capabilities.stream_interval
        if capabilities.deltas:
            return self._send_deltas(whole, interval or 0.0, before_last)
        if interval is not None and capabilities.edit:
            return self._send_edits(whole, interval, before_last)
        text = "".join(whole)
        return self._send_whole(text, before_last) if text.strip() else None

    def _leave(self) -> None:
        """Send nothing in a run that is stopped already. A message that an earlier run has begun keeps its place."""
        if self.sink.has_said_next:
            self.post(self.make_operation("…"))

    def _send_whole(self, text: str, before_last: BeforeLast) -> Sent | None:
        """Send a complete text. Return None if outgoing middleware dropped it."""
        operation = self.outgoing(self.make_operation(text))
        if operation.message is not None:
            before_last(operation.message.to_text())
        sent = self.post(operation)
        return None if operation.is_dropped else sent

    def _send_edits(self, parts: Iterable[str], interval: float, before_last: BeforeLast) -> Sent | None:
        text, is_blank, sent, edits = "", True, None, PreviewThrottle(interval)
        for part in parts:
            text += part
            is_blank = is_blank and not part.strip()
            shown = "" if is_blank else edits.next_text(text)
            if shown and sent is None:
                sent = self.post(self.outgoing(replace(self.make_operation(shown), is_growing=True)))
            elif shown and sent is not None:
                sent.preview(shown)
        if sent is not None:
            before_last(text)
            sent.edit(text)
        return sent

    def _send_deltas(self, parts: Iterable[str], interval: float, before_last: BeforeLast) -> Sent | None:
        text, sequence, pieces = "", 0, DeltaBuffer(interval)
        try:
            for part in parts:
                text += part
                sequence = self._show(sequence, pieces.add(part))
        except BaseException:
            if sequence:
                self.sink.stream_delta(self.stream_id, sequence, None)
            raise
        if not text.strip():
            return None
        self._show(sequence, pieces.flush())
        before_last(text)
        return self.post(self.outgoing(replace(self.make_operation(text), stream_id=self.stream_id)))

    def _show(self, sequence: int, pieces: Iterable[str]) -> int:
        """Show ``pieces``, the first one as number ``sequence``. Return the number of the next one."""
        for piece in pieces:
            self.sink.stream_delta(self.stream_id, sequence, piece)
            sequence += 1
        return sequence
