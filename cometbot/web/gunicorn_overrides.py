"""Everything that cometbot overrides, patches or reads of gunicorn beyond its documented settings and hooks.

A worker with limits on slow clients and with errors in JSON, and a master process that checks the application before a
reload and resets no connection at a stop. ``tests/unit/web/test_gunicorn_overrides.py`` has a test for each part of
gunicorn that is used here; it fails if another version of gunicorn changes that part.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
import re
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus
from queue import SimpleQueue
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.http import errors
from gunicorn.workers.gthread import _DEFER, STOP_KEEPALIVE_LINGER, ThreadWorker

from cometbot.errors import ConfigurationError
from cometbot.forking import close_in_children
from cometbot.http.limits import LINGERS_KEY, SlowClientGuard
from cometbot.http.slow_clients import SlowClientLimit
from cometbot.http.sse import RESERVED_THREADS, STREAMS
from cometbot.http.watchdog import WATCHDOG, get_connection
from cometbot.web.client_connection import (
    PROXY_PROTOCOL_REFUSAL,
    CorkableSocket,
    ExpectContinueInput,
    begins_proxy_protocol,
    is_readable,
    refuse,
)
from cometbot.web.lingering_close import LingeringCloser
from cometbot.web.listeners import find_group, ignore_handshakes
from cometbot.web.open_files import needed_files, raise_limit
from cometbot.web.preflight import RELOAD_REFUSED_MESSAGE

HEAD_TIMEOUT = 10.0
"""Seconds within which a request's headers must be complete, counted from when a thread starts to read them."""

FIRST_BYTE_TIMEOUT = 0.02
"""Seconds that a thread waits for the first byte on a new connection; then the connection waits without a thread."""

NEXT_REQUEST_TIMEOUT = 0.005
"""Seconds that a thread waits for the next request on a busy connection."""

NEXT_REQUEST_TIMEOUT_UNDER_LOAD = 0.001
"""The same, while other connections wait for a thread."""

BUSY_INTERVAL = 0.05
"""A connection is busy if its last two requests came within so many seconds, including their wait for a thread."""

MAX_CONSECUTIVE_REQUESTS = 16
"""Requests on one connection after which its thread serves others."""

MAX_CONSECUTIVE_REQUESTS_UNDER_LOAD = 8
"""The same, while other connections wait for a thread."""

ACCEPT_DELAY_PER_CONNECTION = 0.00005
"""Seconds, for each connection that a process has, by which it delays the next ``accept`` in favour of others."""

ACCEPT_DELAY_CONNECTION_LIMIT = 10
"""Number of connections beyond which the delay does not grow."""

SWITCH_INTERVAL = 0.0005
"""Seconds after which a running thread releases the GIL to another one.

A tenth of Python's default: a thread that returns from the disk with the answers to several callbacks should not wait
for one that has just begun.
"""

ACCEPT_RETRY_INTERVAL = 0.5
"""Seconds without new connections after ``accept`` failed for lack of files or memory."""

IDLE_CLOSE_LIMIT = 16
"""Maximum number of idle connections that are closed then to free files."""

WARNING_INTERVAL = 60.0
"""Minimum seconds between two warnings that connections cannot be accepted."""

HANDSHAKE_TIMEOUT = 0.05
"""Seconds that a stopping worker waits for handshakes in progress before it closes the listener."""

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_CLIENT_GONE = frozenset(
    {
        errno.ECONNABORTED,
        errno.ECONNRESET,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.EPROTO,
    }
)
"""Errors from accept(2) on Linux that concern the new connection and not the listener."""

RESPONSE_TIMEOUT = 20.0
"""Seconds for which a client may read nothing of a response."""

_SHORT_RESPONSE_SIZE = 8 * 1024
_EVENT_STREAM_TYPE = "text/event-stream"
_TOO_LARGE = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
_REFUSALS: dict[type[Exception], tuple[HTTPStatus, str]] = {
    errors.LimitRequestLine: (HTTPStatus.REQUEST_URI_TOO_LONG, "the request line is too long"),
    errors.LimitRequestHeaders: (_TOO_LARGE, "there are too many headers, or one of them is too long"),
    errors.ExpectationFailed: (HTTPStatus.EXPECTATION_FAILED, "Expect: only 100-continue is supported"),
    errors.UnsupportedTransferCoding: (HTTPStatus.BAD_REQUEST, "Transfer-Encoding: only chunked is supported"),
    errors.InvalidHeader: (HTTPStatus.BAD_REQUEST, "a header is malformed"),
    errors.InvalidHeaderName: (HTTPStatus.BAD_REQUEST, "the name of a header is malformed"),
    errors.ObsoleteFolding: (
        HTTPStatus.BAD_REQUEST,
        "a header continues on the next line",
    ),
}
_NOT_HTTP = (HTTPStatus.BAD_REQUEST, "this is no valid HTTP request")
_NAME = re.compile(r"[A-Za-z0-9-]{1,40}")
_log = logging.getLogger(__name__)


class GunicornWorker(ThreadWorker):  # type: ignore[misc]
    """A worker whose threads cannot be blocked by clients that send a request's headers slowly or never.

    gunicorn waits five seconds in a thread for a new connection's first byte and reads headers from a blocking socket.
    Its worker timeout does not cover threads. As many slow clients as there are threads would stop a bot for good.
    :mod:`cometbot.http.limits` limits the time for bodies and responses.
    """

    wsgi: Any
    sockets: list[Any]
    _lingering: LingeringCloser

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._thread_local = threading.local()
        self._accept_resumes_at = 0.0
        self._next_warning_at = 0.0
        self._signals = _ChildSignals()
        self.inherited_signals: SimpleQueue[int] = SimpleQueue()

    def accept(self, listener: Any) -> None:
        """Accept a new connection, unless a process with fewer connections accepts it first.

        All processes are notified of a new connection at the same moment. Without the delay the quickest may get nearly
        all of a platform's connections.
        """
        time.sleep(
            min(self.nr_conns - len(self._lingering), ACCEPT_DELAY_CONNECTION_LIMIT) * ACCEPT_DELAY_PER_CONNECTION
        )
        self._accept(listener)

    def _accept(self, listener: Any) -> None:
        try:
            super().accept(listener)
        except OSError as error:
            if error.errno in _EXHAUSTED:
                self._pause_accepting(error)
            elif error.errno not in _CLIENT_GONE:
                raise

    def set_accept_enabled(self, enabled: bool) -> None:
        """Register or unregister the listeners with the poller; register none during a pause.

        A worker that stops closes them after it has accepted all established connections.
        """
        if not self.alive:
            super().set_accept_enabled(False)
            self._close_listeners()
        elif not enabled or time.monotonic() >= self._accept_resumes_at:
            super().set_accept_enabled(enabled)

    def _close_listeners(self) -> None:
        """Accept the connections in the backlog, whose clients expect an answer, then close the listeners.

        Connections without a first byte wait at most as long as those that are kept alive.
        """
        listeners, self.sockets = self.sockets, []
        for listener in listeners:
            self._accept_backlog(listener)
            listener.close()
        deadline = time.monotonic() + STOP_KEEPALIVE_LINGER
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)

    def _accept_backlog(self, listener: Any) -> None:
        listener.setblocking(False)
        deadline = time.monotonic() + HANDSHAKE_TIMEOUT
        for _ in range(self.cfg.backlog):
            if not is_readable(listener, max(0.0, deadline - time.monotonic())):
                break
            self._accept(listener)

    def _pause_accepting(self, error: OSError) -> None:
        """Stop accepting for ``ACCEPT_RETRY_INTERVAL``; the listener stays readable, so the loop would spin."""
        now = time.monotonic()
        self._accept_resumes_at = now + ACCEPT_RETRY_INTERVAL
        super().set_accept_enabled(False)
        self._close_idle(IDLE_CLOSE_LIMIT)
        if now >= self._next_warning_at:
            self._next_warning_at = now + WARNING_INTERVAL
            _log.warning("cannot accept connections: %s. Raise the limit of open files.", error.strerror)

    def enqueue_req(self, conn: Any) -> None:
        """Pass the connection to a thread, and close it in children that are forked from now on."""
        if not conn.initialized:
            close_in_children(conn)
        super().enqueue_req(conn)

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """Return the thread pool for requests; its threads start on demand."""
        return _ThreadPool(max_workers=self.cfg.threads)

    def init_signals(self) -> None:
        """Install the signal handlers; children of this process inherit neither them nor the listeners."""
        super().init_signals()
        for listener in self.sockets:
            close_in_children(listener)
        close_in_children(self._signals)
        self._repeat_early_signals()

    def _repeat_early_signals(self) -> None:
        """Raise again a shutdown signal that arrived between the fork and :meth:`init_signals`.

        Until then the handler is the one inherited from gunicorn's master process. It puts the signal into a queue that
        no one reads in the worker, which would run until ``graceful_timeout`` has passed and it is killed.
        """
        while not self.inherited_signals.empty():
            number = self.inherited_signals.get_nowait()
            if number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
                signal.raise_signal(number)

    def finish_request(self, conn: Any, fs: Future[Any]) -> None:
        """Wait for the next request on a connection that a thread has returned, or close the connection."""
        is_done = not fs.cancelled() and fs.exception() is None
        if is_done and fs.result() is _DEFER and not self.alive:
            self._wait_for_request(conn)
        elif not is_done or fs.result():
            super().finish_request(conn, fs)
        else:
            close_in_children(conn.sock)
            self._lingering.add(conn.sock)

    def _wait_for_request(self, conn: Any) -> None:
        """Wait ``STOP_KEEPALIVE_LINGER`` for a connection's first byte, which gunicorn does not while it stops."""
        conn.sock.setblocking(False)
        conn.timeout = time.monotonic() + STOP_KEEPALIVE_LINGER
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, functools.partial(self.on_pending_socket_readable, conn))

    def murder_pending(self) -> None:
        """Close the connections whose timeout has passed.

        If there are too many connections, close the longest idle too, first those that never sent a byte.
        """
        super().murder_pending()
        self._lingering.close_expired()
        self._close_idle(self.nr_conns - self.worker_connections + 1)

    def _close_idle(self, count: int) -> None:
        for idle in (self.pending_conns, self.keepalived_conns):
            while idle and count > 0:
                conn = idle.popleft()
                with suppress(OSError, KeyError, ValueError):
                    self.poller.unregister(conn.sock)
                self.nr_conns -= 1
                count -= 1
                conn.close()

    def handle(self, conn: Any) -> Any:
        """Handle the requests that follow each other on a connection; return whether it stays open."""
        if not conn.initialized:
            conn.sock = CorkableSocket.wrap(conn.sock)
            # Not gunicorn's wait_for_data(), which opens a file for each new connection.
            if not conn.data_ready and not is_readable(conn.sock, FIRST_BYTE_TIMEOUT):
                return _DEFER
            conn.data_ready = True
            if self.cfg.proxy_protocol == "off" and begins_proxy_protocol(conn.sock):
                refuse(conn.sock, HTTPStatus.BAD_REQUEST, PROXY_PROTOCOL_REFUSAL)
                return False
        is_busy = time.monotonic() - getattr(conn, "answered_at", 0.0) < BUSY_INTERVAL
        is_kept_alive = self._handle_one(conn)
        request_count = 1
        while is_kept_alive is True and is_busy and self._has_next_request(conn, request_count):
            is_kept_alive = self._handle_one(conn)
            request_count += 1
        conn.answered_at = time.monotonic()
        return is_kept_alive

    def _has_next_request(self, conn: Any, request_count: int) -> bool:
        """Return whether this thread handles one more request on a busy connection, and it arrives in milliseconds.

        A platform under load sends callback after callback on each of its connections. Passing a connection back to
        gunicorn's loop and getting it again costs as much as a small request.
        """
        limit, timeout = MAX_CONSECUTIVE_REQUESTS, NEXT_REQUEST_TIMEOUT
        if self.tpool._work_queue.qsize():
            limit, timeout = MAX_CONSECUTIVE_REQUESTS_UNDER_LOAD, NEXT_REQUEST_TIMEOUT_UNDER_LOAD
        if request_count >= limit or not self.alive or conn.is_http2:
            return False
        return is_readable(conn.sock, timeout) and self.alive

    def _handle_one(self, conn: Any) -> Any:
        with WATCHDOG.start_deadline(HEAD_TIMEOUT) as head:
            WATCHDOG.add_socket(head, conn.sock)
            self._thread_local.head = head
            return super().handle(conn)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Handle a request whose headers are complete."""
        self._thread_local.head.cancel()
        self._thread_local.request = req
        # gunicorn would send "100 Continue" before the application has seen the request.
        self._thread_local.awaits_continue = req._expected_100_continue
        req._expected_100_continue = False
        try:
            return super().handle_request(req, conn)
        finally:
            if isinstance(conn.sock, CorkableSocket):
                conn.sock.uncork()

    def init_process(self) -> None:
        """Raise the limit of open files, freeze the configuration, and start the worker."""
        raise_limit(needed_files(self.cfg.worker_connections))
        sys.setswitchinterval(SWITCH_INTERVAL)
        freeze_config(self.cfg)
        super().init_process()

    def run(self) -> None:
        """Serve until shutdown is requested, then finish the open requests within ``graceful_timeout``."""
        self._lingering = LingeringCloser(self.poller, self._on_connection_closed, limit=self.worker_connections // 2)
        super().run()

    def _on_connection_closed(self) -> None:
        self.nr_conns -= 1

    def load_wsgi(self) -> None:
        """Load the application, and wrap it.

        The wrapper honours ``Connection: close`` in a response, which gunicorn drops, and cuts off a long response that
        the client does not read. The number of event streams is limited to the threads beyond ``RESERVED_THREADS``.
        """
        super().load_wsgi()
        application = self.wsgi
        reserved = RESERVED_THREADS + STREAMS.other_waiting_threads
        STREAMS.set_limit(min(STREAMS.limit, max(self.cfg.threads - reserved, 0)))

        def wrapped_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            response_headers: dict[str, str] = {}
            environ[LINGERS_KEY] = True
            expect_continue = self._wrap_expect_continue(environ)

            def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
                response_headers.update([(name.lower(), text) for name, text in headers])
                if response_headers.get("connection", "").lower() == "close" or (
                    expect_continue and not expect_continue.is_continue_sent
                ):
                    self._thread_local.request.force_close()
                return start_response(status, headers, *error)

            body = application(environ, start)
            connection = get_connection(environ)
            if isinstance(connection, CorkableSocket) and isinstance(body, list) and _is_short(response_headers):
                connection.cork()
            if (
                connection is None
                or _is_short(response_headers)
                or response_headers.get("content-type", "").startswith(_EVENT_STREAM_TYPE)
            ):
                return body
            limit = SlowClientLimit(RESPONSE_TIMEOUT, environ.get("REMOTE_ADDR", ""), connection)
            return SlowClientGuard(body, connection, limit)

        self.wsgi = wrapped_app

    def _wrap_expect_continue(self, environ: dict[str, Any]) -> ExpectContinueInput | None:
        """Replace the input of a request whose client sends the body only after "100 Continue"; else return None."""
        if not self._thread_local.awaits_continue:
            return None
        environ["wsgi.input"] = body = ExpectContinueInput(environ["wsgi.input"], environ["gunicorn.socket"])
        return body

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Begin to stop: let requests finish, and end event streams, which would stay open for ever."""
        if self.alive:
            self.method_queue.defer(STREAMS.stop)
        super().handle_exit(sig, frame)

    def is_parent_alive(self) -> bool:
        """Return whether gunicorn's master process is alive; if not, stop like on a signal."""
        if super().is_parent_alive():
            return True
        STREAMS.stop()
        self.alive = False
        return False

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer a malformed request with an error in the same JSON form as all other refusals.

        Neither the answer nor the log repeats the request, because a malformed head may hold credentials anywhere.
        """
        of_application = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName)
        if not isinstance(exc, errors.ParseException) or isinstance(exc, of_application):
            super().handle_error(req, client, addr, exc)
            return
        status, message = next((said for kind, said in _REFUSALS.items() if isinstance(exc, kind)), _NOT_HTTP)
        name = str(getattr(exc, "hdr", ""))
        if isinstance(exc, errors.InvalidHeader) and _NAME.fullmatch(name):
            message = f"the header {name} is malformed"
        refuse(client, status, message)


class _ThreadPool(ThreadPoolExecutor):
    """A thread pool that continues with the threads it has if the system allows no more."""

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                raise


class _ChildSignals:
    """Restores the default signal handlers in a child of a worker, which runs no loop to handle signals."""

    def close(self) -> None:
        signal.set_wakeup_fd(-1)
        for number in GunicornWorker.SIGNALS:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def freeze_config(config: Config) -> None:
    """Copy the settings of ``config`` to plain attributes; settings that are changed later have no effect.

    gunicorn looks up a setting by name, in Python, about forty times a request: an eighth of the cost of a callback.
    """
    vars(config).update({name: setting.get() for name, setting in config.settings.items()})


def _is_short(headers: Mapping[str, str]) -> bool:
    """Return whether a response fits into the system's buffers, so that a slow client cannot block the writer."""
    length = headers.get("content-length", "")
    return length.isdigit() and int(length) <= _SHORT_RESPONSE_SIZE


def inherit_signals(master: Arbiter, worker: GunicornWorker) -> None:
    """Give a worker that was just forked the signals that its master's handler has queued for it."""
    worker.inherited_signals = master.SIG_QUEUE


def ignore_handshakes_on_stop(master: Arbiter) -> None:
    """Patch a master process to establish no new connections from a graceful stop of its workers on.

    Connections are still established if the listeners stay in use: by systemd, or by another gunicorn after SIGUSR2.
    """
    stop = master.stop

    def stop_without_resets(graceful: bool = True) -> None:
        is_shared = master.systemd or master.reexec_pid or master.master_pid
        if graceful and not is_shared:
            for listener in master.LISTENERS:
                ignore_handshakes(listener.sock)
        stop(graceful)

    master.stop = stop_without_resets


def check_before_reload(master: Arbiter, check: Callable[[], None]) -> None:
    """Patch a master process to reload only if ``check`` raises no :class:`ConfigurationError`, which is logged.

    Otherwise gunicorn would end if its configuration is wrong, which it reads again, or if a worker cannot start.
    """
    reload = master.reload

    def reload_if_loadable() -> None:
        try:
            check()
        except ConfigurationError as error:
            master.log.error(RELOAD_REFUSED_MESSAGE, str(error).rstrip("."))
        else:
            reload()

    master.reload = reload_if_loadable


def stop_unless(master: Arbiter, is_needed: Callable[[], bool]) -> None:
    """Patch a master process to stop when ``is_needed()`` is false, which it checks every second."""
    murder_workers = master.murder_workers

    def murder_workers_or_stop() -> None:
        murder_workers()
        if not is_needed():
            os.kill(os.getpid(), signal.SIGTERM)

    master.murder_workers = murder_workers_or_stop


def socket_hooks(group: str) -> dict[str, Callable[[Arbiter], None]]:
    """Return the server hooks that set the group of gunicorn's unix sockets to ``group``; none for an empty name.

    Raises :class:`ConfigurationError` if there is no such group, or if this user may not use it.
    """
    if not group:
        return {}
    gid = find_group(group)

    def set_group(master: Arbiter) -> None:
        # systemd sets the access of sockets that it opens.
        for listener in () if master.systemd else master.LISTENERS:
            if listener.FAMILY == socket.AF_UNIX:
                os.chown(listener.cfg_addr, -1, gid)

    return {"when_ready": set_group, "on_reload": set_group}
