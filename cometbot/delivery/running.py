"""The handlers that run in this process now, and the deadline of each."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cometbot.delivery.leases import Lease
from cometbot.delivery.mailbox import Mail

if TYPE_CHECKING:
    from cometbot.delivery.outlet import LaneOutlet


@dataclass(frozen=True, slots=True)
class Run:
    """One handler at work, or without a name the search for one. ``deadline`` is in ``time.monotonic()`` seconds,
    ``thread`` the one that it runs in."""

    lease: Lease
    mail: Mail
    outlet: LaneOutlet
    handler: str
    timeout: float
    deadline: float
    thread: int = field(default_factory=threading.get_ident)

    @property
    def overrun(self) -> str:
        """What there is to say once the deadline has passed."""
        what = f"the handler {self.handler}" if self.handler else "a matcher or middleware"
        return f"{what} did not end within {self.timeout:g} s"


class Running:
    """Who is at work, by the token of the lease."""

    def __init__(self, default_timeout: float) -> None:
        self._default = default_timeout
        self._runs: dict[str, Run] = {}
        self._guard = threading.Lock()
        self._suspect = ""
        self._given_up: set[str] = set()

    def suspect(self, lease: Lease) -> bool:
        """Whether a message that was being handled when a process died may be handled under this lease now.

        Of these one at a time runs in a process: the one that kills it is then beside none of the others again, and
        those are not given up for its sake. It is over with :meth:`absolve`.
        """
        with self._guard:
            if self._suspect not in ("", lease.token):
                return False
            self._suspect = lease.token
            return True

    def absolve(self, lease: Lease) -> None:
        """Let the next suspect run, if it is this lease's message that ran."""
        with self._guard:
            self._given_up.discard(lease.token)
            if self._suspect == lease.token:
                self._suspect = ""

    def begin(self, lease: Lease, mail: Mail, outlet: LaneOutlet, handler: str, timeout: float | None) -> None:
        """Note that a handler begins, or the search for one; None as ``timeout`` means the default."""
        seconds = self._default if timeout is None else timeout
        run = Run(lease, mail, outlet, handler, seconds, time.monotonic() + seconds)
        with self._guard:
            self._runs[lease.token] = run

    def end(self, lease: Lease) -> None:
        """Note that no handler runs under this lease any more."""
        with self._guard:
            self._runs.pop(lease.token, None)

    def take_overdue(self) -> list[Run]:
        """The handlers whose deadline has passed; they are forgotten here."""
        now = time.monotonic()
        with self._guard:
            overdue = [run for run in self._runs.values() if run.deadline <= now]
            for run in overdue:
                del self._runs[run.lease.token]
                if self._suspect == run.lease.token:
                    self._suspect = ""
            return overdue

    def give_up(self, lease: Lease) -> None:
        """Note that the message under this lease is given up while its handler still runs."""
        with self._guard:
            self._given_up.add(lease.token)

    def is_given_up(self, lease: Lease) -> bool:
        """Return whether the message under this lease was given up while its handler ran."""
        with self._guard:
            return lease.token in self._given_up

    def put_back(self, run: Run) -> None:
        """Note that an overdue handler could not be given up yet."""
        with self._guard:
            self._runs.setdefault(run.lease.token, run)

    def __len__(self) -> int:
        return len(self._runs)
