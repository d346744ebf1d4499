"""A queue of callbacks for one bot or webhook, posted one after the other by the queue's own thread."""

from __future__ import annotations

import heapq
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import orjson

from cometbot.simulator.client import CallbackResponse, Session, basic_auth, make_session, send
from cometbot.simulator.world import World

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Callback:
    """One callback to one receiver. ``attempt`` counts from 1; ``copy`` is over 0 for a deliberate duplicate."""

    target: str
    url: str
    trigger: str
    message_id: str
    body: Mapping[str, Any] = field(repr=False)
    credentials: tuple[str, str] | None = field(default=None, repr=False)
    attempt: int = 1
    copy: int = 0

    def headers(self) -> dict[str, str]:
        """Return the HTTP headers that the callback is posted with."""
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": "CometChat-simulator",
        }
        if self.credentials:
            headers["Authorization"] = basic_auth(*self.credentials)
        return headers


@dataclass(frozen=True, slots=True)
class Shuffle:
    """How callbacks are reordered: up to ``window`` are held back, at most ``max_wait`` seconds, and shuffled."""

    window: int
    max_wait: float
    random: random.Random


class CallbackQueue:
    """A queue of callbacks that are posted in the order in which they were added, unless they are shuffled.

    A callback that failed is posted again later, after the callbacks that were added meanwhile, if the behaviour of
    ``world`` says so. ``get_shuffle`` is called before each callback, and ``record`` after it. ``stop`` keeps the
    queued callbacks for the next ``start``.
    """

    def __init__(
        self,
        name: str,
        world: World,
        get_shuffle: Callable[[], Shuffle | None],
        record: Callable[[Callback, CallbackResponse], None],
    ) -> None:
        self._name = name
        self._world = world
        self._get_shuffle = get_shuffle
        self._record = record
        self._pending: list[tuple[float, int, Callback]] = []
        self._serial = count()
        self._condition = threading.Condition()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._posting = 0

    def enqueue(self, callback: Callback, *, delay: float = 0.0) -> None:
        """Add a callback, due in ``delay`` seconds."""
        due = time.monotonic() + delay if delay else 0.0
        with self._condition:
            heapq.heappush(self._pending, (due, next(self._serial), callback))
            self._condition.notify_all()

    def start(self) -> None:
        """Start to post the callbacks in a background thread. Does nothing if the queue is empty or runs already."""
        with self._condition:
            if self._thread is None and self._pending:
                self._stop = threading.Event()
                name = f"simulator-{self._name}"
                self._thread = threading.Thread(target=self._run, args=(self._stop,), name=name, daemon=True)
                self._thread.start()

    def stop(self, timeout: float) -> None:
        """Stop before the next callback. Waits up to ``timeout`` seconds for the one that is being posted."""
        with self._condition:
            thread, self._thread = self._thread, None
            self._stop.set()
            self._condition.notify_all()
        if thread is not None:
            thread.join(timeout)

    def clear(self) -> None:
        """Discard all queued callbacks."""
        with self._condition:
            self._pending.clear()
            self._condition.notify_all()

    def pop_due(self) -> Callback | None:
        """Remove and return the next callback that is due, or None. For callers that post callbacks themselves."""
        with self._condition:
            is_due = bool(self._pending) and self._pending[0][0] <= time.monotonic()
            return heapq.heappop(self._pending)[2] if is_due else None

    @property
    def is_idle(self) -> bool:
        """True if nothing is queued and nothing is being posted."""
        with self._condition:
            return not self._pending and not self._posting

    def _run(self, stop: threading.Event) -> None:
        with make_session() as session:
            while batch := self._wait_for_batch(stop):
                self._post_all(session, batch)

    def _post_all(self, session: Session, batch: list[Callback]) -> None:
        try:
            for callback in batch:
                self._post(session, callback)
        except Exception:
            log.exception("cannot post the callbacks of a queue", extra={"queue": self._name})
        finally:
            with self._condition:
                self._posting -= 1

    def _wait_for_batch(self, stop: threading.Event) -> list[Callback]:
        """Wait for the next callbacks and return them in the order to post them. Return an empty list on stop."""
        with self._condition:
            while not stop.is_set():
                pause = self._pending[0][0] - time.monotonic() if self._pending else None
                if pause is not None and pause <= 0 and (batch := self._pop_batch(stop)):
                    self._posting += 1
                    return batch
                self._condition.wait(pause)
            return []

    def _pop_batch(self, stop: threading.Event) -> list[Callback]:
        shuffle = self._get_shuffle()
        if shuffle is None:
            return [heapq.heappop(self._pending)[2]]
        self._condition.wait_for(lambda: stop.is_set() or len(self._pending) >= shuffle.window, shuffle.max_wait)
        batch: list[Callback] = []
        while (
            not stop.is_set()
            and self._pending
            and len(batch) < shuffle.window
            and self._pending[0][0] <= time.monotonic()
        ):
            batch.append(heapq.heappop(self._pending)[2])
        shuffled = shuffle.random.sample(batch, len(batch))
        return shuffled if shuffled != batch else batch[::-1]

    def _post(self, session: Session, callback: Callback) -> None:
        behaviour, body = self._world.behaviour, orjson.dumps(callback.body)
        answer = send(session, "POST", callback.url, body, callback.headers(), behaviour.callback_timeout)
        delays = self._world.behaviour.redeliver
        if not 200 <= answer.status < 300 and callback.attempt <= len(delays):
            self.enqueue(replace(callback, attempt=callback.attempt + 1), delay=delays[callback.attempt - 1])
        self._record(callback, answer)
