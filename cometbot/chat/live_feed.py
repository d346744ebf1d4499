"""The listeners of this process, and the thread that delivers the changes of all processes to them."""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Iterable
from contextlib import suppress

import sqlalchemy as sa

from cometbot.chat.feed_table import FeedPosition, FeedTable
from cometbot.chat.models import Data, Signal, Topic
from cometbot.errors import StoreBusy
from cometbot.forking import PerProcess
from cometbot.store.database import Database
from cometbot.store.factory import create_pubsub
from cometbot.store.pubsub import PubSub
from cometbot.store.tables import CONVERSATION_DELETED

log = logging.getLogger(__name__)

MAX_EPHEMERAL_SIZE = 6000
"""The bytes of JSON that the data of an ephemeral signal may have."""

QUEUE_LIMIT = 256
"""The signals that wait for one listener in memory. The others wait in the database."""

POLL_INTERVAL = 2.0
"""The seconds between two polls of the database for changes whose notification was lost."""

FULL_TIMEOUT = 30.0
"""The seconds for which the queue of a listener may be full before the listener is closed."""

_BATCH_LIMIT = 100
_PUBSUB_CHANNEL = "feed"


class Listener:
    """A subscription to some conversations. It receives each signal once, in order.

    At most :data:`QUEUE_LIMIT` signals wait here. If the queue stays full for :data:`FULL_TIMEOUT` seconds, the
    listener is closed. Only one thread may call :meth:`get`; any may call :meth:`close`. The deletion of a conversation
    is the last signal of it: a new one with the same id must be followed again.
    """

    __slots__ = ("_feed", "_overflowed", "_signals", "created_at", "full_since", "is_closed", "positions")

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._signals: queue.SimpleQueue[Signal | None] = queue.SimpleQueue()
        self._overflowed: frozenset[Topic] = frozenset()
        self.positions: dict[Topic, int] = {}
        self.created_at: dict[Topic, int] = {}
        self.full_since: float | None = None
        self.is_closed = False
        """True if no more signals will come and all earlier ones were received."""

    @property
    def has_capacity(self) -> bool:
        """True if the queue has room for another signal."""
        return self._signals.qsize() < QUEUE_LIMIT

    def get(self, timeout: float) -> Signal | None:
        """Return the next signal, or None after ``timeout`` seconds or at the end."""
        if self.is_closed:
            return None
        try:
            signal = self._signals.get(timeout=timeout) if timeout > 0 else self._signals.get_nowait()
        except queue.Empty:
            return None
        if signal is None:
            self.is_closed = True
        if self._overflowed and self._signals.qsize() < QUEUE_LIMIT // 2:
            overflowed, self._overflowed = self._overflowed, frozenset()
            self._feed.request_check(overflowed)
        return signal

    def follow(self, topic: Topic) -> None:
        """Subscribe to another topic from now on."""
        self._feed.add_listener(self, topic)

    def unfollow(self, topic: Topic) -> None:
        """Unsubscribe from a topic."""
        self._feed.remove_listener(self, topic)

    def enqueue(self, signals: Iterable[Signal], topic: Topic, reached: int) -> None:
        """Queue the new ones among ``signals``, as far as there is room. Only the feed's thread may call this."""
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
        """Queue an ephemeral signal, or drop it if there is no room.

        The deletion of a conversation is always queued.
        """
        if self.has_capacity or signal.kind == CONVERSATION_DELETED:
            self._signals.put(signal)

    def finish(self) -> None:
        """End the listener after the signals that already wait."""
        self._signals.put(None)

    def close(self) -> None:
        """Unsubscribe from everything. It may be called several times."""
        self._feed.detach(self)
        self.finish()


class Feed:
    """Delivers the signals of all processes to the listeners of this one.

    The table is the source of truth: processes only notify each other that a conversation has something new, and one
    thread reads the table and passes it on. A poll finds what a lost notification missed a few seconds later. Ephemeral
    signals are sent whole, and may be lost. The threads start with the first listener, and again after a fork.
    """

    def __init__(self, database: Database, feed_table: FeedTable) -> None:
        self._database = database
        self._feed_table = feed_table
        self._start_lock = threading.Lock()
        self._is_closed = False
        self._pubsub = PerProcess(self._create_pubsub)
        self._reset()

    def _reset(self) -> None:
        """Initialize the state of a process without listeners."""
        self._lock = threading.Lock()
        self._listeners: dict[Topic, set[Listener]] = {}
        self._all_listeners: set[Listener] = set()
        self._pending: queue.SimpleQueue[Signal | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def publish(self, signals: Iterable[Signal]) -> None:
        """Notify the listeners of all processes of committed signals. It never waits long and never raises."""
        for signal in signals:
            self._distribute_signal(Signal(signal.topic, signal.kind, signal.position))

    def publish_ephemeral(self, topic: Topic, kind: str, data: Data) -> None:
        """Send a signal that is not stored to the listeners of all processes that are connected now.

        Raises :class:`ValueError` for more than :data:`MAX_EPHEMERAL_SIZE` bytes: split the data.
        """
        if (size := len(json.dumps(data))) > MAX_EPHEMERAL_SIZE:
            raise ValueError(
                f"ephemeral data: expected at most {MAX_EPHEMERAL_SIZE} bytes of JSON, got {size}. Split it."
            )
        self._distribute_signal(Signal(topic, kind, data=data))

    def _distribute_signal(self, signal: Signal) -> None:
        pubsub = self._pubsub.get()
        if signal.topic in self._listeners:
            self._pending.put(signal)
        pubsub.publish(_serialize(signal))

    def listen(self, *topics: Topic, after: int | None = None) -> Listener:
        """Return a listener to ``topics``, from now on or, in conversations, from the position ``after``.

        Do not call it within a transaction, because it reads the database itself. Raises :class:`StoreBusy` if the
        positions of conversations cannot be read.
        """
        self._pubsub.get()
        listener = Listener(self)
        with self._lock:
            self._all_listeners.add(listener)
        for topic in topics:
            self.add_listener(listener, topic, after)
        return listener

    def add_listener(self, listener: Listener, topic: Topic, after: int | None = None) -> None:
        """Subscribe ``listener`` to ``topic``, from now on or from the position ``after``."""
        pubsub = self._pubsub.get()
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
        """Unsubscribe ``listener`` from ``topic``."""
        with self._lock:
            listener.positions.pop(topic, None)
            listener.created_at.pop(topic, None)
            topic_listeners = self._listeners.get(topic, set())
            topic_listeners.discard(listener)
            if not topic_listeners:
                self._listeners.pop(topic, None)

    def detach(self, listener: Listener) -> None:
        """Unsubscribe ``listener`` from all topics."""
        for topic in list(listener.positions):
            self.remove_listener(listener, topic)
        with self._lock:
            self._all_listeners.discard(listener)

    def request_check(self, topics: Iterable[Topic]) -> None:
        """Request a check of the database for new signals in conversations."""
        for topic in topics:
            if topic.is_conversation:
                self._pending.put(Signal(topic, "", position=_UNKNOWN_POSITION))

    def close(self) -> None:
        """End all listeners and threads for good."""
        with self._lock:
            self._is_closed = True
            listeners = list(self._all_listeners)
            self._listeners, self._all_listeners = {}, set()
        for listener in listeners:
            listener.finish()
        pubsub = self._pubsub.existing
        if pubsub is None:
            return
        self._pending.put(None)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5)
        pubsub.close()

    def _create_pubsub(self) -> PubSub:
        """Return the connection to the other processes, for a process that has no listeners yet."""
        self._reset()
        return create_pubsub(self._database, _PUBSUB_CHANNEL)

    def _ensure_thread(self, pubsub: PubSub) -> None:
        if self._thread is not None:
            return
        with self._start_lock:
            if self._thread is None and not self._is_closed:
                self._thread = threading.Thread(target=self._run, name="cometbot-feed", daemon=True)
                self._thread.start()
                pubsub.subscribe(self._on_message)

    def _on_message(self, text: str) -> None:
        """Handle a notification from another process. An empty one means that some may be lost."""
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
        """Like :meth:`_deliver`, but log all errors: this thread serves all listeners of the process."""
        try:
            self._deliver(signal)
        except (StoreBusy, sa.exc.DatabaseError, OSError) as error:
            log.warning("cannot read the feed: %s. Retrying.", error)
        except Exception:
            log.exception("cannot read the feed. Retrying.")

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
        """Return those of ``listeners`` that follow the conversation created at ``created_at``.

        The others receive the deletion of theirs and are unsubscribed. ``listeners`` must not contain any that
        subscribed after ``created_at`` was read.
        """
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
        """Deliver all stored signals that were not delivered yet to the listeners with room for them."""
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
        """Check for signals whose notification was lost, and close slow listeners."""
        with self._lock:
            listeners_by_topic = {
                topic: list(members) for topic, members in self._listeners.items() if topic.is_conversation
            }
        try:
            with self._database.read() as connection:
                positions = self._feed_table.get_positions(connection, listeners_by_topic)
        except Exception as error:
            log.warning("cannot poll the feed: %s. Retrying.", error)
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
                log.info("closed a listener whose queue has been full for %.0f s", FULL_TIMEOUT)
                listener.close()


_UNKNOWN_POSITION = 2**62


def _serialize(signal: Signal) -> str:
    """Return a notification for other processes: an ephemeral signal whole, only the position of a stored one."""
    parts = [*signal.topic, signal.position, signal.kind, {} if signal.position else signal.data]
    return json.dumps(parts, separators=(",", ":"))


def _parse(text: str) -> Signal | None:
    """Parse a notification, or return None if it is invalid: another version may send another format."""
    with suppress(ValueError, TypeError):
        channel, bot, id, position, kind, data = json.loads(text)
        return Signal(Topic(channel, bot, id), kind, int(position), data=data)
    return None
