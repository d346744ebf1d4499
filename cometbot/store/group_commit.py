"""One commit for what several threads write at the same moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from copy import copy
from itertools import pairwise
from typing import TypeVar, cast

from sqlalchemy.engine import Connection

from cometbot.errors import StoreBusy

T = TypeVar("T")

Begin = Callable[[float], AbstractContextManager[Connection]]
"""Opens a transaction, or raises :class:`StoreBusy` when ``time.monotonic()`` reaches a moment."""

Sync = Callable[[], None]
"""Brings to the disk what is committed by now."""


MAX_COMMIT_DELAY = 0.001
"""Seconds at most that a durable transaction is put off until as many have come as shared the last one."""


class _QueuedWrite:
    """What one thread wants done, and what came of it.

    ``wakeup`` is released (and ``is_woken``) when it ``is_done``, or, with ``is_leader``, to be done by that thread,
    with what waits. A thread that finds it done lets ``successor`` go on, and one that ``is_cancelled`` waits no
    longer.
    """

    __slots__ = (
        *("run", "durable", "deadline", "result", "error", "is_done"),
        *("successor", "is_woken", "is_cancelled", "is_leader", "wakeup"),
    )

    def __init__(self, run: Callable[[Connection], object], durable: bool, deadline: float) -> None:
        self.run = run
        self.durable = durable
        self.deadline = deadline
        self.result: object = None
        self.error: BaseException | None = None
        self.is_done = False
        self.successor: _QueuedWrite | None = None
        self.is_woken = False
        self.is_cancelled = False
        self.is_leader = False
        self.wakeup = threading.Lock()
        self.wakeup.acquire()


class GroupCommit:
    """Transactions of a process that would wait for each other, done as one.

    The first thread that comes opens a transaction, and does in it all that has come in until it is open. Who comes
    while that goes on, and while what is durable goes to the disk, waits for the next transaction, which one of them
    leads. Nothing is handed to another thread unless it would have to wait anyway, so that a single writer is as fast
    as without.

    What is durable waits a moment for company, if the last transaction had any: threads that were served together come
    back together, and the first of them would else go to the disk alone while the others wait for it. Those who are
    served wake one after the other, each by the one before: woken all at once they would do nothing but wait for each
    other, as there is one interpreter.
    """

    def __init__(self, begin: Begin, sync: Sync) -> None:
        self._begin = begin
        self._sync = sync
        self._lock = threading.Lock()
        self._pending: list[_QueuedWrite] = []
        self._has_leader = False
        self._last_batch_size = 0
        self._is_gathering = False
        self._batch_complete = threading.Lock()
        self._batch_complete.acquire()

    def run(self, work: Callable[[Connection], T], *, durable: bool, deadline: float) -> T:
        """What ``work`` returns, committed. It may be called twice, where what the first call did was rolled back.

        Raises what it raises, and :class:`StoreBusy` if the database does not take it or its turn has not come when
        ``time.monotonic()`` reaches ``deadline``.
        """
        queued = _QueuedWrite(work, durable, deadline)
        with self._lock:
            self._pending.append(queued)
            queued.is_leader, self._has_leader = not self._has_leader, True
            if self._is_gathering and len(self._pending) >= self._last_batch_size:
                self._is_gathering = False
                self._batch_complete.release()
        if not queued.is_leader:
            self._wait(queued)
        if queued.is_leader:
            self._run_batch(queued)
        elif not queued.is_cancelled:
            self._wake_next(queued.successor)
        if queued.error is not None:
            raise queued.error
        return cast(T, queued.result)

    def _wait(self, queued: _QueuedWrite) -> None:
        """Return when the turn has come, or the work is done. What is on its way when this gives up may be stored in
        spite of that."""
        try:
            is_woken = queued.wakeup.acquire(timeout=max(queued.deadline - time.monotonic(), 0.0))
        except BaseException:
            if not self._cancel(queued):
                self._hand_on_after_interrupt(queued)
            raise
        if not is_woken and self._cancel(queued) and not queued.is_done:
            raise StoreBusy("the database is busy writing for others; try again in a moment")

    def _cancel(self, queued: _QueuedWrite) -> bool:
        """Whether its turn has not come by now, and will not."""
        with self._lock:
            queued.is_cancelled = not queued.is_woken
            if queued.is_cancelled and queued in self._pending:
                self._pending.remove(queued)
            return queued.is_cancelled

    def _hand_on_after_interrupt(self, queued: _QueuedWrite) -> None:
        """Let others go on in the place of a thread that was interrupted when its turn came."""
        if queued.is_leader:
            self._claim_one(queued)
            self._elect_leader()
        else:
            self._wake_next(queued.successor)

    def _wake_next(self, work: _QueuedWrite | None) -> None:
        """Let ``work`` go on, or who follows it, if it does not wait any longer."""
        if work is None:
            return
        with self._lock:
            while work is not None and work.is_cancelled:
                work = work.successor
            if work is not None:
                work.is_woken = True
                work.wakeup.release()

    def _run_batch(self, queued: _QueuedWrite) -> None:
        batch: list[_QueuedWrite] = []
        try:
            if queued.durable:
                self._wait_for_batch()
            with self._begin(queued.deadline) as connection:
                batch = self._claim_batch()
                for work in batch:
                    work.result = work.run(connection)
        except BaseException as error:
            self._fail(batch or self._claim_one(queued), error)
        finally:
            try:
                self._finish(batch, queued)
            finally:
                self._elect_leader()

    def _wait_for_batch(self) -> None:
        """Wait for as many as came together the last time."""
        with self._lock:
            self._is_gathering = must_wait = len(self._pending) < self._last_batch_size
        if not must_wait:
            return
        is_woken = False
        try:
            is_woken = self._batch_complete.acquire(timeout=MAX_COMMIT_DELAY)
        finally:
            with self._lock:
                if not self._is_gathering and not is_woken:
                    self._batch_complete.acquire(blocking=False)  # the last one came just now
                self._is_gathering = False

    def _claim_batch(self) -> list[_QueuedWrite]:
        """What shares the transaction that was just opened."""
        with self._lock:
            batch, self._pending = self._pending, []
            self._last_batch_size = len(batch)
            return batch

    def _claim_one(self, queued: _QueuedWrite) -> list[_QueuedWrite]:
        with self._lock:
            self._pending.remove(queued)
            return [queued]

    def _fail(self, batch: list[_QueuedWrite], error: BaseException) -> None:
        """Nothing of ``batch`` is stored. If that is the fault of one of them, the others are done without it."""
        can_retry_alone = len(batch) > 1 and isinstance(error, Exception) and not isinstance(error, StoreBusy)
        for work in batch:
            work.error = error
            if can_retry_alone:
                self._run_alone(work)
            elif isinstance(error, StoreBusy):
                work.error = copy(error)  # an exception is raised in one thread only

    def _run_alone(self, work: _QueuedWrite) -> None:
        try:
            with self._begin(work.deadline) as connection:
                work.result = work.run(connection)
            work.error = None
        except Exception as error:
            work.error = error

    def _elect_leader(self) -> None:
        """Let the first who waits lead."""
        with self._lock:
            successor = self._pending[0] if self._pending else None
            self._has_leader = successor is not None
            if successor is not None:
                successor.is_leader = successor.is_woken = True
                successor.wakeup.release()

    def _finish(self, batch: list[_QueuedWrite], queued: _QueuedWrite) -> None:
        """Let those go on who were served: who wants it durable when it is on the disk, the others at once."""
        stored = [work for work in batch if work.durable and work.error is None]
        self._wake([work for work in batch if work is not queued and work not in stored])
        try:
            if stored:
                self._sync()
        except BaseException as error:
            for work in stored:
                work.error = copy(error) if isinstance(error, StoreBusy) else StoreBusy(*error.args)
            if not isinstance(error, StoreBusy):
                raise
        finally:
            self._wake([work for work in stored if work is not queued])

    def _wake(self, finished: Sequence[_QueuedWrite]) -> None:
        """Let all go on, each by the one before, and the first one by this thread."""
        for work in finished:
            work.is_done = True
        for work, successor in pairwise(finished):
            work.successor = successor
        self._wake_next(finished[0] if finished else None)
