"""The handlers that run in this process, and their deadlines."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cometbot.delivery.outbox_sink import OutboxReplySink
from cometbot.store.leases import Lease
from cometbot.store.mailbox import MailboxMessage

_MAX_STOPS = 1000


@dataclass(frozen=True, slots=True)
class HandlerRun:
    """A running handler, or without a name the search for one.

    ``deadline`` is in ``time.monotonic()`` seconds. ``thread_id`` is the thread that the handler runs in. With
    ``stops_on_new``, a newer message of the same user stops it.
    """

    lease: Lease
    message: MailboxMessage
    sink: OutboxReplySink
    handler: str
    timeout: float
    deadline: float
    stops_on_new: bool = False
    thread_id: int = field(default_factory=threading.get_ident)

    @property
    def age(self) -> float:
        """The seconds since it began."""
        return time.monotonic() - self.deadline + self.timeout

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
        self._stops: dict[int, None] = {}
        """The numbers of messages, in the order of :meth:`use_stop`."""
        self.on_start: Callable[[str], None] = lambda conversation_key: None
        """Called with the conversation of a handler that begins and that a newer message stops."""

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
        self,
        lease: Lease,
        message: MailboxMessage,
        sink: OutboxReplySink,
        handler: str,
        timeout: float | None,
        *,
        stops_on_new: bool = False,
    ) -> None:
        """Register a handler that begins, or the search for one; None as ``timeout`` means the default."""
        seconds = self._default_timeout if timeout is None else timeout
        run = HandlerRun(lease, message, sink, handler, seconds, time.monotonic() + seconds, stops_on_new)
        with self._guard:
            self._runs[lease.token] = run
        if stops_on_new:
            self.on_start(lease.conversation_key)

    def unregister(self, lease: Lease) -> None:
        """Remove the handler that ran under this lease."""
        with self._guard:
            self._runs.pop(lease.token, None)

    def list_running(self) -> list[HandlerRun]:
        """Return the handlers that run, without searches for one."""
        with self._guard:
            return [run for run in self._runs.values() if run.handler]

    def use_stop(self, sequence: int) -> bool:
        """Record that the ``/stop`` with this number in the mailbox stops a handler. Return False if it has before."""
        with self._guard:
            if sequence in self._stops:
                return False
            self._stops[sequence] = None
            if len(self._stops) > _MAX_STOPS:  # such as of conversations that another process has taken over
                del self._stops[next(iter(self._stops))]
            return True

    def take_stop(self, sequence: int) -> bool:
        """Return True if this message is a ``/stop`` that has stopped a handler, and forget it."""
        with self._guard:
            was_used = sequence in self._stops
            self._stops.pop(sequence, None)
            return was_used

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
