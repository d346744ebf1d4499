"""Shows that a bot is working on a reply."""

from __future__ import annotations

import threading
from collections import Counter

from cometbot.channels.platform.platform import TYPING
from cometbot.chat import Feed, Topic
from cometbot.forking import PerProcess

REPEAT_INTERVAL = 8.0
"""Seconds after which the signal is repeated; pages hide the indicator 15 s after the last one."""


class TypingIndicator:
    """Publishes a signal when work on a chat begins and ends, and repeats it during the work.

    One thread per process repeats the signals. It starts with the first work, and again after a fork.
    """

    def __init__(self, feed: Feed, interval: float = REPEAT_INTERVAL) -> None:
        self._feed = feed
        self._interval = interval
        self._lock = threading.Lock()
        self._active: Counter[Topic] = Counter()
        self._statuses: dict[Topic, str] = {}
        self._closing = threading.Event()
        self._thread = PerProcess(self._start)

    def update(self, topic: Topic, is_typing: bool) -> None:
        """Record that work on ``topic`` has begun or ended. Several may overlap."""
        with self._lock:
            self._thread.get()
            self._active[topic] += 1 if is_typing else -1
            has_stopped = self._active[topic] <= 0
            if has_stopped:
                del self._active[topic]
                self._statuses.pop(topic, None)
        if is_typing or has_stopped:
            self._publish(topic, is_on=is_typing)

    def set_status(self, topic: Topic, text: str) -> None:
        """Show what the work on ``topic`` is, until that ends or this is called again; an empty text ends it, too."""
        if not text and not self._statuses.get(topic):
            return
        with self._lock:
            if topic not in self._active:
                return
            self._statuses[topic] = text
        self._publish(topic, is_on=True)

    def _publish(self, topic: Topic, *, is_on: bool) -> None:
        self._feed.publish_ephemeral(topic, TYPING, {"on": is_on, "text": self._statuses.get(topic, "")})

    def close(self) -> None:
        """Stop repeating signals."""
        self._closing.set()

    def _start(self) -> threading.Thread:
        self._active, self._statuses = Counter(), {}
        self._closing = threading.Event()
        thread = threading.Thread(target=self._run, args=(self._closing,), name="cometbot-typing", daemon=True)
        thread.start()
        return thread

    def _run(self, closing: threading.Event) -> None:
        while not closing.wait(self._interval):
            with self._lock:
                topics = list(self._active)
            for topic in topics:
                self._publish(topic, is_on=True)
