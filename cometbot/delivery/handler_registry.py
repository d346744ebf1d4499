"""The handlers that run in this process now, and the deadline of each."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cometbot.messages import Operation
from cometbot.store.leases import Lease
from cometbot.store.mailbox import MailboxMessage
from cometbot.store.outbox import Draft, SendResult


class AbandonableSink(Protocol):
    """The part of a handler's reply sink that ends a handler whose deadline has passed."""

    @property
    def pending_results(self) -> Sequence[SendResult]:
        """The results of sends that are not in the database yet."""
        ...

    def close(self) -> None:
        """Refuse further operations."""
        ...

    def mark_failed(self) -> None:
        """Give later drafts the ordinals of a handler that failed."""
        ...

    def draft(self, operation: Operation) -> Draft | None:
        """Return the rendered operation under the next ordinal, or None if that ordinal is stored already."""
        ...


@dataclass(frozen=True, slots=True)
class HandlerRun:
    """A running handler, or without a name the search for one.

    ``deadline`` is in ``time.monotonic()`` seconds. ``thread_id`` is the thread that the handler runs in.
    """

    lease: Lease
    message: MailboxMessage
    sink: AbandonableSink
    handler: str
    timeout: float
    deadline: float
    thread_id: int = field(default_factory=threading.get_ident)

    @property
    def timeout_text(self) -> str:
        """The error text for a deadline that has passed."""
        subject = f"the handler {self.handler}" if self.handler else "a matcher or middleware"
        return f"{subject} did not end within {self.timeout:g} s"


class HandlerRegistry:
    """The running handlers, by the token of their lease."""

    def __init__(self, default_timeout: float) -> None:
        self._default_timeout = default_timeout
        self._runs: dict[str, HandlerRun] = {}
        self._guard = threading.Lock()
        self._isolated = ""
        self._abandoned: set[str] = set()

    def isolate(self, lease: Lease) -> bool:
        """Return True if a message that was running when a process died may be handled under this lease now.

        Such messages are retried one at a time in each process. So the one that kills it runs beside none of the
        others, and these do not become dead letters because of it.
        The isolation ends with :meth:`release_isolation`.
        """
        with self._guard:
            if self._isolated not in ("", lease.token):
                return False
            self._isolated = lease.token
            return True

    def release_isolation(self, lease: Lease) -> None:
        """End the isolation, if this lease holds it, so that the next isolated message may run."""
        with self._guard:
            self._abandoned.discard(lease.token)
            if self._isolated == lease.token:
                self._isolated = ""

    def register(
        self, lease: Lease, message: MailboxMessage, sink: AbandonableSink, handler: str, timeout: float | None
    ) -> None:
        """Register a handler that begins, or the search for one; None as ``timeout`` means the default."""
        seconds = self._default_timeout if timeout is None else timeout
        run = HandlerRun(lease, message, sink, handler, seconds, time.monotonic() + seconds)
        with self._guard:
            self._runs[lease.token] = run

    def unregister(self, lease: Lease) -> None:
        """Remove the handler that ran under this lease."""
        with self._guard:
            self._runs.pop(lease.token, None)

    def pop_overdue(self) -> list[HandlerRun]:
        """Return the handlers whose deadline has passed, and remove them."""
        now = time.monotonic()
        with self._guard:
            overdue = [run for run in self._runs.values() if run.deadline <= now]
            for run in overdue:
                del self._runs[run.lease.token]
                if self._isolated == run.lease.token:
                    self._isolated = ""
            return overdue

    def mark_abandoned(self, lease: Lease) -> None:
        """Record that the message under this lease is given up while its handler still runs."""
        with self._guard:
            self._abandoned.add(lease.token)

    def is_abandoned(self, lease: Lease) -> bool:
        """Return True if the message under this lease was given up while its handler ran."""
        with self._guard:
            return lease.token in self._abandoned

    def restore(self, run: HandlerRun) -> None:
        """Register an overdue handler again that could not be given up yet."""
        with self._guard:
            self._runs.setdefault(run.lease.token, run)
