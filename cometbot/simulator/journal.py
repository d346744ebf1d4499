"""The ordered log of all that happened in the simulator: requests, callbacks and changes, with one row of ids."""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, TypeVar, overload

MASK = "***"
_SECRET_HEADERS = frozenset({"apikey", "authorization", "cookie", "authtoken"})
_SECRET_KEYS = frozenset({"password", "authToken", "apiKey"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What all log entries have: ``id`` grows by one from entry to entry over all kinds, ``at`` is in Unix seconds."""

    id: int
    at: float

    def to_json(self) -> dict[str, Any]:
        """This entry as JSON values; ``kind`` is ``request``, ``callback`` or ``change``."""
        return {"kind": type(self).__name__.removesuffix("Entry").lower(), **asdict(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestEntry(Entry):
    """One REST call. Header names are in lower case, secrets in headers and bodies are ``***``.

    ``status`` is 0 where the connection was closed without an answer; ``misbehaviour`` names the rules that took part.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    status: int = 0
    answer: Any = None
    seconds: float = 0.0
    misbehaviour: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackEntry(Entry):
    """One attempt to tell a bot or a webhook something. Header names are in lower case, secrets are ``***``.

    ``target`` is the bot's uid or the webhook's id; ``attempt`` counts from 1; ``copy`` is over 0 for what was
    doubled on purpose; ``status`` is 0 and ``error`` says why where there was no answer.
    """

    target: str
    url: str
    trigger: str
    message_id: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    status: int = 0
    answer: str = ""
    error: str = ""
    seconds: float = 0.0
    attempt: int = 1
    copy: int = 0

    @property
    def ok(self) -> bool:
        """Whether the receiver took it."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeEntry(Entry):
    """Something changed in the app: ``trigger`` is the name of the app webhook for it, ``data`` what that carries."""

    trigger: str
    data: Mapping[str, Any]


E = TypeVar("E", bound=Entry)


class Log(Sequence[E], Generic[E]):
    """The newest entries of one kind, oldest first; ``dropped`` counts those that made room."""

    def __init__(self, size: int, lock: threading.Condition) -> None:
        self._entries: deque[E] = deque(maxlen=size)
        self._lock = lock
        self.dropped = 0

    def append(self, entry: E) -> None:
        """Keep an entry; the oldest goes if there are too many."""
        with self._lock:
            self.dropped += len(self._entries) == self._entries.maxlen
            self._entries.append(entry)

    def since(self, entry_id: int) -> list[E]:
        """The entries with a greater id, oldest first."""
        newer: list[E] = []
        with self._lock:
            for entry in reversed(self._entries):
                if entry.id <= entry_id:
                    break
                newer.append(entry)
        return newer[::-1]

    def clear(self) -> None:
        """Forget all entries."""
        with self._lock:
            self._entries.clear()
            self.dropped = 0

    @overload
    def __getitem__(self, index: int) -> E: ...
    @overload
    def __getitem__(self, index: slice) -> list[E]: ...
    def __getitem__(self, index: int | slice) -> E | list[E]:
        with self._lock:
            return list(self._entries)[index] if isinstance(index, slice) else self._entries[index]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[E]:
        with self._lock:
            return iter(list(self._entries))


class Journal:
    """The three logs and the row of ids that orders their entries among each other."""

    def __init__(self, size: int, changed: threading.Condition) -> None:
        self._condition = changed
        self._last_id = 0
        self.requests: Log[RequestEntry] = Log(size, changed)
        self.callbacks: Log[CallbackEntry] = Log(size, changed)
        self.changes: Log[ChangeEntry] = Log(size, changed)

    @property
    def last_id(self) -> int:
        """The id of the newest entry, 0 before the first."""
        return self._last_id

    def add_request(self, at: float, **values: Any) -> RequestEntry:
        """The entry that was made of a finished REST call; whoever waits for a change is woken."""
        with self._condition:
            entry = RequestEntry(id=self._next_id(), at=at, **values)
            self.requests.append(entry)
            return entry

    def add_callback(self, at: float, **values: Any) -> CallbackEntry:
        """The entry that was made of a finished callback; whoever waits for a change is woken."""
        with self._condition:
            entry = CallbackEntry(id=self._next_id(), at=at, **values)
            self.callbacks.append(entry)
            return entry

    def add_change(self, at: float, trigger: str, data: Mapping[str, Any]) -> ChangeEntry:
        """The entry that was made of a change in the app; whoever waits for a change is woken."""
        with self._condition:
            entry = ChangeEntry(id=self._next_id(), at=at, trigger=trigger, data=data)
            self.changes.append(entry)
            return entry

    def since(self, entry_id: int, limit: int = 1000) -> list[Entry]:
        """At most ``limit`` entries of all kinds that came after the one with this id, oldest first."""
        with self._condition:
            logs: list[list[Any]] = [
                self.requests.since(entry_id),
                self.callbacks.since(entry_id),
                self.changes.since(entry_id),
            ]
        merged: Iterator[Entry] = heapq.merge(*logs, key=lambda entry: entry.id)
        return [entry for entry, _ in zip(merged, range(limit), strict=False)]

    def clear(self) -> None:
        """Forget all entries; ids go on from where they were, so that a follower sees nothing twice."""
        with self._condition:
            for log in (self.requests, self.callbacks, self.changes):
                log.clear()
            self._condition.notify_all()

    def _next_id(self) -> int:
        self._last_id += 1
        self._condition.notify_all()
        return self._last_id


def mask_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """``headers`` with names in lower case and secret values as ``***``."""
    return {name.lower(): MASK if name.lower() in _SECRET_HEADERS else value for name, value in headers.items()}


def mask_secrets(value: Any) -> Any:
    """A JSON value with every password, key and token in it, at any depth, as ``***``."""
    if isinstance(value, Mapping):
        return {key: MASK if key in _SECRET_KEYS and item else mask_secrets(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mask_secrets(item) for item in value]
    return value
