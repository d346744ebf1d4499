"""One order: what the user writes, what the bot says, and the moment at which the bot's process is killed."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.survival.local_server import JsonHandler, LocalServer

TALK = (("/order", "Which size?"), ("M", "How many?"), ("3", "order o1. Thank you."))
LATENCY = 0.2
"""Seconds that a request to the platform or to the shop takes."""

QUIET = 20.0
"""Seconds after which nothing more is expected of a bot that is ready; a lease of cometbot lasts 15."""


@dataclass(frozen=True)
class Moment:
    """When to kill: before or after a request has arrived, or (idle) while the bot waits for an answer."""

    request: str
    when: str

    def __str__(self) -> str:
        return {
            "idle": f"while it waits after “{self.request}”",
            "before": f"before {self._thing} arrives",
            "after": f"when {self._thing} has arrived, before the bot knows",
        }[self.when]

    @property
    def _thing(self) -> str:
        return "the order" if self.request == "order" else f"“{self.request}”"


ORDER = "order"
MOMENTS = (
    *(Moment(said, when) for _, said in TALK[:2] for when in ("before", "after", "idle")),
    *(Moment(request, when) for request in (ORDER, TALK[2][1]) for when in ("before", "after")),
)


@dataclass
class Result:
    """What became of the order."""

    written: int = 0
    said: list[str] = field(default_factory=list)
    order_keys: list[str] = field(default_factory=list)

    @property
    def went_on(self) -> bool:
        """True if the user got the last reply."""
        return any(TALK[2][1] in text for text in self.said)

    @property
    def lost(self) -> int:
        """The messages of the user that got no reply."""
        return sum(not any(expected in text for text in self.said) for _, expected in TALK[: self.written])

    @property
    def doubled(self) -> int:
        """The replies beyond one for each message."""
        return len(self.said) - self.written + self.lost


class Dropped(Exception):
    """The process that sent the request is dead."""


class Trial:
    """Kills a process at a moment. ``kill`` kills it and starts it again."""

    def __init__(self, moment: Moment | None) -> None:
        self.result = Result()
        self.kill: Callable[[], None] = lambda: None
        self._moment = moment
        self._changed = threading.Condition()
        self._busy_until = time.monotonic()
        self._is_up = threading.Event()
        self._is_up.set()

    def say(self, text: str, deliver: Callable[[], None] = lambda: None) -> None:
        """Take what the bot says, and ``deliver`` it. Raises Dropped if it is dead by then."""

        def record() -> None:
            deliver()
            self.result.said.append(text)

        self._pass(next((expected for _, expected in TALK if expected in text), text), record)

    def order(self, key: str) -> None:
        """Take an order. Raises Dropped if the bot is dead by then."""
        self._pass(ORDER, lambda: self.result.order_keys.append(key))

    def _pass(self, request: str, record: Callable[[], None]) -> None:
        time.sleep(LATENCY)
        self._reach(Moment(request, "before"))
        with self._changed:
            record()
            self._busy_until = time.monotonic() + QUIET
            self._changed.notify_all()
        self._reach(Moment(request, "after"))

    def _reach(self, moment: Moment) -> None:
        if moment == self._moment:
            self._moment = None
            self._restart()
            raise Dropped

    def _restart(self) -> None:
        self._is_up.clear()
        self._busy_until = time.monotonic() + 600
        self.kill()
        self._busy_until = time.monotonic() + QUIET
        self._is_up.set()

    def run(self, write: Callable[[str], None]) -> Result:
        """Order as a user who answers what the bot asks."""
        for text, expected in TALK:
            self._busy_until = time.monotonic() + QUIET
            write(text)
            self.result.written += 1
            if not self._wait_for(expected):
                break
            time.sleep(2 * LATENCY)
            self._is_up.wait()
            if self._moment == Moment(expected, "idle"):
                self._moment = None
                self._restart()
        while time.monotonic() < self._busy_until:
            time.sleep(0.05)
        return self.result

    def _wait_for(self, expected: str) -> bool:
        with self._changed:
            while not any(expected in text for text in self.result.said):
                if time.monotonic() > self._busy_until:
                    return False
                self._changed.wait(0.05)
        return True


class Shop(LocalServer):
    """Takes the orders of a trial."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        super().__init__(_ShopHandler)

    @property
    def url(self) -> str:
        """The address that takes orders."""
        return f"{super().url}/orders"


class _ShopHandler(JsonHandler):
    server: Shop

    def do_POST(self) -> None:
        body: dict[str, Any] = json.loads(self.read_body())
        try:
            self.server.trial.order(body["key"])
        except Dropped:
            self.close_connection = True
            return
        self.answer({"id": "o1"})


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
