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


GATHER = 0.001
"""Seconds at most that a durable transaction is put off until as many have come as shared the last one."""


class _Work:
    """What one thread wants done, and what came of it.

    ``turn`` is released (and ``has_come``) when it ``is_done``, or, with ``leads``, to be done by that thread, with
    what waits. A thread that finds it done lets ``following`` go on, and one that ``has_left`` waits no longer.
    """

    __slots__ = (
        *("do", "durable", "ends_at", "returned", "error", "is_done"),
        *("following", "has_come", "has_left", "leads", "turn"),
    )

    def __init__(self, do: Callable[[Connection], object], durable: bool, ends_at: float) -> None:
        self.do = do
        self.durable = durable
        self.ends_at = ends_at
        self.returned: object = None
        self.error: BaseException | None = None
        self.is_done = False
        self.following: _Work | None = None
        self.has_come = False
        self.has_left = False
        self.leads = False
        self.turn = threading.Lock()
        self.turn.acquire()


class Together:
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
        self._guard = threading.Lock()
        self._waiting: list[_Work] = []
        self._is_led = False
        self._crowd = 0
        self._gathers = False
        self._gathered = threading.Lock()
        self._gathered.acquire()

    def do(self, work: Callable[[Connection], T], *, durable: bool, ends_at: float) -> T:
        """What ``work`` returns, committed. It may be called twice, where what the first call did was rolled back.

        Raises what it raises, and :class:`StoreBusy` if the database does not take it or its turn has not come when
        ``time.monotonic()`` reaches ``ends_at``.
        """
        mine = _Work(work, durable, ends_at)
        with self._guard:
            self._waiting.append(mine)
            mine.leads, self._is_led = not self._is_led, True
            if self._gathers and len(self._waiting) >= self._crowd:
                self._gathers = False
                self._gathered.release()
        if not mine.leads:
            self._wait(mine)
        if mine.leads:
            self._lead(mine)
        elif not mine.has_left:
            self._pass_on(mine.following)
        if mine.error is not None:
            raise mine.error
        return cast(T, mine.returned)

    def _wait(self, mine: _Work) -> None:
        """Return when the turn has come, or the work is done. What is on its way when this gives up may be stored in
        spite of that."""
        try:
            has_come = mine.turn.acquire(timeout=max(mine.ends_at - time.monotonic(), 0.0))
        except BaseException:
            if not self._leave(mine):
                self._decline(mine)
            raise
        if not has_come and self._leave(mine) and not mine.is_done:
            raise StoreBusy("the database is busy writing for others; try again in a moment")

    def _leave(self, mine: _Work) -> bool:
        """Whether its turn has not come by now, and will not."""
        with self._guard:
            mine.has_left = not mine.has_come
            if mine.has_left and mine in self._waiting:
                self._waiting.remove(mine)
            return mine.has_left

    def _decline(self, mine: _Work) -> None:
        """Let others go on in the place of a thread that was interrupted when its turn came."""
        if mine.leads:
            self._take_only(mine)
            self._hand_over()
        else:
            self._pass_on(mine.following)

    def _pass_on(self, work: _Work | None) -> None:
        """Let ``work`` go on, or who follows it, if it does not wait any longer."""
        if work is None:
            return
        with self._guard:
            while work is not None and work.has_left:
                work = work.following
            if work is not None:
                work.has_come = True
                work.turn.release()

    def _lead(self, mine: _Work) -> None:
        batch: list[_Work] = []
        try:
            if mine.durable:
                self._gather()
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

    def _gather(self) -> None:
        """Wait for as many as came together the last time."""
        with self._guard:
            self._gathers = gathers = len(self._waiting) < self._crowd
        if not gathers:
            return
        has_come = False
        try:
            has_come = self._gathered.acquire(timeout=GATHER)
        finally:
            with self._guard:
                if not self._gathers and not has_come:
                    self._gathered.acquire(blocking=False)  # the last one came just now
                self._gathers = False

    def _take(self) -> list[_Work]:
        """What shares the transaction that was just opened."""
        with self._guard:
            batch, self._waiting = self._waiting, []
            self._crowd = len(batch)
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
                work.error = copy(error)  # an exception is raised in one thread only

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
                following.leads = following.has_come = True
                following.turn.release()

    def _finish(self, batch: list[_Work], mine: _Work) -> None:
        """Let those go on who were served: who wants it durable when it is on the disk, the others at once."""
        stored = [work for work in batch if work.durable and work.error is None]
        self._let_go([work for work in batch if work is not mine and work not in stored])
        try:
            if stored:
                self._sync()
        except BaseException as error:
            for work in stored:
                work.error = copy(error) if isinstance(error, StoreBusy) else StoreBusy(*error.args)
            if not isinstance(error, StoreBusy):
                raise
        finally:
            self._let_go([work for work in stored if work is not mine])

    def _let_go(self, served: Sequence[_Work]) -> None:
        """Let all go on, each by the one before, and the first one by this thread."""
        for work in served:
            work.is_done = True
        for work, following in pairwise(served):
            work.following = following
        self._pass_on(served[0] if served else None)
