"""When to show a streamed text while it grows, so that updates cost no more than the text itself."""

from __future__ import annotations

import time

from cometbot.splitting import split_text, utf8_size

PIECE = 400
"""Characters of the longest piece."""

_GROWTH = 2
_SHARE = 3


class Edits:
    """Decides which texts a message shows while it is streamed on a platform that edits messages.

    Each edit sends the message again, so each text is about twice as long as the one before. All of them together
    have at most as many bytes as the text has so far; with the whole text at the end, the stream sends at most twice
    the text. The text is therefore shown without its newest part until it is whole.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._due = 0.0
        self._measured = 0
        self._size = 0
        self._shown = 0
        self._spent = 0

    def next(self, text: str) -> str:
        """Return the beginning of ``text`` that is to be shown now, empty if nothing is.

        ``text`` is the one of the call before and what came since.
        """
        now = time.monotonic()
        if now < self._due:
            return ""
        self._size += utf8_size(text[self._measured :])
        self._measured = len(text)
        room = self._size - self._spent
        if room < max(self._shown * _GROWTH, 1):
            return ""
        [shown, *_] = split_text(text, room) or [""]
        if (size := utf8_size(shown)) <= self._shown:
            return ""
        self._shown, self._due = size, now + self._interval
        self._spent += size
        return shown


class Pieces:
    """Divides a streamed text into pieces for a platform that shows a text piece by piece.

    Each piece has a frame of its own around it, so pieces become longer with the text, up to :data:`PIECE`.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._due = 0.0
        self._shown = 0
        self._waiting = ""

    def add(self, part: str) -> list[str]:
        """Return the pieces that are to be shown now that ``part`` has come."""
        self._waiting += part
        is_blank = not self._shown and not self._waiting.strip()
        if not self._waiting or is_blank or len(self._waiting) < min(self._shown // _SHARE, PIECE):
            return []
        now = time.monotonic()
        if now < self._due:
            return []
        self._due = now + self._interval
        return self.rest()

    def rest(self) -> list[str]:
        """Return the pieces of what has not been shown yet."""
        text, self._waiting = self._waiting, ""
        self._shown += len(text)
        return [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
