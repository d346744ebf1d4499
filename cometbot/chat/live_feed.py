"""Who listens to which conversation, in this process, and how what happened anywhere reaches them."""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cometbot.chat.feed_table import FeedPosition, FeedTable
from cometbot.chat.models import CONVERSATION_DELETED, Data, Scope, Signal, Topic
from cometbot.errors import StoreBusy
from cometbot.store.database import Database
from cometbot.store.pubsub import PubSub, create_pubsub

log = logging.getLogger(__name__)

MAX_EPHEMERAL_SIZE = 6000
"""Bytes of JSON that may be told without being kept."""

QUEUE_LIMIT = 256
"""Signals that wait for one listener; the others wait in the database."""

POLL_INTERVAL = 2.0
"""Seconds between two looks into the database for what nobody told of."""

FULL_TIMEOUT = 30.0
"""Seconds for which a listener may be full."""

_BATCH_LIMIT = 100
_PUBSUB_CHANNEL = "feed"


class Listener:
    """What happens in some conversations from now on: each signal once, in order.

    Not more than :data:`QUEUE_LIMIT` signals wait here. Who takes none for half a minute while they do is ended. One
    thread takes them; any may :meth:`close`. Once a conversation is deleted, all that is heard of it is that: a new one
    of the same id has to be followed anew.
    """

    __slots__ = ("_feed", "_is_closed", "_overflowed", "_signals", "created_at", "full_since", "positions")

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._signals: queue.SimpleQueue[Signal | None] = queue.SimpleQueue()
        self._overflowed: frozenset[Topic] = frozenset()
        self.positions: dict[Topic, int] = {}
        self.created_at: dict[Topic, int] = {}
        self.full_since: float | None = None
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Whether nothing will come any more; what had come before was taken."""
        return self._is_closed

    @property
    def has_capacity(self) -> bool:
        """Whether one more signal may wait."""
        return self._signals.qsize() < QUEUE_LIMIT

    def get(self, timeout: float) -> Signal | None:
        """The next signal; None if there is none within ``timeout`` seconds, or at the end."""
        if self._is_closed:
            return None
        try:
            signal = self._signals.get(timeout=timeout) if timeout > 0 else self._signals.get_nowait()
        except queue.Empty:
            return None
        if signal is None:
            self._is_closed = True
        if self._overflowed and self._signals.qsize() < QUEUE_LIMIT // 2:
            overflowed, self._overflowed = self._overflowed, frozenset()
            self._feed.request_check(overflowed)
        return signal

    def follow(self, topic: Topic) -> None:
        """Hear what happens there as well, from now on."""
        self._feed.add_listener(self, topic)

    def unfollow(self, topic: Topic) -> None:
        """Hear no more of it."""
        self._feed.remove_listener(self, topic)

    def enqueue(self, signals: Iterable[Signal], topic: Topic, reached: int) -> None:
        """Let what is new among ``signals`` wait, as far as there is room. Called by the feed's one thread only."""
        for signal in signals:
            if signal.position <= self.positions.get(topic, reached):
                continue
            if not self.has_capacity:
                self._overflowed |= {topic}
                return
            self._signals.put(signal)
            self.positions[topic] = signal.position
        if topic in self.positions:
            self.positions[topic] = max(reached, self.positions[topic])

    def enqueue_ephemeral(self, signal: Signal) -> None:
        """Let a signal wait that is not kept, or drop it if there is no room. The last of a conversation has room."""
        if self.has_capacity or signal.kind == CONVERSATION_DELETED:
            self._signals.put(signal)

    def finish(self) -> None:
        """Let the listener come to its end after what waits already."""
        self._signals.put(None)

    def close(self) -> None:
        """Listen no more. As often as one likes."""
        self._feed.detach(self)
        self.finish()

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class Feed:
    """Brings what happens in any process to the listeners of this one.

    The truth is the table: processes only tell each other that there is something new in a conversation, and one thread
    reads it there and hands it on. What got lost on the way is found a few seconds later. What is not kept travels
    whole, and may be lost. Threads begin with the first listener, anew after a fork.
    """

    def __init__(self, database: Database, feed_table: FeedTable) -> None:
        self._database = database
        self._feed_table = feed_table
        self._start_lock = threading.Lock()
        self._is_closed = False
        self._reset()
        self._pid = 0

    def _reset(self) -> None:
        """As it is in a process in which nobody listens yet."""
        self._lock = threading.Lock()
        self._listeners: dict[Topic, set[Listener]] = {}
        self._all_listeners: set[Listener] = set()
        self._pending: queue.SimpleQueue[Signal | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._pubsub: PubSub | None = None

    def add(self, connection: Connection, scope: Scope, conversation: str, kind: str, data: Data) -> Signal:
        """What was just told, kept in the feed and nowhere else; to be published after the commit. Raises
        :class:`Missing`."""
        return self._feed_table.add(connection, scope, conversation, kind, data)

    def publish(self, signals: Iterable[Signal]) -> None:
        """Let listeners everywhere know of what was committed. Never waits long, never raises."""
        for signal in signals:
            self._distribute_signal(Signal(signal.topic, signal.kind, signal.position))

    def publish_ephemeral(self, topic: Topic, kind: str, data: Data) -> None:
        """Let listeners everywhere hear something that is not kept; who is away does not hear it.

        Raises ValueError for more than :data:`MAX_EPHEMERAL_SIZE` bytes: split it.
        """
        if len(json.dumps(data)) > MAX_EPHEMERAL_SIZE:
            raise ValueError(f"what is not kept may have {MAX_EPHEMERAL_SIZE} bytes as JSON; tell it in parts")
        self._distribute_signal(Signal(topic, kind, data=data))

    def _distribute_signal(self, signal: Signal) -> None:
        pubsub = self._ensure_pubsub()
        if signal.topic in self._listeners:
            self._pending.put(signal)
        pubsub.publish(_serialize(signal))

    def listen(self, *topics: Topic, after: int | None = None) -> Listener:
        """A listener to ``topics``: from now on, or in conversations from the position ``after`` on.

        Not to be called within a transaction, since it asks the database itself. Raises :class:`StoreBusy` if the
        database cannot be asked where conversations are now.
        """
        self._ensure_pubsub()
        listener = Listener(self)
        with self._lock:
            self._all_listeners.add(listener)
        for topic in topics:
            self.add_listener(listener, topic, after)
        return listener

    def add_listener(self, listener: Listener, topic: Topic, after: int | None = None) -> None:
        """Let ``listener`` hear what happens in ``topic``."""
        pubsub = self._ensure_pubsub()
        self._ensure_thread(pubsub)
        created_at, position = self._current_position(topic)
        with self._lock:
            if self._is_closed:
                listener.finish()
                return
            listener.positions.setdefault(topic, position if after is None else after)
            listener.created_at.setdefault(topic, created_at)
            self._listeners.setdefault(topic, set()).add(listener)
        self.request_check([topic])

    def _current_position(self, topic: Topic) -> FeedPosition:
        if not topic.is_conversation:
            return FeedPosition(0, 0)
        with self._database.read() as connection:
            return self._feed_table.get_positions(connection, [topic]).get(topic, FeedPosition(0, 0))

    def remove_listener(self, listener: Listener, topic: Topic) -> None:
        """Let ``listener`` hear no more of ``topic``."""
        with self._lock:
            listener.positions.pop(topic, None)
            listener.created_at.pop(topic, None)
            topic_listeners = self._listeners.get(topic, set())
            topic_listeners.discard(listener)
            if not topic_listeners:
                self._listeners.pop(topic, None)

    def detach(self, listener: Listener) -> None:
        """Let ``listener`` hear nothing more."""
        for topic in list(listener.positions):
            self.remove_listener(listener, topic)
        with self._lock:
            self._all_listeners.discard(listener)

    def request_check(self, topics: Iterable[Topic]) -> None:
        """Look into the database for what is new in conversations."""
        for topic in topics:
            if topic.is_conversation:
                self._pending.put(Signal(topic, "", position=_UNKNOWN_POSITION))

    @property
    def count(self) -> int:
        """How many listeners there are in this process."""
        return len(self._all_listeners)

    def close(self) -> None:
        """End all listeners and all threads, for good."""
        with self._lock:
            self._is_closed = True
            listeners = list(self._all_listeners)
            self._listeners, self._all_listeners = {}, set()
        for listener in listeners:
            listener.finish()
        if self._pid != os.getpid():
            return
        self._pending.put(None)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5)
        if self._pubsub is not None:
            self._pubsub.close()

    def _ensure_pubsub(self) -> PubSub:
        """The way to the other processes, made in this one."""
        if self._pid != os.getpid() or self._pubsub is None:
            with self._start_lock:
                if self._pid != os.getpid():
                    self._reset()
                    self._pid = os.getpid()
                if self._pubsub is None:
                    self._pubsub = create_pubsub(self._database, _PUBSUB_CHANNEL)
        return self._pubsub

    def _ensure_thread(self, pubsub: PubSub) -> None:
        if self._thread is not None:
            return
        with self._start_lock:
            if self._thread is None and not self._is_closed:
                self._thread = threading.Thread(target=self._run, name="cometbot-feed", daemon=True)
                self._thread.start()
                pubsub.subscribe(self._on_message)

    def _on_message(self, text: str) -> None:
        """Take in what another process told; nothing means that something may be missing."""
        if not text:
            self.request_check(list(self._listeners))
            return
        signal = _parse(text)
        if signal is not None and signal.topic in self._listeners:
            self._pending.put(signal)

    def _run(self) -> None:
        pending, polled_at = self._pending, time.monotonic()
        while True:
            try:
                signal = pending.get(timeout=max(polled_at + POLL_INTERVAL - time.monotonic(), 0.001))
                if signal is None:
                    return
                self._try_deliver(signal)
            except queue.Empty:
                pass
            if time.monotonic() - polled_at >= POLL_INTERVAL:
                self._poll()
                polled_at = time.monotonic()

    def _listeners_of(self, topic: Topic) -> list[Listener]:
        with self._lock:
            return list(self._listeners.get(topic, ()))

    def _try_deliver(self, signal: Signal) -> None:
        """As :meth:`_deliver`, whatever happens: this thread serves all listeners of the process."""
        try:
            self._deliver(signal)
        except (StoreBusy, sa.exc.DatabaseError, OSError) as error:
            log.warning("cannot read what happened, and look again in a moment: %s", error)
        except Exception:
            log.exception("cannot read what happened in an unforeseen way, and look again in a moment")

    def _deliver(self, signal: Signal) -> None:
        listeners = self._listeners_of(signal.topic)
        if signal.position:
            if any(listener.positions.get(signal.topic, signal.position) < signal.position for listener in listeners):
                self._deliver_stored(signal.topic)
            return
        if listeners and signal.topic.is_conversation:
            with self._database.read() as connection:
                created_at = self._feed_table.get_created_at(connection, signal.topic)
            listeners = self._remove_stale(listeners, signal.topic, created_at)
        if signal.kind != CONVERSATION_DELETED:
            for listener in listeners:
                listener.enqueue_ephemeral(signal)

    def _remove_stale(self, listeners: list[Listener], topic: Topic, created_at: int) -> list[Listener]:
        """Those of ``here`` who listen to the conversation that was made at ``born``; the others hear that theirs is
        gone. Who came after ``born`` was read must not be among ``here``."""
        remaining = []
        for listener in listeners:
            followed_created_at = listener.created_at.get(topic)
            if followed_created_at == created_at and created_at:
                remaining.append(listener)
            elif followed_created_at is not None:
                listener.enqueue_ephemeral(Signal(topic, CONVERSATION_DELETED))
                self.remove_listener(listener, topic)
        return remaining

    def _deliver_stored(self, topic: Topic) -> None:
        """Hand on all that is in the table and was not handed on yet, to those who have room for it."""
        while ready := [listener for listener in self._listeners_of(topic) if listener.has_capacity]:
            start = min(listener.positions.get(topic, _UNKNOWN_POSITION) for listener in ready)
            with self._database.read() as connection:
                signals, position = self._feed_table.read(connection, topic, start, _BATCH_LIMIT)
                created_at = self._feed_table.get_created_at(connection, topic)
            for listener in self._remove_stale(ready, topic, created_at):
                listener.enqueue(signals, topic, position)
            if position == start:
                return

    def _poll(self) -> None:
        """Look for what nobody told of, and for listeners that do not listen."""
        with self._lock:
            listeners_by_topic = {
                topic: list(members) for topic, members in self._listeners.items() if topic.is_conversation
            }
        try:
            with self._database.read() as connection:
                positions = self._feed_table.get_positions(connection, listeners_by_topic)
        except Exception as error:
            log.warning("cannot look for what happened: %s", error)
            return
        for topic, listeners in listeners_by_topic.items():
            created_at, position = positions.get(topic, FeedPosition(0, 0))
            if self._remove_stale(listeners, topic, created_at) and position:
                self._try_deliver(Signal(topic, "", position))
        self._close_slow()

    def _close_slow(self) -> None:
        now = time.monotonic()
        with self._lock:
            listeners = list(self._all_listeners)
        for listener in listeners:
            if listener.has_capacity:
                listener.full_since = None
            elif listener.full_since is None:
                listener.full_since = now
            elif now - listener.full_since > FULL_TIMEOUT:
                log.info("ended a listener that takes nothing")
                listener.close()


_UNKNOWN_POSITION = 2**62


def _serialize(signal: Signal) -> str:
    """A hint for other processes: all of what is not kept, and only the place of what is."""
    parts = [*signal.topic, signal.position, signal.kind, {} if signal.position else signal.data]
    return json.dumps(parts, separators=(",", ":"))


def _parse(text: str) -> Signal | None:
    """The hint in a text, None if it is none: another version may tell otherwise."""
    with suppress(ValueError, TypeError):
        channel, bot, id, position, kind, data = json.loads(text)
        return Signal(Topic(channel, bot, id), kind, int(position), data=data)
    return None
