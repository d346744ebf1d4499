"""Sends commands over one socket, many at a time, and matches answers in any order by their correlation ids."""

from __future__ import annotations

import itertools
import queue
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError  # the built-in one only from Python 3.11 on
from dataclasses import dataclass, field
from typing import Protocol

from cometbot.channels.simplex.errors import AnswerMissing, ConnectionLost, NotConnected, error_from
from cometbot.channels.simplex.protocol import Command, Frame, Record, encode_command
from cometbot.errors import ChannelError

_PING_REQUEST = object()


class Socket(Protocol):
    """The methods of a WebSocket that the multiplexer needs."""

    def send(self, message: str, /) -> None:
        """Send a text frame."""
        ...

    def ping(self) -> object:
        """Send a ping."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Pending:
    """A command in flight. Its ``answer`` is pending, then running once it is sent, then done or cancelled."""

    command: Command
    text: str
    answer: Future[Record] = field(default_factory=Future)


class CommandMultiplexer:
    """The commands and answers of one socket, from its opening to its end.

    :meth:`send_command` may be called by many threads. One thread runs :meth:`run_writer`; another passes the frames
    that it reads to :meth:`resolve`. After :meth:`close` pending commands fail and nothing more is sent: a command that
    was sent fails with :class:`ConnectionLost`, one that was not with :class:`NotConnected`.
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
        """The number of commands that wait for their answer."""
        return len(self._pending)

    @property
    def blocked_seconds(self) -> float:
        """Seconds for which the current write has been blocked; 0 if nothing is being written."""
        since = self._write_started_at
        return 0.0 if since is None else self._clock() - since

    def send_command(self, command: Command, timeout: float) -> Record:
        """Send ``command`` and return its answer.

        Raises the :class:`CommandFailed` of the CLI's answer, :class:`NotConnected` or :class:`ConnectionLost` as
        described for the class, or :class:`AnswerMissing` (:class:`NotConnected` if it was not sent) after ``timeout``
        seconds.
        """
        corr_id = f"{self._prefix}-{next(self._counter)}"
        pending = _Pending(command, encode_command(corr_id, command))
        with self._lock:
            if self._end_reason:
                raise NotConnected(f"{self._end_reason}; {command.keyword} was not sent")
            self._pending[corr_id] = pending
        self._send_queue.put(pending)
        try:
            record = pending.answer.result(timeout)
        except CancelledError:
            raise NotConnected(f"{self._end_reason}; {command.keyword} was not sent") from None
        except FutureTimeoutError:
            if pending.answer.cancel() or not pending.answer.done():
                raise _make_timeout_error(command, timeout, was_sent=not pending.answer.cancelled()) from None
            record = pending.answer.result()
        finally:
            with self._lock:
                self._pending.pop(corr_id, None)
        if record.is_error:
            raise error_from(record, command)
        return record

    def resolve(self, frame: Frame) -> bool:
        """Pass the response in ``frame`` to the command that waits for it. Return False if none does."""
        with self._lock:
            pending = self._pending.get(frame.corr_id)
            if pending is None or not pending.answer.running():  # an answer to a command that was not sent yet
                return False
            del self._pending[frame.corr_id]
        if frame.record is None:
            text = f"the SimpleX CLI's answer to {pending.command.keyword} cannot be read: {frame.problem}"
            pending.answer.set_exception(AnswerMissing(text))
        else:
            pending.answer.set_result(frame.record)
        return True

    def run_writer(self) -> None:
        """Send queued commands one after the other until :meth:`close`. Raises the socket's errors."""
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
        elif isinstance(item, _Pending) and item.answer.set_running_or_notify_cancel():
            self._socket.send(item.text)

    def ping(self) -> None:
        """Queue a ping. Any byte that the peer sends shows that it is alive."""
        self._send_queue.put(_PING_REQUEST)

    def close(self, reason: str) -> None:
        """Fail pending and future commands with ``reason``, which says why the connection ended."""
        with self._lock:
            if self._end_reason:
                return
            self._end_reason = reason
            pending_commands = list(self._pending.values())
            self._pending.clear()
        for pending in pending_commands:
            if not pending.answer.cancel():
                keyword = pending.command.keyword
                text = f"{reason}, before {keyword} was answered; it may have been done"
                pending.answer.set_exception(ConnectionLost(text))
        self._send_queue.put(None)


def _make_timeout_error(command: Command, timeout: float, *, was_sent: bool) -> ChannelError:
    if not was_sent:
        return NotConnected(f"the SimpleX CLI did not take {command.keyword} within {timeout:g} s; it was not sent")
    return AnswerMissing(
        f"the SimpleX CLI did not answer {command.keyword} within {timeout:g} s; it may have been done"
    )
