"""Limits the connections of a process, so that files remain for its database and its handlers."""

from __future__ import annotations

import resource
from contextlib import suppress

from cometbot.settings import Settings

BASE_CONNECTIONS = 1000
"""Connections of a process beside its event streams, where enough files may be open."""

RESERVED_FILES = 256
RESERVED_FILES_PER_THREAD = 4
"""Files that are left to all else: the database's pool, and for each thread a request of its own and what it reads."""

OTHER_FILES = 512

REMEDY = "raise LimitNOFILE= in systemd, --ulimit nofile= in Docker, or ulimit -n"


def connection_limit(settings: Settings, files: int | None = None) -> int:
    """Return how many connections a process may hold where ``files`` may be open (None: this system's hard limit).

    At least half of the files are for connections, however few there are.
    """
    wanted = wanted_connections(settings)
    allowed = hard_limit() if files is None else files
    if allowed == resource.RLIM_INFINITY:
        return wanted
    reserve = RESERVED_FILES + RESERVED_FILES_PER_THREAD * (settings.threads + settings.handler_threads)
    return max(1, min(wanted, max(allowed - reserve, allowed // 2)))


def wanted_connections(settings: Settings) -> int:
    """Return how many connections a process holds where the number of files does not bound them."""
    return BASE_CONNECTIONS + settings.max_open_streams


def hard_limit() -> int:
    """Return the number of files that the system lets a process open at most."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def describe_shortage(settings: Settings, files: int | None = None) -> str:
    """Return what a low limit of open files costs; empty where nothing is lost.

    ``files`` may be open (None: this system's hard limit).
    """
    allowed, wanted = connection_limit(settings, files), wanted_connections(settings)
    if allowed >= wanted:
        return ""
    return (
        f"expected a limit of {needed_files(wanted)} for {wanted} connections a process, "
        f"got {hard_limit() if files is None else files}, which allows {allowed}"
    )


def needed_files(connections: int) -> int:
    """Return how many files a process with so many connections may need."""
    return connections * 2 + OTHER_FILES


def raise_limit(files: int) -> None:
    """Raise this process's limit to ``files`` open files, as far as the system's hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = files if hard == resource.RLIM_INFINITY else min(files, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
