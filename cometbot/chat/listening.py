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

from cometbot.chat.feed import FeedRows, Reached
from cometbot.chat.models import CONVERSATION_DELETED, Data, Scope, Signal, Topic
from cometbot.errors import StoreBusy
from cometbot.store.broadcast import Broadcast, broadcast
from cometbot.store.database import Database

log = logging.getLogger(__name__)

EPHEMERAL_LIMIT = 6000
"""Bytes of JSON that may be told without being kept."""

CAPACITY = 256
"""Signals that wait for one listener; the others wait in the database."""

CHECK = 2.0
"""Seconds between two looks into the database for what nobody told of."""

SLOW = 30.0
"""Seconds for which a listener may be full."""

_BATCH = 100
_NAME = "feed"


class Listener:
    """What happens in some conversations from now on: each signal once, in order.

    Not more than :data:`CAPACITY` signals wait here. Who takes none for half a minute while they do is ended. One
    thread takes them; any may :meth:`close`. Once a conversation is deleted, all that is heard of it is that: a new one
    of the same id has to be followed anew.
    """

    __slots__ = ("_behind", "_ended", "_feed", "_signals", "births", "full_since", "positions")

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._signals: queue.SimpleQueue[Signal | None] = queue.SimpleQueue()
        self._behind: frozenset[Topic] = frozenset()
        self.positions: dict[Topic, int] = {}
        self.births: dict[Topic, int] = {}
        self.full_since: float | None = None
        self._ended = False

    @property
    def is_closed(self) -> bool:
        """Whether nothing will come any more; what had come before was taken."""
        return self._ended

    @property
    def has_room(self) -> bool:
        """Whether one more signal may wait."""
        return self._signals.qsize() < CAPACITY

    def get(self, timeout: float) -> Signal | None:
        """The next signal; None if there is none within ``timeout`` seconds, or at the end."""
        if self._ended:
            return None
        try:
            signal = self._signals.get(timeout=timeout) if timeout > 0 else self._signals.get_nowait()
        except queue.Empty:
            return None
        if signal is None:
            self._ended = True
        if self._behind and self._signals.qsize() < CAPACITY // 2:
            behind, self._behind = self._behind, frozenset()
            self._feed.ask(behind)
        return signal

    def follow(self, topic: Topic) -> None:
        """Hear what happens there as well, from now on."""
        self._feed.add_listener(self, topic)

    def unfollow(self, topic: Topic) -> None:
        """Hear no more of it."""
        self._feed.remove_listener(self, topic)

    def take(self, signals: Iterable[Signal], topic: Topic, reached: int) -> None:
        """Let what is new among ``signals`` wait, as far as there is room. Called by the feed's one thread only."""
        for signal in signals:
            if signal.position <= self.positions.get(topic, reached):
                continue
            if not self.has_room:
                self._behind |= {topic}
                return
            self._signals.put(signal)
            self.positions[topic] = signal.position
        if topic in self.positions:
            self.positions[topic] = max(reached, self.positions[topic])

    def take_passing(self, signal: Signal) -> None:
        """Let a signal wait that is not kept, or drop it if there is no room. The last of a conversation has room."""
        if self.has_room or signal.kind == CONVERSATION_DELETED:
            self._signals.put(signal)

    def end(self) -> None:
        """Let the listener come to its end after what waits already."""
        self._signals.put(None)

    def close(self) -> None:
        """Listen no more. As often as one likes."""
        self._feed.forget(self)
        self.end()

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

    def __init__(self, database: Database, kept: FeedRows) -> None:
        self._database = database
        self._kept = kept
        self._beginning = threading.Lock()
        self._closed = False
        self._forget_all()
        self._pid = 0

    def _forget_all(self) -> None:
        """As it is in a process in which nobody listens yet."""
        self._guard = threading.Lock()
        self._listeners: dict[Topic, set[Listener]] = {}
        self._all: set[Listener] = set()
        self._inbox: queue.SimpleQueue[Signal | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._others: Broadcast | None = None

    def add(self, connection: Connection, scope: Scope, conversation: str, kind: str, data: Data) -> Signal:
        """What was just told, kept in the feed and nowhere else; to be published after the commit. Raises
        :class:`Missing`."""
        return self._kept.add(connection, scope, conversation, kind, data)

    def publish(self, signals: Iterable[Signal]) -> None:
        """Let listeners everywhere know of what was committed. Never waits long, never raises."""
        for signal in signals:
            self._spread(Signal(signal.topic, signal.kind, signal.position))

    def tell(self, topic: Topic, kind: str, data: Data) -> None:
        """Let listeners everywhere hear something that is not kept; who is away does not hear it.

        Raises ValueError for more than :data:`EPHEMERAL_LIMIT` bytes: split it.
        """
        if len(json.dumps(data)) > EPHEMERAL_LIMIT:
            raise ValueError(f"what is not kept may have {EPHEMERAL_LIMIT} bytes as JSON; tell it in parts")
        self._spread(Signal(topic, kind, data=data))

    def _spread(self, signal: Signal) -> None:
        others = self._begin()
        if signal.topic in self._listeners:
            self._inbox.put(signal)
        others.tell(_to_text(signal))

    def listen(self, *topics: Topic, after: int | None = None) -> Listener:
        """A listener to ``topics``: from now on, or in conversations from the position ``after`` on.

        Not to be called within a transaction, since it asks the database itself. Raises :class:`StoreBusy` if the
        database cannot be asked where conversations are now.
        """
        self._begin()
        listener = Listener(self)
        with self._guard:
            self._all.add(listener)
        for topic in topics:
            self.add_listener(listener, topic, after)
        return listener

    def add_listener(self, listener: Listener, topic: Topic, after: int | None = None) -> None:
        """Let ``listener`` hear what happens in ``topic``."""
        others = self._begin()
        self._begin_listening(others)
        born, position = self._reached(topic)
        with self._guard:
            if self._closed:
                listener.end()
                return
            listener.positions.setdefault(topic, position if after is None else after)
            listener.births.setdefault(topic, born)
            self._listeners.setdefault(topic, set()).add(listener)
        self.ask([topic])

    def _reached(self, topic: Topic) -> Reached:
        if not topic.is_conversation:
            return Reached(0, 0)
        with self._database.read() as connection:
            return self._kept.positions(connection, [topic]).get(topic, Reached(0, 0))

    def remove_listener(self, listener: Listener, topic: Topic) -> None:
        """Let ``listener`` hear no more of ``topic``."""
        with self._guard:
            listener.positions.pop(topic, None)
            listener.births.pop(topic, None)
            here = self._listeners.get(topic, set())
            here.discard(listener)
            if not here:
                self._listeners.pop(topic, None)

    def forget(self, listener: Listener) -> None:
        """Let ``listener`` hear nothing more."""
        for topic in list(listener.positions):
            self.remove_listener(listener, topic)
        with self._guard:
            self._all.discard(listener)

    def ask(self, topics: Iterable[Topic]) -> None:
        """Look into the database for what is new in conversations."""
        for topic in topics:
            if topic.is_conversation:
                self._inbox.put(Signal(topic, "", position=_UNKNOWN))

    @property
    def count(self) -> int:
        """How many listeners there are in this process."""
        return len(self._all)

    def close(self) -> None:
        """End all listeners and all threads, for good."""
        with self._guard:
            self._closed = True
            listeners = list(self._all)
            self._listeners, self._all = {}, set()
        for listener in listeners:
            listener.end()
        if self._pid != os.getpid():
            return
        self._inbox.put(None)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5)
        if self._others is not None:
            self._others.close()

    def _begin(self) -> Broadcast:
        """The way to the other processes, made in this one."""
        if self._pid != os.getpid() or self._others is None:
            with self._beginning:
                if self._pid != os.getpid():
                    self._forget_all()
                    self._pid = os.getpid()
                if self._others is None:
                    self._others = broadcast(self._database, _NAME)
        return self._others

    def _begin_listening(self, others: Broadcast) -> None:
        if self._thread is not None:
            return
        with self._beginning:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._distribute, name="cometbot-feed", daemon=True)
                self._thread.start()
                others.listen(self._hear)

    def _hear(self, text: str) -> None:
        """Take in what another process told; nothing means that something may be missing."""
        if not text:
            self.ask(list(self._listeners))
            return
        signal = _from_text(text)
        if signal is not None and signal.topic in self._listeners:
            self._inbox.put(signal)

    def _distribute(self) -> None:
        inbox, checked = self._inbox, time.monotonic()
        while True:
            try:
                signal = inbox.get(timeout=max(checked + CHECK - time.monotonic(), 0.001))
                if signal is None:
                    return
                self._bring_if_possible(signal)
            except queue.Empty:
                pass
            if time.monotonic() - checked >= CHECK:
                self._check()
                checked = time.monotonic()

    def _here(self, topic: Topic) -> list[Listener]:
        with self._guard:
            return list(self._listeners.get(topic, ()))

    def _bring_if_possible(self, signal: Signal) -> None:
        """As :meth:`_bring`, whatever happens: this thread serves all listeners of the process."""
        try:
            self._bring(signal)
        except (StoreBusy, sa.exc.DatabaseError, OSError) as error:
            log.warning("cannot read what happened, and look again in a moment: %s", error)
        except Exception:
            log.exception("cannot read what happened in an unforeseen way, and look again in a moment")

    def _bring(self, signal: Signal) -> None:
        here = self._here(signal.topic)
        if signal.position:
            if any(listener.positions.get(signal.topic, signal.position) < signal.position for listener in here):
                self._bring_kept(signal.topic)
            return
        if here and signal.topic.is_conversation:
            with self._database.read() as connection:
                born = self._kept.born(connection, signal.topic)
            here = self._still(here, signal.topic, born)
        if signal.kind != CONVERSATION_DELETED:
            for listener in here:
                listener.take_passing(signal)

    def _still(self, here: list[Listener], topic: Topic, born: int) -> list[Listener]:
        """Those of ``here`` who listen to the conversation that was made at ``born``; the others hear that theirs is
        gone. Who came after ``born`` was read must not be among ``here``."""
        still = []
        for listener in here:
            mine = listener.births.get(topic)
            if mine == born and born:
                still.append(listener)
            elif mine is not None:
                listener.take_passing(Signal(topic, CONVERSATION_DELETED))
                self.remove_listener(listener, topic)
        return still

    def _bring_kept(self, topic: Topic) -> None:
        """Hand on all that is in the table and was not handed on yet, to those who have room for it."""
        while eager := [listener for listener in self._here(topic) if listener.has_room]:
            low = min(listener.positions.get(topic, _UNKNOWN) for listener in eager)
            with self._database.read() as connection:
                signals, reached = self._kept.read(connection, topic, low, _BATCH)
                born = self._kept.born(connection, topic)
            for listener in self._still(eager, topic, born):
                listener.take(signals, topic, reached)
            if reached == low:
                return

    def _check(self) -> None:
        """Look for what nobody told of, and for listeners that do not listen."""
        with self._guard:
            here = {topic: list(those) for topic, those in self._listeners.items() if topic.is_conversation}
        try:
            with self._database.read() as connection:
                found = self._kept.positions(connection, here)
        except Exception as error:
            log.warning("cannot look for what happened: %s", error)
            return
        for topic, listeners in here.items():
            born, position = found.get(topic, Reached(0, 0))
            if self._still(listeners, topic, born) and position:
                self._bring_if_possible(Signal(topic, "", position))
        self._end_slow()

    def _end_slow(self) -> None:
        now = time.monotonic()
        with self._guard:
            listeners = list(self._all)
        for listener in listeners:
            if listener.has_room:
                listener.full_since = None
            elif listener.full_since is None:
                listener.full_since = now
            elif now - listener.full_since > SLOW:
                log.info("ended a listener that takes nothing")
                listener.close()


_UNKNOWN = 2**62


def _to_text(signal: Signal) -> str:
    """A hint for other processes: all of what is not kept, and only the place of what is."""
    parts = [*signal.topic, signal.position, signal.kind, {} if signal.position else signal.data]
    return json.dumps(parts, separators=(",", ":"))


def _from_text(text: str) -> Signal | None:
    """The hint in a text, None if it is none: another version may tell otherwise."""
    with suppress(ValueError, TypeError):
        channel, bot, id, position, kind, data = json.loads(text)
        return Signal(Topic(channel, bot, id), kind, int(position), data=data)
    return None
