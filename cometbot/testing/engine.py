"""Lanes worked through in the thread that asks for it, and a database in memory whose clock stands still."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from cometbot.delivery import Check, Engine
from cometbot.dispatch import Raised
from cometbot.store.database import Database, Prepared, database

_PREPARED: WeakKeyDictionary[Any, Prepared] = WeakKeyDictionary()
"""Statements that were compiled for one database in memory do for all: a test makes many."""


class ImmediateEngine(Engine):
    """An engine without threads: a wake only queues, :meth:`run_until_idle` does all the work in its caller's thread.

    What a handler raises to end the test (``KeyboardInterrupt``, pytest's ``fail``, ``skip``, ``xfail`` and ``exit``)
    comes out of it. Handler deadlines are not watched: an endless handler is endless here.
    """

    needs_keeper: ClassVar[bool] = False

    def __init__(self) -> None:
        self.lets_out = (KeyboardInterrupt, *_verdicts())
        self._waiting: dict[str, None] = {}
        self._work: Callable[[str], None] = lambda lane: None

    def start(self, work: Callable[[str], None]) -> None:
        self._work = work

    def wake(self, lane: str, *, to_send: bool = False) -> None:
        self._waiting[lane] = None

    def run_until_idle(self) -> None:
        """Work through the lanes that were woken, and those that they wake, in the order of the wakes."""
        while self._waiting:
            lane = next(iter(self._waiting))
            del self._waiting[lane]
            self._work(lane)

    def replace(self, thread: int) -> None:
        """Nothing: there is no thread to replace."""

    def stop(self, timeout: float) -> bool:
        self._waiting.clear()
        return True

    def checks(self) -> list[Check]:
        return [Check("lanes", True, f"{len(self._waiting)} conversations queued")]


def _verdicts() -> Raised:
    """What pytest ends a test with, where it is pytest that runs."""
    pytest = sys.modules.get("pytest")
    if pytest is None:
        return ()
    return tuple(verdict.Exception for verdict in (pytest.fail, pytest.skip, pytest.xfail, pytest.exit))


class MemoryDatabase(Database):
    """A database that is gone when it is closed. Its clock stands at ``now`` (Unix seconds) until that is set."""

    def __init__(self, now: float | None = None) -> None:
        self.now = time.time() if now is None else now
        self._inner = database("sqlite://")

    @property
    def clock(self) -> Callable[[], float]:
        return lambda: self.now

    def write(self, *, durable: bool = True, timeout: float | None = None) -> AbstractContextManager[Any]:
        return self._inner.write(durable=durable, timeout=timeout)

    def read(self) -> AbstractContextManager[Any]:
        return self._inner.read()

    def snapshot(self) -> AbstractContextManager[Any]:
        return self._inner.snapshot()

    def size(self, connection: Any) -> int:
        return self._inner.size(connection)

    def insert(self, table: Any) -> Any:
        return self._inner.insert(table)

    def prepare(self, statement: Any) -> Prepared:
        prepared = _PREPARED.get(statement)
        if prepared is None:
            prepared = _PREPARED[statement] = self._inner.prepare(statement)
        return prepared

    def open(self) -> None:
        self._inner.open()

    def upgrade(self) -> None:
        self._inner.upgrade()

    def close(self) -> None:
        self._inner.close()
