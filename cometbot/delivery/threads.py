"""The engine for one machine: a pool of threads in every process that handles messages."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

from cometbot.delivery.engine import Check, Engine

log = logging.getLogger(__name__)


class ThreadEngine(Engine):
    """``size`` threads that take lanes from one queue. A lane that waits in the queue is not put there twice."""

    def __init__(self, size: int = 8) -> None:
        self._size = size
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._queued: set[str] = set()
        self._guard = threading.Lock()
        self._threads: dict[int, threading.Thread] = {}
        self._stuck: dict[int, threading.Thread] = {}
        self._stopping = False
        self._work: Callable[[str], None] = lambda lane: None

    def start(self, work: Callable[[str], None]) -> None:
        self._work = work
        for _ in range(self._size):
            self._add_thread()

    def _add_thread(self) -> None:
        thread = threading.Thread(target=self._run, name="cometbot-lane", daemon=True)
        thread.start()
        assert thread.ident is not None
        self._threads[thread.ident] = thread

    def wake(self, lane: str, *, to_send: bool = False) -> None:
        with self._guard:
            if lane in self._queued:
                return
            self._queued.add(lane)
        self._queue.put(lane)

    @property
    def waiting(self) -> int:
        """How many lanes wait for a thread."""
        return self._queue.qsize()

    def _run(self) -> None:
        while True:
            lane = self._queue.get()
            if lane is None:
                return
            with self._guard:
                self._queued.discard(lane)
            if self._stopping:
                continue
            try:
                self._work(lane)
            except Exception:
                log.exception(
                    "could not work on a conversation; the sweep wakes it again", extra={"conversation": lane}
                )
            if self._is_written_off():
                return

    def _is_written_off(self) -> bool:
        with self._guard:
            return self._stuck.pop(threading.get_ident(), None) is not None

    def replace(self, thread: int) -> None:
        with self._guard:
            stuck = self._threads.pop(thread, None)
            if stuck is None:
                return
            self._stuck[thread] = stuck
        if not self._stopping:
            self._add_thread()

    def stop(self, timeout: float) -> bool:
        self._stopping = True
        threads = list(self._threads.values())
        for _ in threads:
            self._queue.put(None)
        end = time.monotonic() + timeout
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def checks(self) -> list[Check]:
        with self._guard:
            alive = sum(thread.is_alive() for thread in self._threads.values())
            stuck = sum(thread.is_alive() for thread in self._stuck.values())
        return [
            Check("lanes", alive > 0, f"{alive} of {self._size} threads alive, {self.waiting} conversations queued"),
            Check("handlers", stuck < self._size, f"{stuck} handlers ran past their deadline and still run"),
        ]
