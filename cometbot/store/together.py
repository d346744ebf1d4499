"""One commit for what several threads write at the same moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar, cast

from sqlalchemy.engine import Connection

from cometbot.errors import StoreBusy

T = TypeVar("T")

Begin = Callable[[float], AbstractContextManager[Connection]]
"""Opens a transaction, or raises :class:`StoreBusy` when ``time.monotonic()`` reaches a moment."""

Sync = Callable[[], None]
"""Brings to the disk what is committed by now."""


class _Work:
    """What one thread wants done, and what came of it. ``leads``: it is to be done by that thread, with what waits."""

    __slots__ = ("do", "durable", "ends_at", "error", "leads", "returned", "turn")

    def __init__(self, do: Callable[[Connection], object], durable: bool, ends_at: float) -> None:
        self.do = do
        self.durable = durable
        self.ends_at = ends_at
        self.returned: object = None
        self.error: BaseException | None = None
        self.leads = False
        self.turn = threading.Lock()
        self.turn.acquire()


class Together:
    """Transactions of a process that would wait for each other, done as one.

    The first thread that comes opens a transaction, and does in it all that has come in until it is open. Who comes
    while that goes on, and while what is durable goes to the disk, waits for the next transaction, which one of them
    leads. Nothing is handed to another thread unless it would have to wait anyway, so that a single writer is as fast
    as without.
    """

    def __init__(self, begin: Begin, sync: Sync) -> None:
        self._begin = begin
        self._sync = sync
        self._guard = threading.Lock()
        self._waiting: list[_Work] = []
        self._is_led = False

    def do(self, work: Callable[[Connection], T], *, durable: bool, ends_at: float) -> T:
        """What ``work`` returns, committed. It may be called twice, where what the first call did was rolled back.

        Raises what it raises, and :class:`StoreBusy` if the database does not take it or its turn has not come when
        ``time.monotonic()`` reaches ``ends_at``.
        """
        mine = _Work(work, durable, ends_at)
        with self._guard:
            self._waiting.append(mine)
            mine.leads, self._is_led = not self._is_led, True
        if not mine.leads and not mine.turn.acquire(timeout=max(ends_at - time.monotonic(), 0.0)):
            self._withdraw(mine)
        if mine.leads:
            self._lead(mine)
        if mine.error is not None:
            raise mine.error
        return cast(T, mine.returned)

    def _withdraw(self, mine: _Work) -> None:
        """Give up waiting, unless the turn came just now. What is on its way already may be stored in spite of that."""
        with self._guard:
            if mine.leads:
                return
            if mine in self._waiting:
                self._waiting.remove(mine)
        raise StoreBusy("the database is busy writing for others; try again in a moment")

    def _lead(self, mine: _Work) -> None:
        batch: list[_Work] = []
        try:
            with self._begin(mine.ends_at) as connection:
                batch = self._take()
                for work in batch:
                    work.returned = work.do(connection)
        except BaseException as error:
            self._fail(batch or self._take_only(mine), error)
        finally:
            try:
                self._finish(batch, mine)
            finally:
                self._hand_over()

    def _take(self) -> list[_Work]:
        """What shares the transaction that was just opened."""
        with self._guard:
            batch, self._waiting = self._waiting, []
            return batch

    def _take_only(self, mine: _Work) -> list[_Work]:
        with self._guard:
            self._waiting.remove(mine)
            return [mine]

    def _fail(self, batch: list[_Work], error: BaseException) -> None:
        """Nothing of ``batch`` is stored. If that is the fault of one of them, the others are done without it."""
        is_anybodys = len(batch) > 1 and isinstance(error, Exception) and not isinstance(error, StoreBusy)
        for work in batch:
            work.error = error
            if is_anybodys:
                self._do_alone(work)
            elif isinstance(error, StoreBusy):
                work.error = StoreBusy(*error.args)  # an exception is raised in one thread only

    def _do_alone(self, work: _Work) -> None:
        try:
            with self._begin(work.ends_at) as connection:
                work.returned = work.do(connection)
            work.error = None
        except Exception as error:
            work.error = error

    def _hand_over(self) -> None:
        """Let the first who waits lead."""
        with self._guard:
            following = self._waiting[0] if self._waiting else None
            self._is_led = following is not None
            if following is not None:
                following.leads = True
        if following is not None:
            following.turn.release()

    def _finish(self, batch: list[_Work], mine: _Work) -> None:
        """Let those go on who were served: who wants it durable when it is on the disk, the others at once."""
        stored = [work for work in batch if work.durable and work.error is None]
        for work in batch:
            if work is not mine and work not in stored:
                work.turn.release()
        try:
            if stored:
                self._sync()
        except BaseException as error:
            for work in stored:
                work.error = StoreBusy(*error.args)
            if not isinstance(error, StoreBusy):
                raise
        finally:
            for work in stored:
                if work is not mine:
                    work.turn.release()
