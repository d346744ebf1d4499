"""Decide when to show a growing streamed text, so that updates cost no more than the text itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from cometbot.messages import check_length
from cometbot.splitting import split_text, utf8_size
from cometbot.text import replace_surrogates

MAX_DELTA_LENGTH = 400
"""The characters of the longest delta."""

_GROWTH_FACTOR = 2
_MIN_DELTA_DIVISOR = 3


class PreviewThrottle:
    """Decides which previews of a streamed message are shown on a platform that edits messages.

    Each edit sends the message again, so each text is about twice as long as the one before. All previews together have
    at most as many bytes as the text so far. With the whole text at the end, the stream sends at most twice the text.
    Until the text is complete, its newest part is therefore not shown.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._due_at = 0.0
        self._measured_length = 0
        self._text_bytes = 0
        self._shown_bytes = 0
        self._sent_bytes = 0

    def next_text(self, text: str) -> str:
        """Return the beginning of ``text`` to show now, or an empty str.

        ``text`` is the text of the previous call with the new parts appended.
        """
        now = time.monotonic()
        if now < self._due_at:
            return ""
        self._text_bytes += utf8_size(text[self._measured_length :])
        self._measured_length = len(text)
        budget = self._text_bytes - self._sent_bytes
        if budget < max(self._shown_bytes * _GROWTH_FACTOR, 1):
            return ""
        [shown, *_] = split_text(text, budget) or [""]
        if (size := utf8_size(shown)) <= self._shown_bytes:
            return ""
        self._shown_bytes, self._due_at = size, now + self._interval
        self._sent_bytes += size
        return shown


class DeltaBuffer:
    """Divides a streamed text into deltas for a platform that shows a text piece by piece.

    Each delta costs a frame of its own, so deltas become longer with the text, up to :data:`MAX_DELTA_LENGTH`.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._due_at = 0.0
        self._flushed_length = 0
        self._buffer = ""

    def add(self, part: str) -> list[str]:
        """Add ``part`` and return the deltas to show now."""
        self._buffer += part
        is_blank = not self._flushed_length and not self._buffer.strip()
        if (
            not self._buffer
            or is_blank
            or len(self._buffer) < min(self._flushed_length // _MIN_DELTA_DIVISOR, MAX_DELTA_LENGTH)
        ):
            return []
        now = time.monotonic()
        if now < self._due_at:
            return []
        self._due_at = now + self._interval
        return self.flush()

    def flush(self) -> list[str]:
        """Return the deltas of the text that was not shown yet."""
        text, self._buffer = self._buffer, ""
        self._flushed_length += len(text)
        return [text[start : start + MAX_DELTA_LENGTH] for start in range(0, len(text), MAX_DELTA_LENGTH)]


def rejoin_surrogates(parts: Iterable[str]) -> Iterator[str]:
    """Yield ``parts`` with U+FFFD for lone surrogates. A character cut between two parts is yielded whole.

    Raises :class:`MessageError` once they have too many characters together.
    """
    half, length = "", 0
    for part in parts:
        length += len(part)
        check_length(length)
        text = half + part
        half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        yield replace_surrogates(text.removesuffix(half) if half else text)
    if half:
        yield replace_surrogates(half)


def take_until(parts: Iterable[str], is_stopped: Callable[[], bool]) -> Iterator[str]:
    """Yield ``parts`` until ``is_stopped()`` is true; the part that arrives then is dropped."""
    for part in parts:
        if is_stopped():
            return
        yield part
