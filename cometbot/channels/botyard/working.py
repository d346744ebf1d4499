"""Shows that a bot is at work, for as long as it is."""

from __future__ import annotations

import os
import threading
from collections import Counter

from cometbot.channels.botyard.platform import TYPING
from cometbot.chat import Feed, Topic

REPEAT = 8.0
"""Seconds after which it is said again; pages stop believing it after 15."""


class Typing:
    """Tells listeners when work on a chat begins and ends, and says it again while it lasts.

    One thread a process does the latter; it starts with the first work, and anew after a fork.
    """

    def __init__(self, feed: Feed, repeat: float = REPEAT) -> None:
        self._feed = feed
        self._repeat = repeat
        self._guard = threading.Lock()
        self._busy: Counter[Topic] = Counter()
        self._closing = threading.Event()
        self._pid = 0

    def set(self, topic: Topic, on: bool) -> None:
        """Note that work on ``topic`` has begun or ended; works may overlap."""
        with self._guard:
            if self._pid != os.getpid():
                self._start()
            self._busy[topic] += 1 if on else -1
            is_over = self._busy[topic] <= 0
            if is_over:
                del self._busy[topic]
        if on or is_over:
            self._feed.tell(topic, TYPING, {"on": on})

    def close(self) -> None:
        """Say nothing more."""
        self._closing.set()

    def _start(self) -> None:
        self._pid = os.getpid()
        self._busy = Counter()
        self._closing = threading.Event()
        threading.Thread(target=self._run, args=(self._closing,), name="botyard-typing", daemon=True).start()

    def _run(self, closing: threading.Event) -> None:
        while not closing.wait(self._repeat):
            with self._guard:
                topics = list(self._busy)
            for topic in topics:
                self._feed.tell(topic, TYPING, {"on": True})
