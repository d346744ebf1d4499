"""The engine of a process: it receives notifications of pending work and runs conversations in threads."""

from __future__ import annotations

import logging
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from cometbot.delivery.roles import ProcessRoles
from cometbot.dispatch import ErrorClasses

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Check:
    """One requirement for bots to answer.

    ``detail`` describes its state, and what to do if it fails. ``ok`` is None if the state is unknown.
    """

    name: str
    ok: bool | None
    detail: str = ""


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

    @abstractmethod
    def replace_thread(self, thread_id: int) -> None:
        """Stop using a thread whose handler does not end, and start another in its place."""

    @abstractmethod
    def stop(self, timeout: float) -> bool:
        """Start nothing new, wait up to ``timeout`` seconds for running work, and return True if all of it ended."""

    @abstractmethod
    def checks(self) -> list[Check]:
        """Return the checks of whether conversations can be processed."""


class ThreadEngine(Engine):
    """``size`` threads that process conversations from one queue, in which each conversation is queued once at most.

    No exception of a runner ends a thread. A thread that dies nevertheless (an exception was raised into it from
    outside, or the memory was full) is replaced at once, or with the next notification if no thread could be started.
    """

    def __init__(self, size: int = 8) -> None:
        self._size = size
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._queued_keys: set[str] = set()
        self._guard = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._stuck_threads: set[threading.Thread] = set()
        self._is_started = False
        self._is_stopping = False
        self._process_conversation: Callable[[str], None] = lambda conversation_key: None

    def start(self, process_conversation: Callable[[str], None]) -> None:
        self._process_conversation = process_conversation
        with self._guard:
            self._is_started = True
            self._start_threads()

    def _start_threads(self) -> None:
        """Start the missing threads. Raises Python's own exception if no thread can be started."""
        while self._is_started and not self._is_stopping and len(self._threads) < self._size:
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
            if len(self._threads) < self._size:
                self._try_start_threads()
            if conversation_key in self._queued_keys:
                return
            self._queued_keys.add(conversation_key)
        self._queue.put(conversation_key)

    @property
    def queue_size(self) -> int:
        """The number of conversations that wait for a thread."""
        return self._queue.qsize()

    def _run(self) -> None:
        try:
            self._process_queue()
        except BaseException:
            log.exception("a thread died and is replaced")
        finally:
            self._remove_thread(threading.current_thread())

    def _process_queue(self) -> None:
        while True:
            conversation_key = self._queue.get()
            if conversation_key is None:
                return
            with self._guard:
                self._queued_keys.discard(conversation_key)
            if self._is_stopping:
                continue
            try:
                self._process_conversation(conversation_key)
            except BaseException:
                log.exception(
                    "cannot process a conversation; the sweep notifies it again",
                    extra={"conversation": conversation_key},
                )
            if self._is_replaced():
                return

    def _is_replaced(self) -> bool:
        with self._guard:
            return threading.current_thread() in self._stuck_threads

    def _remove_thread(self, thread: threading.Thread) -> None:
        with self._guard:
            self._threads.discard(thread)
            self._stuck_threads.discard(thread)
            self._try_start_threads()

    def replace_thread(self, thread_id: int) -> None:
        with self._guard:
            stuck = next((one for one in self._threads if one.ident == thread_id), None)
            if stuck is None:
                return
            self._threads.remove(stuck)
            self._stuck_threads.add(stuck)
            self._try_start_threads()

    def stop(self, timeout: float) -> bool:
        with self._guard:
            self._is_stopping = True
            threads = list(self._threads)
        for _ in threads:
            self._queue.put(None)
        deadline = time.monotonic() + timeout
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def checks(self) -> list[Check]:
        with self._guard:
            alive = sum(thread.is_alive() for thread in self._threads)
            stuck = sum(thread.is_alive() for thread in self._stuck_threads)
        detail = f"{alive} of {self._size} threads alive, {self.queue_size} conversations queued"
        return [
            Check("threads", alive >= self._size, detail),
            Check("handlers", stuck < self._size, f"{stuck} handlers ran past their deadline and still run"),
        ]
