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
    """``size`` threads that take lanes from one queue. A lane that waits in the queue is not put there twice.

    Nothing that work raises ends a thread. One that dies all the same (something was raised into it from outside, the
    memory was full) is replaced at once, or with the next wake where no thread could be started.
    """

    def __init__(self, size: int = 8) -> None:
        self._size = size
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._queued: set[str] = set()
        self._guard = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._stuck: set[threading.Thread] = set()
        self._is_started = False
        self._stopping = False
        self._work: Callable[[str], None] = lambda lane: None

    def start(self, work: Callable[[str], None]) -> None:
        self._work = work
        with self._guard:
            self._is_started = True
            self._fill()

    def _fill(self) -> None:
        """Start the threads that there have to be and are not. Raises what Python raises where it can start none."""
        while self._is_started and not self._stopping and len(self._threads) < self._size:
            thread = threading.Thread(target=self._run, name="cometbot-lane", daemon=True)
            thread.start()
            self._threads.add(thread)

    def _try_to_fill(self) -> None:
        try:
            self._fill()
        except (RuntimeError, MemoryError):
            log.exception("could not start a thread; it is tried again with the next conversation")

    def wake(self, lane: str, *, to_send: bool = False) -> None:
        with self._guard:
            if len(self._threads) < self._size:
                self._try_to_fill()
            if lane in self._queued:
                return
            self._queued.add(lane)
        self._queue.put(lane)

    @property
    def waiting(self) -> int:
        """How many lanes wait for a thread."""
        return self._queue.qsize()

    def _run(self) -> None:
        try:
            self._take_lanes()
        except BaseException:
            log.exception("a thread died; another one takes its place")
        finally:
            self._leave(threading.current_thread())

    def _take_lanes(self) -> None:
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
            except BaseException:
                log.exception(
                    "could not work on a conversation; the sweep wakes it again", extra={"conversation": lane}
                )
            if self._is_written_off():
                return

    def _is_written_off(self) -> bool:
        with self._guard:
            return threading.current_thread() in self._stuck

    def _leave(self, thread: threading.Thread) -> None:
        with self._guard:
            self._threads.discard(thread)
            self._stuck.discard(thread)
            self._try_to_fill()

    def replace(self, thread: int) -> None:
        with self._guard:
            stuck = next((one for one in self._threads if one.ident == thread), None)
            if stuck is None:
                return
            self._threads.remove(stuck)
            self._stuck.add(stuck)
            self._try_to_fill()

    def stop(self, timeout: float) -> bool:
        with self._guard:
            self._stopping = True
            threads = list(self._threads)
        for _ in threads:
            self._queue.put(None)
        end = time.monotonic() + timeout
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def checks(self) -> list[Check]:
        with self._guard:
            alive = sum(thread.is_alive() for thread in self._threads)
            stuck = sum(thread.is_alive() for thread in self._stuck)
        detail = f"{alive} of {self._size} threads alive, {self.waiting} conversations queued"
        return [
            Check("lanes", alive >= self._size, detail),
            Check("handlers", stuck < self._size, f"{stuck} handlers ran past their deadline and still run"),
        ]
