"""Resources that a process forked by a handler must not inherit."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Protocol
from weakref import WeakSet


class SupportsClose(Protocol):
    """A listener, a client's connection, or anything else with a file descriptor."""

    def close(self) -> object:
        """Close the file descriptor."""
        ...


_resources: WeakSet[SupportsClose] = WeakSet()


def close_in_children(resource: SupportsClose) -> None:
    """Close ``resource`` in every child that this process forks from now on.

    ``os.fork`` and ``multiprocessing`` copy all file descriptors. A child that outlives the server would hold its port
    open, and clients whose connections the server closed would still wait for an answer.
    """
    _resources.add(resource)


def _close_all() -> None:
    for resource in list(_resources):
        with suppress(OSError):
            resource.close()
    _resources.clear()


os.register_at_fork(after_in_child=_close_all)
