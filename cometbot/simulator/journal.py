"""The ordered log of the simulator: requests, callbacks and changes, numbered in one sequence."""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, TypeVar, overload

MASK = "***"
_SECRET_HEADERS = frozenset({"apikey", "authorization", "cookie", "authtoken"})
_SECRET_KEYS = frozenset({"password", "authToken", "apiKey", "headers"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Base of all log entries. ``id`` increases by one per entry, over all kinds. ``at`` is in Unix seconds."""

    id: int
    at: float

    def to_json(self) -> dict[str, Any]:
        """Return this entry as JSON values. ``kind`` is ``request``, ``callback`` or ``change``."""
        return {"kind": type(self).__name__.removesuffix("Entry").lower(), **asdict(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestEntry(Entry):
    """One REST call. Header names are in lower case; secrets in headers and bodies are ``***``.

    ``status`` is 0 if the connection was closed without a response. ``misbehaviour`` names the rules that applied.
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
    """One attempt to deliver a callback to a bot or a webhook. Header names are in lower case; secrets are ``***``.

    ``target`` is the bot's uid or the webhook's id. ``attempt`` counts from 1. ``copy`` is over 0 for a deliberate
    duplicate. Without a response, ``status`` is 0 and ``error`` holds the cause.
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
        """True if the receiver accepted the callback (2xx)."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeEntry(Entry):
    """A change in the app. ``trigger`` is the name of the app webhook for it, ``data`` the payload of that webhook."""

    trigger: str
    data: Mapping[str, Any]


E = TypeVar("E", bound=Entry)


class Log(Sequence[E], Generic[E]):
    """The newest entries of one kind, oldest first. ``dropped`` counts the older entries that were evicted."""

    def __init__(self, size: int, lock: threading.Condition) -> None:
        self._entries: deque[E] = deque(maxlen=size)
        self._lock = lock
        self.dropped = 0

    def append(self, entry: E) -> None:
        """Append an entry and evict the oldest if the log is full."""
        with self._lock:
            self.dropped += len(self._entries) == self._entries.maxlen
            self._entries.append(entry)

    def since(self, entry_id: int) -> list[E]:
        """Return the entries with a greater id, oldest first."""
        newer: list[E] = []
        with self._lock:
            for entry in reversed(self._entries):
                if entry.id <= entry_id:
                    break
                newer.append(entry)
        return newer[::-1]

    def clear(self) -> None:
        """Remove all entries and reset ``dropped``."""
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
    """The three logs, whose entries share one sequence of ids."""

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
        """Log a finished REST call, notify all waiters and return the entry."""
        return self._add(self.requests, RequestEntry, at, values)

    def add_callback(self, at: float, **values: Any) -> CallbackEntry:
        """Log a finished callback, notify all waiters and return the entry."""
        return self._add(self.callbacks, CallbackEntry, at, values)

    def add_change(self, at: float, trigger: str, data: Mapping[str, Any]) -> ChangeEntry:
        """Log a change in the app, notify all waiters and return the entry."""
        return self._add(self.changes, ChangeEntry, at, {"trigger": trigger, "data": data})

    def since(self, entry_id: int, limit: int = 1000) -> list[Entry]:
        """Return at most ``limit`` entries of all kinds with a greater id, oldest first."""
        with self._condition:
            logs: list[list[Any]] = [
                self.requests.since(entry_id),
                self.callbacks.since(entry_id),
                self.changes.since(entry_id),
            ]
        merged: Iterator[Entry] = heapq.merge(*logs, key=lambda entry: entry.id)
        return [entry for entry, _ in zip(merged, range(limit), strict=False)]

    def clear(self) -> None:
        """Remove all entries. Ids continue to increase, so that a follower receives nothing twice."""
        with self._condition:
            for log in (self.requests, self.callbacks, self.changes):
                log.clear()
            self._condition.notify_all()

    def _add(self, log: Log[E], kind: type[E], at: float, values: Mapping[str, Any]) -> E:
        with self._condition:
            self._last_id += 1
            entry = kind(id=self._last_id, at=at, **values)
            log.append(entry)
            self._condition.notify_all()
            return entry


def mask_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return ``headers`` with names in lower case and secret values replaced by ``***``."""
    return {name.lower(): MASK if name.lower() in _SECRET_HEADERS else value for name, value in headers.items()}


def mask_secrets(value: Any) -> Any:
    """Return a JSON value with every password, key, token and agent's headers, at any depth, replaced by ``***``."""
    if isinstance(value, Mapping):
        return {key: MASK if key in _SECRET_KEYS and item else mask_secrets(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mask_secrets(item) for item in value]
    return value
