"""Commands and answers on one socket: many at a time, matched by their correlation ids, in whatever order they come."""

from __future__ import annotations

import itertools
import queue
import secrets
import threading
import time
from collections.abc import Callable
from typing import Literal, Protocol

from cometbot.channels.simplex.errors import AnswerMissing, ConnectionLost, NotConnected, error_from
from cometbot.channels.simplex.protocol import Command, Frame, Record, encode_command
from cometbot.errors import ChannelError

_PING = object()


class Socket(Protocol):
    """What an exchange needs of a WebSocket."""

    def send(self, message: str, /) -> None:
        """Hand a frame of text to the other side."""
        ...

    def ping(self) -> object:
        """Ask the other side for a sign of life."""
        ...


class _Pending:
    """One command on its way: ``queued``, ``sent``, then ``over`` with an answer or an error."""

    __slots__ = ("command", "error", "over", "record", "state", "text")

    def __init__(self, command: Command, text: str) -> None:
        self.command, self.text = command, text
        self.state: Literal["queued", "sent", "over"] = "queued"
        self.record: Record | None = None
        self.error: ChannelError | None = None
        self.over = threading.Event()


class Exchange:
    """The talk on one socket, from its opening to its end.

    :meth:`ask` may be called by many threads. One thread runs :meth:`write`, another one hands what it reads to
    :meth:`resolve`. After :meth:`end` whoever waits has an error, and nothing more is sent: a command that was sent
    fails with :class:`ConnectionLost`, one that was not with :class:`NotConnected`.
    """

    def __init__(self, socket: Socket, clock: Callable[[], float] = time.monotonic) -> None:
        self._socket, self._clock = socket, clock
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._guard = threading.Lock()
        self._pending: dict[str, _Pending] = {}
        self._outgoing: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._reason = ""
        self._writing_since: float | None = None

    @property
    def open_commands(self) -> int:
        """How many commands wait for their answer."""
        return len(self._pending)

    @property
    def writing_for(self) -> float:
        """For how many seconds the socket has not taken what is being written; 0 if nothing is."""
        since = self._writing_since
        return 0.0 if since is None else self._clock() - since

    def ask(self, command: Command, timeout: float) -> Record:
        """The answer to ``command``. Raises the :class:`CommandFailed` that the CLI answers with, or what was said of
        the class, or :class:`AnswerMissing` after ``timeout`` seconds."""
        corr_id = f"{self._prefix}-{next(self._numbers)}"
        pending = _Pending(command, encode_command(corr_id, command))
        with self._guard:
            if self._reason:
                raise NotConnected(f"{self._reason}; {command.keyword} was not sent")
            self._pending[corr_id] = pending
        self._outgoing.put(pending)
        pending.over.wait(timeout)
        with self._guard:
            self._pending.pop(corr_id, None)
            was_sent, pending.state = pending.state != "queued", "over"
        if pending.error is not None:
            raise pending.error
        if pending.record is None:
            raise _unanswered(command, timeout, was_sent=was_sent)
        if pending.record.is_error:
            raise error_from(pending.record, command)
        return pending.record

    def resolve(self, frame: Frame) -> bool:
        """Whether somebody waited for the answer in ``frame``, and has it now."""
        with self._guard:
            pending = self._pending.pop(frame.corr_id, None)
            if pending is None:
                return False
            pending.record = frame.record
            if frame.record is None:
                pending.error = AnswerMissing(
                    f"the SimpleX CLI's answer to {pending.command.keyword} cannot be read: {frame.problem}"
                )
            pending.state = "over"
            pending.over.set()
            return True

    def write(self) -> None:
        """Send what is asked, one after the other, until the exchange ends. Raises what the socket raises."""
        while not self._reason:
            item = self._outgoing.get()
            if item is None:
                return
            self._writing_since = self._clock()
            try:
                self._write(item)
            finally:
                self._writing_since = None

    def _write(self, item: object) -> None:
        if item is _PING:
            self._socket.ping()
        if isinstance(item, _Pending):
            with self._guard:
                if item.state != "queued" or self._reason:
                    return
                item.state = "sent"
            self._socket.send(item.text)

    def ping(self) -> None:
        """Ask for a sign of life; any byte that comes is one."""
        self._outgoing.put(_PING)

    def end(self, reason: str) -> None:
        """Fail whoever waits, and whoever asks from now on; ``reason`` says why the connection is no more."""
        with self._guard:
            if self._reason:
                return
            self._reason = reason
            for pending in self._pending.values():
                keyword = pending.command.keyword
                if pending.state == "sent":
                    pending.error = ConnectionLost(f"{reason}, before {keyword} was answered; it may have been done")
                else:
                    pending.error = NotConnected(f"{reason}; {keyword} was not sent")
                pending.state = "over"
                pending.over.set()
            self._pending.clear()
        self._outgoing.put(None)


def _unanswered(command: Command, timeout: float, *, was_sent: bool) -> ChannelError:
    if not was_sent:
        return NotConnected(f"the SimpleX CLI did not take {command.keyword} within {timeout:g} s; it was not sent")
    return AnswerMissing(
        f"the SimpleX CLI did not answer {command.keyword} within {timeout:g} s; it may have been done"
    )
