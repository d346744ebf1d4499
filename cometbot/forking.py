"""Values and resources that a forked child does not share with its parent: threads, connections, file descriptors."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakSet

T = TypeVar("T")


class SupportsClose(Protocol):
    """A listener, a client's connection, or anything else with a file descriptor."""

    def close(self) -> object:
        """Close the file descriptor."""
        ...


class PerProcess(Generic[T]):
    """A value that each process creates when it needs it first, such as a thread or a pool of connections.

    A forked child creates its own. It neither uses nor closes its parent's, because no thread survives a fork, and a
    connection that two processes use or close breaks for both.
    """

    def __init__(self, create: Callable[[], T]) -> None:
        self._create = create
        self._lock = threading.RLock()
        self.existing: T | None = None
        """The value, or None if this process has not created it."""
        _values.add(self)

    def get(self) -> T:
        """Return the value of this process. Raises any exception of ``create``, which the next call repeats."""
        value = self.existing
        if value is None:
            with self._lock:
                if self.existing is None:
                    self.existing = self._create()
                value = self.existing
        return value

    def clear(self) -> T | None:
        """Forget the value, so that :meth:`get` creates another one; return the forgotten one."""
        with self._lock:
            value, self.existing = self.existing, None
            return value

    def _reset_after_fork(self) -> None:
        self._lock = threading.RLock()  # another thread of the parent may have held it
        if self.existing is not None:
            _inherited.append(self.existing)  # garbage collection would close the parent's connections
        self.existing = None


def close_in_children(resource: SupportsClose) -> None:
    """Close ``resource`` in every child that this process forks from now on.

    ``os.fork`` and ``multiprocessing`` copy all file descriptors. A child that outlives the server would hold its port
    open, and clients whose connections the server closed would still wait for an answer.
    """
    _resources.add(resource)


_inherited: list[Any] = []
_values: WeakSet[PerProcess[Any]] = WeakSet()
_resources: WeakSet[SupportsClose] = WeakSet()


def _run_in_child() -> None:
    for value in list(_values):
        value._reset_after_fork()
    for resource in list(_resources):
        with suppress(OSError):
            resource.close()
    _resources.clear()


os.register_at_fork(after_in_child=_run_in_child)
