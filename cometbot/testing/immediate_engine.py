"""An engine that runs conversations in the caller's thread, and a database in memory whose clock stands still."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from cometbot.delivery import Check, Engine
from cometbot.dispatch import ErrorClasses
from cometbot.store.database import PreparedStatement
from cometbot.store.sqlite import MEMORY_URL, SQLite

_PREPARED_STATEMENTS: WeakKeyDictionary[Any, PreparedStatement] = WeakKeyDictionary()
"""Compiled statements, shared by all databases in memory, since a test suite creates many."""


class ImmediateEngine(Engine):
    """An engine without threads: :meth:`notify` only queues, and :meth:`run_until_idle` runs in its caller's thread.

    Exceptions of a handler that end the test (``KeyboardInterrupt``, pytest's ``fail``, ``skip``, ``xfail`` and
    ``exit``) propagate. Handler deadlines are not enforced: an endless handler never returns.
    """

    needs_maintenance_thread: ClassVar[bool] = False

    def __init__(self) -> None:
        self.reraise = (KeyboardInterrupt, *_pytest_outcomes())
        self._pending: dict[str, None] = {}
        self._process_conversation: Callable[[str], None] = lambda conversation_key: None

    def start(self, process_conversation: Callable[[str], None]) -> None:
        self._process_conversation = process_conversation

    def notify(self, conversation_key: str, *, to_send: bool = False) -> None:
        self._pending[conversation_key] = None

    def run_until_idle(self) -> None:
        """Process the queued conversations, and those that they queue, in order."""
        while self._pending:
            conversation_key = next(iter(self._pending))
            del self._pending[conversation_key]
            self._process_conversation(conversation_key)

    def replace_thread(self, thread_id: int) -> None:
        """Do nothing, since there is no thread to replace."""

    def stop(self, timeout: float) -> bool:
        self._pending.clear()
        return True

    def checks(self) -> list[Check]:
        return [Check("threads", True, f"{len(self._pending)} conversations queued")]


def _pytest_outcomes() -> ErrorClasses:
    """Return the exceptions by which pytest ends a test, if pytest is running."""
    pytest = sys.modules.get("pytest")
    if pytest is None:
        return ()
    return tuple(verdict.Exception for verdict in (pytest.fail, pytest.skip, pytest.xfail, pytest.exit))


class MemoryDatabase(SQLite):
    """A database that is discarded on close. Its clock stands at ``now`` (Unix seconds) until that is set."""

    def __init__(self, now: float | None = None) -> None:
        super().__init__(MEMORY_URL)
        self.now = time.time() if now is None else now

    def clock(self) -> float:
        return self.now

    def wall_clock(self, connection: Any) -> float:
        return self.now

    def prepare(self, statement: Any) -> PreparedStatement:
        prepared = _PREPARED_STATEMENTS.get(statement)
        if prepared is None:
            prepared = _PREPARED_STATEMENTS[statement] = super().prepare(statement)
        return prepared
