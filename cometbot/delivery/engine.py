"""The engine of a process: it receives notifications of pending work and runs conversations in threads."""

from __future__ import annotations

import logging
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from cometbot.delivery.roles import ProcessRoles
from cometbot.dispatch import ErrorClasses

log = logging.getLogger(__name__)

GROW_AFTER = 0.05
"""Seconds for which a conversation waits before another thread is started for it."""

MAX_PROCESSOR_SHARE = 0.8
"""The share of a processor core above which more threads would not help, because Python runs one at a time."""

BULK_SHARE = 4
"""One of so many conversations is taken from those of :meth:`Engine.notify_many` while others wait as well."""

SHRINK_INTERVAL = 10.0
"""Seconds after which idle threads end."""


@dataclass(frozen=True, slots=True)
class Check:
    """One requirement for bots to answer.

    ``detail`` describes its state, and what to do if it fails. ``ok`` is None if the state is unknown.
    """

    name: str
    ok: bool | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """The conversations that an engine processes now, and those that wait for a thread of it."""

    running: int
    waiting: int


@dataclass(frozen=True, slots=True)
class SharedTask:
    """A task that one process does for all of them, about every ``interval`` seconds.

    With a ``queue``, it runs in one of the processes that receive jobs from that queue.
    """

    interval: float
    function: Callable[[], object]
    queue: str = ""


SharedTasks = Mapping[str, SharedTask]


class Engine(ABC):
    """Receives notifications and runs the conversations they name.

    A notification is only a hint: it may be lost, doubled or late. Nothing breaks then, because a runner reads its
    conversation until it is empty, and a sweep notifies again for abandoned work. Mutual exclusion is the task of the
    lease, not of the engine. ``needs_maintenance_thread`` is False for an engine whose owner runs the sweep and the
    timers; then no thread is started for them.
    """

    needs_maintenance_thread: ClassVar[bool] = True
    reraise: ErrorClasses = ()
    """Exceptions of a handler that are raised to the caller of the runner, instead of failing the message.

    Empty for engines whose threads cometbot starts itself, because no signal interrupts those.
    """
    runs_shared_tasks: ClassVar[bool] = False
    """True if :meth:`schedule` runs the shared tasks; otherwise every process runs them."""

    def schedule(self, tasks: SharedTasks, roles: ProcessRoles) -> None:
        """Run ``tasks`` from :meth:`start` on, each in one process at a time.

        Receive only notifications that fit ``roles``.
        """

    @abstractmethod
    def start(self, process_conversation: Callable[[str], None]) -> None:
        """Begin to call ``process_conversation(conversation_key)`` for notified conversations.

        The threads are started here, hence after a fork.
        """

    @abstractmethod
    def notify(self, conversation_key: str, *, to_send: bool = False) -> None:
        """Request that ``conversation_key`` is processed soon. Never blocks, never raises.

        With ``to_send``, a process is needed that can send to its channel, because replies wait there.
        """

    def notify_many(self, conversation_keys: Iterable[str], *, to_send: bool = False) -> None:
        """Request that many conversations are processed, behind those that :meth:`notify` names meanwhile."""
        for conversation_key in conversation_keys:
            self.notify(conversation_key, to_send=to_send)

    @abstractmethod
    def replace_thread(self, thread_id: int) -> None:
        """Stop using a thread whose handler does not end, and start another in its place."""

    @abstractmethod
    def stop(self, timeout: float) -> bool:
        """Start nothing new, wait up to ``timeout`` seconds for running work, and return True if all of it ended."""

    @property
    def load(self) -> Load:
        """The conversations that are processed now, and those that wait."""
        return Load(0, 0)

    @abstractmethod
    def checks(self) -> list[Check]:
        """Return the checks of whether conversations can be processed."""


class ProcessorShare:
    """Measures the share of a processor core that this process uses."""

    def __init__(self) -> None:
        self._last = time.monotonic(), time.process_time()

    def measure(self) -> float:
        """Return the share since the last call: 1.0 if one core was busy all the time."""
        (before, used_before), (now, used) = self._last, (time.monotonic(), time.process_time())
        self._last = now, used
        return (used - used_before) / max(now - before, 1e-6)


class ThreadEngine(Engine):
    """Threads that process conversations from one queue, in which each conversation is queued once at most.

    Those of :meth:`notify_many` wait behind all others, which leave them every fourth turn (:data:`BULK_SHARE`).

    ``size`` threads are kept. There are more, up to ``max_size``, while conversations wait although the processor is
    idle, which means that handlers wait for something; threads that are no longer needed end.

    No exception of a runner ends a thread. A thread that dies nevertheless (an exception was raised into it from
    outside, or the memory was full) is replaced at once, or with the next notification if no thread could be started.
    """

    def __init__(self, size: int = 8, max_size: int = 0) -> None:
        self._size = size
        self._max_size = max(size, max_size)
        self._wanted = size
        self._queue: queue.SimpleQueue[bool] = queue.SimpleQueue()
        """True for each conversation that waits, False for each thread that is to end."""
        self._queued_keys: OrderedDict[str, float] = OrderedDict()
        self._bulk_keys: OrderedDict[str, float] = OrderedDict()
        self._begun_count = 0
        self._guard = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._busy_threads: set[threading.Thread] = set()
        self._most_busy = 0
        self._stuck_threads: set[threading.Thread] = set()
        self._is_started = False
        self._shutdown = threading.Event()
        self._demand = threading.Event()
        self._process_conversation: Callable[[str], None] = lambda conversation_key: None

    def start(self, process_conversation: Callable[[str], None]) -> None:
        self._process_conversation = process_conversation
        with self._guard:
            self._is_started = True
            self._start_threads()
        if self._max_size > self._size:
            threading.Thread(target=self._adapt_forever, name="cometbot-growth", daemon=True).start()

    def _start_threads(self) -> None:
        """Start the missing threads. Raises Python's own exception if no thread can be started."""
        while self._is_started and not self._shutdown.is_set() and len(self._threads) < self._wanted:
            thread = threading.Thread(target=self._run, name="cometbot-runner", daemon=True)
            thread.start()
            self._threads.add(thread)

    def _try_start_threads(self) -> None:
        try:
            self._start_threads()
        except (RuntimeError, MemoryError):
            log.exception("cannot start a thread; the next conversation tries again")

    def notify(self, conversation_key: str, *, to_send: bool = False) -> None:
        with self._guard:
            if len(self._threads) < self._wanted:
                self._try_start_threads()
            if conversation_key in self._queued_keys:
                return
            is_new = self._bulk_keys.pop(conversation_key, None) is None
            self._queued_keys[conversation_key] = time.monotonic()
            self._set_demand()
        if is_new:
            self._queue.put(True)

    def notify_many(self, conversation_keys: Iterable[str], *, to_send: bool = False) -> None:
        with self._guard:
            if len(self._threads) < self._wanted:
                self._try_start_threads()
            waiting = {*self._queued_keys, *self._bulk_keys}
            keys = dict.fromkeys((key for key in conversation_keys if key not in waiting), time.monotonic())
            self._bulk_keys.update(keys)
            self._set_demand()
        for _ in keys:
            self._queue.put(True)

    def _set_demand(self) -> None:
        """Request a new choice of the number of threads if more conversations wait than threads are free."""
        if len(self._busy_threads) + self._waiting_count > self._wanted:
            self._demand.set()

    @property
    def _waiting_count(self) -> int:
        return len(self._queued_keys) + len(self._bulk_keys)

    @property
    def queue_size(self) -> int:
        """The number of conversations that wait for a thread."""
        return self._queue.qsize()

    @property
    def load(self) -> Load:
        with self._guard:
            return Load(len(self._busy_threads), self._waiting_count)

    def _adapt_forever(self) -> None:
        """Start threads while there is demand, and end those that were idle for :data:`SHRINK_INTERVAL`."""
        processor, shrink_at = ProcessorShare(), time.monotonic() + SHRINK_INTERVAL
        while not self._shutdown.is_set():
            if self._demand.wait(max(0.0, shrink_at - time.monotonic())):
                self._demand.clear()
                processor.measure()
                self._shutdown.wait(GROW_AFTER)
                self._grow(processor.measure())
            if time.monotonic() >= shrink_at:
                self._shrink()
                shrink_at = time.monotonic() + SHRINK_INTERVAL

    def _grow(self, processor_share: float) -> None:
        with self._guard:
            begins = [next(iter(keys.values())) for keys in (self._queued_keys, self._bulk_keys) if keys]
            oldest = min(begins, default=None)
            if oldest is None or self._wanted >= self._max_size:
                return
            self._demand.set()  # to look again
            if processor_share > MAX_PROCESSOR_SHARE or time.monotonic() - oldest < GROW_AFTER:
                return
            more = min(self._waiting_count, self._wanted)  # at most twice as many at a time
            self._wanted = min(self._max_size, self._wanted + more)
            try:
                self._start_threads()
            except (RuntimeError, MemoryError) as error:
                self._wanted = max(self._size, len(self._threads))
                log.warning("%d conversations are processed at a time, and not more: %s", self._wanted, error)

    def _shrink(self) -> None:
        with self._guard:
            surplus = self._wanted - max(self._size, self._most_busy)
            self._most_busy = len(self._busy_threads)
            self._wanted -= max(0, surplus)
        for _ in range(surplus):
            self._queue.put(False)

    def _run(self) -> None:
        try:
            self._process_queue()
        except BaseException:
            log.exception("a thread died and is replaced")
        finally:
            self._remove_thread(threading.current_thread())

    def _process_queue(self) -> None:
        while True:
            if not self._queue.get():
                return
            conversation_key = self._begin()
            if self._shutdown.is_set():
                continue
            try:
                self._process_conversation(conversation_key)
            except BaseException:
                log.exception(
                    "cannot process a conversation; the sweep notifies it again",
                    extra={"conversation": conversation_key},
                )
            if self._is_replaced_at_end():
                return

    def _begin(self) -> str:
        """Return the next conversation, and count the thread as busy."""
        with self._guard:
            self._begun_count += 1
            is_bulk = not self._queued_keys or (self._begun_count % BULK_SHARE == 0 and bool(self._bulk_keys))
            conversation_key, _ = (self._bulk_keys if is_bulk else self._queued_keys).popitem(last=False)
            self._busy_threads.add(threading.current_thread())
            self._most_busy = max(self._most_busy, len(self._busy_threads))
            return conversation_key

    def _is_replaced_at_end(self) -> bool:
        """Count the thread as free, and return True if it was replaced meanwhile."""
        with self._guard:
            self._busy_threads.discard(threading.current_thread())
            return threading.current_thread() in self._stuck_threads

    def _remove_thread(self, thread: threading.Thread) -> None:
        with self._guard:
            self._threads.discard(thread)
            self._busy_threads.discard(thread)
            self._stuck_threads.discard(thread)
            self._try_start_threads()

    def replace_thread(self, thread_id: int) -> None:
        with self._guard:
            stuck = next((one for one in self._threads if one.ident == thread_id), None)
            if stuck is None or stuck not in self._busy_threads:
                return  # its handler has just ended after all
            self._threads.remove(stuck)
            self._busy_threads.discard(stuck)
            self._stuck_threads.add(stuck)
            self._try_start_threads()

    def stop(self, timeout: float) -> bool:
        with self._guard:
            self._shutdown.set()
            threads = list(self._threads)
        self._demand.set()
        for _ in threads:
            self._queue.put(False)
        deadline = time.monotonic() + timeout
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def checks(self) -> list[Check]:
        with self._guard:
            alive = sum(thread.is_alive() for thread in self._threads)
            stuck = sum(thread.is_alive() for thread in self._stuck_threads)
        detail = f"{alive} of {self._wanted} threads alive, {self.queue_size} conversations queued"
        return [
            Check("threads", alive >= self._size, detail),
            Check("handlers", stuck < self._size, f"{stuck} handlers ran past their deadline and still run"),
        ]
