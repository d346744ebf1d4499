"""The handlers that run in this process now, and the deadline of each."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cometbot.delivery.leases import Lease
from cometbot.delivery.mailbox import MailboxMessage

if TYPE_CHECKING:
    from cometbot.delivery.reply_sink import OutboxReplySink


@dataclass(frozen=True, slots=True)
class HandlerRun:
    """One handler at work, or without a name the search for one. ``deadline`` is in ``time.monotonic()`` seconds,
    ``thread_id`` the one that it runs in."""

    lease: Lease
    message: MailboxMessage
    sink: OutboxReplySink
    handler: str
    timeout: float
    deadline: float
    thread_id: int = field(default_factory=threading.get_ident)

    @property
    def timeout_text(self) -> str:
        """What there is to say once the deadline has passed."""
        subject = f"the handler {self.handler}" if self.handler else "a matcher or middleware"
        return f"{subject} did not end within {self.timeout:g} s"


class HandlerRegistry:
    """Who is at work, by the token of the lease."""

    def __init__(self, default_timeout: float) -> None:
        self._default_timeout = default_timeout
        self._runs: dict[str, HandlerRun] = {}
        self._guard = threading.Lock()
        self._isolated = ""
        self._abandoned: set[str] = set()

    def isolate(self, lease: Lease) -> bool:
        """Whether a message that was being handled when a process died may be handled under this lease now.

        Of these one at a time runs in a process: the one that kills it is then beside none of the others again, and
        those are not given up for its sake. It is over with :meth:`release_isolation`.
        """
        with self._guard:
            if self._isolated not in ("", lease.token):
                return False
            self._isolated = lease.token
            return True

    def release_isolation(self, lease: Lease) -> None:
        """Let the next suspect run, if it is this lease's message that ran."""
        with self._guard:
            self._abandoned.discard(lease.token)
            if self._isolated == lease.token:
                self._isolated = ""

    def register(
        self, lease: Lease, message: MailboxMessage, sink: OutboxReplySink, handler: str, timeout: float | None
    ) -> None:
        """Note that a handler begins, or the search for one; None as ``timeout`` means the default."""
        seconds = self._default_timeout if timeout is None else timeout
        run = HandlerRun(lease, message, sink, handler, seconds, time.monotonic() + seconds)
        with self._guard:
            self._runs[lease.token] = run

    def unregister(self, lease: Lease) -> None:
        """Note that no handler runs under this lease any more."""
        with self._guard:
            self._runs.pop(lease.token, None)

    def pop_overdue(self) -> list[HandlerRun]:
        """The handlers whose deadline has passed; they are forgotten here."""
        now = time.monotonic()
        with self._guard:
            overdue = [run for run in self._runs.values() if run.deadline <= now]
            for run in overdue:
                del self._runs[run.lease.token]
                if self._isolated == run.lease.token:
                    self._isolated = ""
            return overdue

    def mark_abandoned(self, lease: Lease) -> None:
        """Note that the message under this lease is given up while its handler still runs."""
        with self._guard:
            self._abandoned.add(lease.token)

    def is_abandoned(self, lease: Lease) -> bool:
        """Return whether the message under this lease was given up while its handler ran."""
        with self._guard:
            return lease.token in self._abandoned

    def restore(self, run: HandlerRun) -> None:
        """Note that an overdue handler could not be given up yet."""
        with self._guard:
            self._runs.setdefault(run.lease.token, run)

    def __len__(self) -> int:
        return len(self._runs)
