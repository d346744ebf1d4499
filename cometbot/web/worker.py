"""gunicorn's threaded worker, with a limit to how long a request's head may take."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from cometbot.http.limits import WATCHDOG

HEAD_TIMEOUT = 10.0
"""Seconds from the moment that a thread takes a connection until the request's headers are whole."""


class Worker(ThreadWorker):  # type: ignore[misc]
    """A worker whose threads cannot be held by clients that begin a request and go on slowly, or not at all.

    gunicorn reads headers from a blocking socket and its worker time-out does not see threads, so that as many such
    clients as there are threads would silence a bot for good. What follows the headers has its own limits.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._of_thread = threading.local()

    def handle(self, conn: Any) -> Any:
        """Whether the connection stays open, after at most one request on it."""
        with ExitStack() as head:
            deadline = head.enter_context(WATCHDOG.within(HEAD_TIMEOUT))
            WATCHDOG.guard(deadline, conn.sock)
            self._of_thread.head = head
            return super().handle(conn)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """The answer to a request whose headers are here."""
        self._of_thread.head.close()
        return super().handle_request(req, conn)
