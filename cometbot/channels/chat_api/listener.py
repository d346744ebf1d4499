"""A stream of signals that reconnects when it breaks, without losing messages."""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import TracebackType
from typing import Any

import orjson
import urllib3

from cometbot.backoff import Backoff
from cometbot.channels.chat_api import schemas
from cometbot.channels.chat_api.models import ApiMessage, MessageCreated, Page, Signal, UnknownSignal
from cometbot.errors import ChannelError, OutcomeUnknown, PayloadError, Rejected
from cometbot.http.sse_parser import SseParser
from cometbot.http.watchdog import shutdown_socket

_log = logging.getLogger(__name__)

_CHUNK_SIZE = 64 * 1024
_QUEUE_SIZE = 1000
_MAX_SEEN_IDS = 1000
_PING_DATA = "ping"
_CREATED = {"message_created": "message", "event_created": "event"}
_SIGNAL = schemas.SignalSchema()
_BACKOFF = Backoff(initial=0.5, maximum=30.0, jitter=0.0)


@dataclass(frozen=True, slots=True)
class OpenStream:
    """A stream whose headers have arrived: its body, and the sockets that abort it."""

    body: Any
    sockets: Sequence[socket.socket]

    def abort(self) -> None:
        """End the stream, even while another thread waits for its next bytes."""
        for connection in self.sockets:
            shutdown_socket(connection, socket.SHUT_RDWR)

    def close(self) -> None:
        """Release the connection. Only the reading thread may call this."""
        with contextlib.suppress(Exception):
            self.body.close()


@dataclass(frozen=True, slots=True)
class _EndOfStream:
    """The end of a stream, and its cause."""

    error: Exception | None = None


class Listener:
    """An iterator over the signals of a conversation, without the server's pings.

    A thread reads the stream. When the stream breaks, the thread reconnects with a growing backoff. Messages that were
    sent in between arrive as :class:`MessageCreated`, those of other users and the bot with ``is_bot`` None. Other
    signals of that time are lost, since no server stores them.

    The iterator ends when the listener is closed. It raises the server's error if this user may no longer listen. A
    slow reader makes the server wait, which may close the stream; no message is lost by that.
    """

    def __init__(
        self,
        connect: Callable[[], OpenStream],
        list_newest: Callable[[str], Page[ApiMessage]],
        *,
        user: str = "",
        reconnects: bool = True,
    ) -> None:
        self._user = user
        self._connect = connect
        self._list_newest = list_newest
        self._reconnects = reconnects
        self._signals: queue.Queue[Signal | _EndOfStream] = queue.Queue(_QUEUE_SIZE)
        self._closed = threading.Event()
        self._seen_ids: deque[str] = deque(maxlen=_MAX_SEEN_IDS)
        self._delivered_ids: deque[str] = deque(maxlen=_MAX_SEEN_IDS)
        self._latest_seen_at: datetime | None = None
        self._end: _EndOfStream | None = None
        self._stream = connect()
        try:
            if reconnects:
                for message in list_newest(""):
                    self._mark_seen(message)
        except BaseException:
            self._stream.abort()
            self._stream.close()
            raise
        self._thread = threading.Thread(target=self._run, name="cometbot-chat-listener", daemon=True)
        self._thread.start()

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Signal]:
        return self

    def __next__(self) -> Signal:
        found = self.get(None)
        if found is None:
            raise StopIteration
        return found

    def get(self, timeout: float | None) -> Signal | None:
        """Return the next signal, or None after ``timeout`` seconds without one or at the end of the stream.

        Raises the server's error if this user may no longer listen.
        """
        if self._end is None:
            try:
                found = self._signals.get(timeout=0 if self._closed.is_set() else timeout)
            except queue.Empty:
                return None
            if not isinstance(found, _EndOfStream):
                return found
            self._end = found
        if self._end.error is not None:
            raise self._end.error
        return None

    @property
    def is_closed(self) -> bool:
        """True if no more signals will arrive."""
        return self._end is not None or self._closed.is_set()

    def answers(self, timeout: float = 30.0, quiet: float = 3.0) -> Iterator[ApiMessage]:
        """Yield the bot's messages.

        The first must arrive within ``timeout`` seconds, each further one within ``quiet`` seconds of the one before.
        """
        ends_at = time.monotonic() + timeout
        while (remaining := ends_at - time.monotonic()) > 0 and not self.is_closed:
            signal = self.get(remaining)
            if isinstance(signal, MessageCreated) and signal.is_bot is not False:
                ends_at = time.monotonic() + quiet
                yield signal.message

    def close(self) -> None:
        """End the stream, and wake a thread that waits for its next signal."""
        self._closed.set()
        self._stream.abort()
        self._enqueue(_EndOfStream())
        if threading.current_thread() is not self._thread:
            self._thread.join(5)

    def _run(self) -> None:
        error: Exception | None = None
        try:
            while not self._closed.is_set():
                self._read(self._stream)
                if self._closed.is_set() or not self._reconnects:
                    break
                self._reconnect()
        except Exception as failure:
            error = failure
        self._stream.abort()
        self._stream.close()
        self._enqueue(_EndOfStream(error))

    def _read(self, stream: OpenStream) -> None:
        """Pass signals on until the stream ends or breaks."""
        reader = SseParser()
        try:
            while chunk := stream.body.read1(_CHUNK_SIZE):
                for data in [data for data in reader.feed(chunk) if data != _PING_DATA]:
                    self._handle(parse_signal(data))
        except (urllib3.exceptions.HTTPError, OSError, ValueError, OutcomeUnknown) as error:
            if not self._closed.is_set():
                _log.info("the stream disconnected: %s", type(error).__name__)
        finally:
            stream.abort()
            stream.close()

    def _handle(self, signal: Signal) -> None:
        if isinstance(signal, MessageCreated):
            if signal.message.id in self._delivered_ids:
                return
            self._mark_seen(signal.message)
            self._delivered_ids.append(signal.message.id)
        self._enqueue(signal)

    def _reconnect(self) -> None:
        """Retry until connected or closed. Raises :class:`Rejected` if the server refuses this user."""
        failures = 0
        while not self._closed.wait(_BACKOFF.delay(failures)):
            try:
                self._stream = self._connect()
                for message in self._fetch_missed():
                    self._handle(MessageCreated(message, False if message.user_id == self._user else None))
                return
            except Rejected:
                raise
            except ChannelError as error:
                _log.info("cannot reconnect the stream: %s; will retry", error)
                failures += 1

    def _fetch_missed(self) -> list[ApiMessage]:
        """Return the messages since the last known one, oldest first; about a thousand at most."""
        missed: list[ApiMessage] = []
        token, is_complete = "", False
        while not is_complete and len(missed) < _MAX_SEEN_IDS:
            page = self._list_newest(token)
            new = [message for message in page if self._is_new(message)]
            missed += new
            token, is_complete = page.next_token, len(new) < len(page) or not page.next_token
        return missed[::-1]

    def _is_new(self, message: ApiMessage) -> bool:
        if self._latest_seen_at is None or message.created_at > self._latest_seen_at:
            return True
        return message.created_at == self._latest_seen_at and message.id not in self._seen_ids

    def _mark_seen(self, message: ApiMessage) -> None:
        self._seen_ids.append(message.id)
        if self._latest_seen_at is None or message.created_at > self._latest_seen_at:
            self._latest_seen_at = message.created_at

    def _enqueue(self, item: Signal | _EndOfStream) -> None:
        """Queue an item for the iterator. Wait for room until the listener is closed."""
        while True:
            with contextlib.suppress(queue.Full):
                self._signals.put(item, timeout=0 if self._closed.is_set() else 1)
                return
            if self._closed.is_set():
                return


def parse_signal(text: str) -> Signal:
    """Return the signal in the data of a server-sent event; :class:`UnknownSignal` if it is invalid or not known."""
    try:
        envelope = schemas.load(_SIGNAL, orjson.loads(text), "signal")
        kind, data = envelope["type"], envelope["data"]
        if kind not in schemas.SIGNALS:
            return UnknownSignal(raw=text)
        if kind in _CREATED:  # the object's members stand beside isBot
            data = {**data, _CREATED[kind]: data}
        signal: Signal = schemas.load(schemas.SIGNALS[kind], data, "signal")
        return replace(signal, raw=text)
    except (ValueError, PayloadError):
        return UnknownSignal(raw=text)
