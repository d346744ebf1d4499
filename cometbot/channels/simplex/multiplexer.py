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

_PING_REQUEST = object()


class Socket(Protocol):
    """What an exchange needs of a WebSocket."""

    def send(self, message: str, /) -> None:
        """Hand a frame of text to the other side."""
        ...

    def ping(self) -> object:
        """Ask the other side for a sign of life."""
        ...


class _Pending:
    """One command on its way: ``queued``, ``sent``, then ``done`` with an answer or an error."""

    __slots__ = ("command", "done", "error", "record", "state", "text")

    def __init__(self, command: Command, text: str) -> None:
        self.command, self.text = command, text
        self.state: Literal["queued", "sent", "over"] = "queued"
        self.record: Record | None = None
        self.error: ChannelError | None = None
        self.done = threading.Event()


class CommandMultiplexer:
    """The talk on one socket, from its opening to its end.

    :meth:`send_command` may be called by many threads. One thread runs :meth:`run_writer`, another one hands what it
    reads to
    :meth:`resolve`. After :meth:`close` whoever waits has an error, and nothing more is sent: a command that was sent
    fails with :class:`ConnectionLost`, one that was not with :class:`NotConnected`.
    """

    def __init__(self, socket: Socket, clock: Callable[[], float] = time.monotonic) -> None:
        self._socket, self._clock = socket, clock
        self._prefix = secrets.token_hex(4)
        self._counter = itertools.count(1)
        self._lock = threading.Lock()
        self._pending: dict[str, _Pending] = {}
        self._send_queue: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._end_reason = ""
        self._write_started_at: float | None = None

    @property
    def pending_commands(self) -> int:
        """How many commands wait for their answer."""
        return len(self._pending)

    @property
    def blocked_seconds(self) -> float:
        """For how many seconds the socket has not taken what is being written; 0 if nothing is."""
        since = self._write_started_at
        return 0.0 if since is None else self._clock() - since

    def send_command(self, command: Command, timeout: float) -> Record:
        """The answer to ``command``. Raises the :class:`CommandFailed` that the CLI answers with, or what was said of
        the class, or :class:`AnswerMissing` after ``timeout`` seconds."""
        corr_id = f"{self._prefix}-{next(self._counter)}"
        pending = _Pending(command, encode_command(corr_id, command))
        with self._lock:
            if self._end_reason:
                raise NotConnected(f"{self._end_reason}; {command.keyword} was not sent")
            self._pending[corr_id] = pending
        self._send_queue.put(pending)
        pending.done.wait(timeout)
        with self._lock:
            self._pending.pop(corr_id, None)
            was_sent, pending.state = pending.state != "queued", "over"
        if pending.error is not None:
            raise pending.error
        if pending.record is None:
            raise _make_timeout_error(command, timeout, was_sent=was_sent)
        if pending.record.is_error:
            raise error_from(pending.record, command)
        return pending.record

    def resolve(self, frame: Frame) -> bool:
        """Whether somebody waited for the answer in ``frame``, and has it now."""
        with self._lock:
            pending = self._pending.pop(frame.corr_id, None)
            if pending is None:
                return False
            pending.record = frame.record
            if frame.record is None:
                pending.error = AnswerMissing(
                    f"the SimpleX CLI's answer to {pending.command.keyword} cannot be read: {frame.problem}"
                )
            pending.state = "over"
            pending.done.set()
            return True

    def run_writer(self) -> None:
        """Send what is asked, one after the other, until the exchange ends. Raises what the socket raises."""
        while not self._end_reason:
            item = self._send_queue.get()
            if item is None:
                return
            self._write_started_at = self._clock()
            try:
                self._write_item(item)
            finally:
                self._write_started_at = None

    def _write_item(self, item: object) -> None:
        if item is _PING_REQUEST:
            self._socket.ping()
        if isinstance(item, _Pending):
            with self._lock:
                if item.state != "queued" or self._end_reason:
                    return
                item.state = "sent"
            self._socket.send(item.text)

    def ping(self) -> None:
        """Ask for a sign of life; any byte that comes is one."""
        self._send_queue.put(_PING_REQUEST)

    def close(self, reason: str) -> None:
        """Fail whoever waits, and whoever asks from now on; ``reason`` says why the connection is no more."""
        with self._lock:
            if self._end_reason:
                return
            self._end_reason = reason
            for pending in self._pending.values():
                keyword = pending.command.keyword
                if pending.state == "sent":
                    pending.error = ConnectionLost(f"{reason}, before {keyword} was answered; it may have been done")
                else:
                    pending.error = NotConnected(f"{reason}; {keyword} was not sent")
                pending.state = "over"
                pending.done.set()
            self._pending.clear()
        self._send_queue.put(None)


def _make_timeout_error(command: Command, timeout: float, *, was_sent: bool) -> ChannelError:
    if not was_sent:
        return NotConnected(f"the SimpleX CLI did not take {command.keyword} within {timeout:g} s; it was not sent")
    return AnswerMissing(
        f"the SimpleX CLI did not answer {command.keyword} within {timeout:g} s; it may have been done"
    )
