"""Shows that a bot is at work, for as long as it is."""

from __future__ import annotations

import os
import threading
from collections import Counter

from cometbot.channels.platform.platform import TYPING
from cometbot.chat import Feed, Topic

REPEAT_INTERVAL = 8.0
"""Seconds after which it is said again; pages stop believing it after 15."""


class TypingIndicator:
    """Tells listeners when work on a chat begins and ends, and says it again while it lasts.

    One thread a process does the latter; it starts with the first work, and anew after a fork.
    """

    def __init__(self, feed: Feed, interval: float = REPEAT_INTERVAL) -> None:
        self._feed = feed
        self._interval = interval
        self._lock = threading.Lock()
        self._active: Counter[Topic] = Counter()
        self._closing = threading.Event()
        self._pid = 0

    def update(self, topic: Topic, is_typing: bool) -> None:
        """Note that work on ``topic`` has begun or ended; works may overlap."""
        with self._lock:
            if self._pid != os.getpid():
                self._start()
            self._active[topic] += 1 if is_typing else -1
            has_stopped = self._active[topic] <= 0
            if has_stopped:
                del self._active[topic]
        if is_typing or has_stopped:
            self._feed.publish_ephemeral(topic, TYPING, {"on": is_typing})

    def close(self) -> None:
        """Say nothing more."""
        self._closing.set()

    def _start(self) -> None:
        self._pid = os.getpid()
        self._active = Counter()
        self._closing = threading.Event()
        threading.Thread(target=self._run, args=(self._closing,), name="platform-typing", daemon=True).start()

    def _run(self, closing: threading.Event) -> None:
        while not closing.wait(self._interval):
            with self._lock:
                topics = list(self._active)
            for topic in topics:
                self._feed.publish_ephemeral(topic, TYPING, {"on": True})
