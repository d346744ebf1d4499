"""One commit for the concurrent writes of several threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar, cast

from sqlalchemy.engine import Connection

from cometbot.errors import StoreBusy

T = TypeVar("T")

Begin = Callable[[float], AbstractContextManager[Connection]]
"""Opens a transaction, or raises :class:`StoreBusy` when ``time.monotonic()`` reaches the given deadline."""

Sync = Callable[[], None]
"""Syncs to disk what is committed by now."""


MAX_COMMIT_DELAY = 0.001
"""Maximum seconds that a durable transaction waits for as many threads as shared the last one."""


@dataclass(slots=True, eq=False)
class _QueuedWrite:
    """The work of one thread, and its result.

    A thread that waits holds ``wakeup``, which is released, and ``is_woken`` set, when the work ``is_done``; or, with
    ``is_leader``, when this thread must run all pending work. A thread whose work is done wakes its ``successor``. A
    thread that ``is_cancelled`` no longer waits.
    """

    run: Callable[[Connection], object]
    durable: bool
    deadline: float
    result: object = None
    error: BaseException | None = None
    is_done: bool = False
    successor: _QueuedWrite | None = None
    is_woken: bool = False
    is_cancelled: bool = False
    is_leader: bool = False
    wakeup: threading.Lock = field(default_factory=threading.Lock)


class GroupCommit:
    """Runs the concurrent writes of a process in one transaction.

    The first thread to arrive opens a transaction, and runs in it all work that is pending once the transaction is
    open. Work that arrives during the transaction or its sync waits for the next one, which one of the waiting threads
    leads. Work is run by another thread only if its own thread would have to wait anyway, so a single writer is as fast
    as without group commit.

    A durable transaction waits for further work for up to :data:`MAX_COMMIT_DELAY`, if several threads shared the last
    transaction. These threads become ready for their next write at about the same time; without the wait, the first of
    them would sync alone while the others wait. Finished threads are woken one after the other, each by the previous
    one, because all at once they would contend for the interpreter lock.
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
        """Run ``work`` in a transaction, commit, and return its result.

        ``work`` may be called twice, if the first call was rolled back. Raises any exception of ``work``, and
        :class:`StoreBusy` if the database does not accept the write, or if its turn has not come when
        ``time.monotonic()`` reaches ``deadline``.
        """
        queued = _QueuedWrite(work, durable, deadline)
        with self._lock:
            self._pending.append(queued)
            queued.is_leader, self._has_leader = not self._has_leader, True
            if not queued.is_leader:
                queued.wakeup.acquire(blocking=False)
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
        """Wait until the thread must lead or its work is done.

        Raises :class:`StoreBusy` at the deadline. Work that runs at that moment may be stored nevertheless.
        """
        try:
            is_woken = queued.wakeup.acquire(timeout=max(queued.deadline - time.monotonic(), 0.0))
        except BaseException:
            if not self._cancel(queued):
                self._hand_on_after_interrupt(queued)
            raise
        if not is_woken and self._cancel(queued) and not queued.is_done:
            raise StoreBusy("the database is busy with other writes. Try again in a moment.")

    def _cancel(self, queued: _QueuedWrite) -> bool:
        """Stop waiting, and return True unless the thread has been woken already."""
        with self._lock:
            queued.is_cancelled = not queued.is_woken
            if queued.is_cancelled and queued in self._pending:
                self._pending.remove(queued)
            return queued.is_cancelled

    def _hand_on_after_interrupt(self, queued: _QueuedWrite) -> None:
        """Wake the next thread on behalf of one that was interrupted when its turn came."""
        if queued.is_leader:
            with self._lock:
                self._pending.remove(queued)
                self._has_leader = bool(self._pending) and self._wake_leader()
        else:
            self._wake_next(queued.successor)

    def _wake_next(self, work: _QueuedWrite | None) -> None:
        """Wake the thread of ``work``, or its first successor that still waits."""
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
            if queued.durable and self._last_batch_size > 1:
                self._wait_for_batch()
            with self._begin(queued.deadline) as connection:
                with self._lock:  # all pending work shares the transaction that was just opened
                    batch, self._pending = self._pending, []
                    self._last_batch_size = len(batch)
                for work in batch:
                    work.result = work.run(connection)
        except BaseException as error:
            self._fail(batch or self._claim_one(queued), error)
        finally:
            try:
                self._finish(batch, queued)
            finally:
                with self._lock:
                    self._has_leader = bool(self._pending) and self._wake_leader()

    def _wait_for_batch(self) -> None:
        """Wait until as many threads are pending as shared the last transaction, or the delay is over."""
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
                    self._batch_complete.acquire(blocking=False)  # the last expected thread arrived after the timeout
                self._is_gathering = False

    def _claim_one(self, queued: _QueuedWrite) -> list[_QueuedWrite]:
        with self._lock:
            self._pending.remove(queued)
            return [queued]

    def _fail(self, batch: list[_QueuedWrite], error: BaseException) -> None:
        """Set ``error`` for ``batch``, of which nothing is stored.

        If one of several may have caused the error, each is run again in a transaction of its own.
        """
        can_retry_alone = len(batch) > 1 and isinstance(error, Exception) and not isinstance(error, StoreBusy)
        for work in batch:
            work.error = error
            if can_retry_alone:
                self._run_alone(work)
            elif isinstance(error, StoreBusy):
                work.error = copy(error)  # the same exception must not be raised in several threads

    def _run_alone(self, work: _QueuedWrite) -> None:
        try:
            with self._begin(work.deadline) as connection:
                work.result = work.run(connection)
            work.error = None
        except Exception as error:
            work.error = error

    def _wake_leader(self) -> bool:
        """Wake the first waiting thread as the leader, and return True."""
        successor = self._pending[0]
        successor.is_leader = successor.is_woken = True
        successor.wakeup.release()
        return True

    def _finish(self, batch: list[_QueuedWrite], leader: _QueuedWrite) -> None:
        """Wake the threads of ``batch``: of durable work after the sync, of other work at once."""
        stored, others = list[_QueuedWrite](), list[_QueuedWrite]()
        for work in batch:
            (stored if work.durable and work.error is None else others).append(work)
        if others and others != [leader]:
            self._wake(others, leader)
        if not stored:
            return
        try:
            self._sync()
        except BaseException as error:
            for work in stored:
                work.error = copy(error) if isinstance(error, StoreBusy) else StoreBusy(*error.args)
            if not isinstance(error, StoreBusy):
                raise
        finally:
            if stored != [leader]:
                self._wake(stored, leader)

    def _wake(self, finished: list[_QueuedWrite], leader: _QueuedWrite) -> None:
        """Mark the work as done and wake its threads: the first one here, each other one by the previous one."""
        waiting = [work for work in finished if work is not leader]
        for work in waiting:
            work.is_done = True
        for work, successor in pairwise(waiting):
            work.successor = successor
        self._wake_next(waiting[0] if waiting else None)
