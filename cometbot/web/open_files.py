"""Limits the connections of a process, so that files remain for its database and its handlers."""

from __future__ import annotations

import resource
from contextlib import suppress

from cometbot.settings import Settings

BASE_CONNECTIONS = 1000
"""Connections of a process in addition to its event streams, if the limit of open files allows."""

RESERVED_FILES = 256
RESERVED_FILES_PER_THREAD = 4
"""Files reserved for everything else: the database's pool, and each thread's outgoing request and open files."""

OTHER_FILES = 512
FILES_PER_HANDLER = 2

REMEDY = "raise LimitNOFILE= in systemd, --ulimit nofile= in Docker, or ulimit -n"


def connection_limit(settings: Settings, files: int | None = None) -> int:
    """Return how many connections a process may hold if ``files`` may be open (None: this system's hard limit).

    Connections get at least half of the files, even if there are few.
    """
    wanted = wanted_connections(settings)
    allowed = hard_limit() if files is None else files
    if allowed == resource.RLIM_INFINITY:
        return wanted
    threads = settings.threads + settings.max_moderations + settings.handler_threads
    reserve = RESERVED_FILES + RESERVED_FILES_PER_THREAD * threads
    return max(1, min(wanted, max(allowed - reserve, allowed // 2)))


def handler_limit(settings: Settings, files: int | None = None) -> int:
    """Return how many handlers may run at a time in a process if ``files`` may be open (None: the hard limit).

    Each may have a request to its platform, and one of its own. The kept threads are counted with the reserve.
    """
    allowed = hard_limit() if files is None else files
    if allowed == resource.RLIM_INFINITY:
        return settings.max_handler_threads
    rest = allowed - needed_files(connection_limit(settings, allowed))
    return max(settings.handler_threads, min(settings.max_handler_threads, rest // FILES_PER_HANDLER))


def wanted_connections(settings: Settings) -> int:
    """Return how many connections a process holds if the number of files does not limit them."""
    return BASE_CONNECTIONS + settings.max_open_streams


def hard_limit() -> int:
    """Return the maximum number of open files that the system allows a process."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def describe_shortage(settings: Settings, files: int | None = None) -> str:
    """Return a text that says how many connections a low limit of open files allows, or "" if it allows all.

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
    """Return how many files a process with ``connections`` connections may need."""
    return connections * 2 + OTHER_FILES


def raise_limit(files: int) -> None:
    """Raise this process's limit to ``files`` open files, as far as the system's hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = files if hard == resource.RLIM_INFINITY else min(files, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
