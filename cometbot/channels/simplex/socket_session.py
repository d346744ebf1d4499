"""One WebSocket to the SimpleX CLI: opening it, its threads, and what its errors mean."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

try:
    from websockets.client import ClientProtocol
    from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, WebSocketException
    from websockets.sync.client import ClientConnection, connect
except ImportError as error:
    raise ImportError("the SimpleX channel needs the library websockets: pip install 'cometbot[simplex]'") from error

from cometbot.channels.simplex.endpoint import Endpoint
from cometbot.channels.simplex.event_queue import EventQueue
from cometbot.channels.simplex.multiplexer import CommandMultiplexer
from cometbot.channels.simplex.protocol import Frame, decode_frame

log = logging.getLogger(__name__)

_websocket_log = logging.getLogger("cometbot.channels.simplex.websocket")
# At level DEBUG the library logs headers and frames, which hold credentials and users' messages.
_websocket_log.setLevel(logging.WARNING)

_WATCHDOG_INTERVAL = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Timeouts and intervals in seconds.

    ``answer`` applies to commands that need no network, ``network`` to the others, ``write`` to a socket that the CLI
    does not read from. After ``ping_interval`` without incoming data a ping is sent; it must be answered within
    ``ping_timeout``. The backoff before a reconnection grows from ``initial_backoff`` to ``max_backoff``, with random
    jitter. After an error that only a change of settings can fix it is ``config_error_backoff``.
    """

    connect: float = 10.0
    answer: float = 30.0
    network: float = 120.0
    write: float = 30.0
    ping_interval: float = 20.0
    ping_timeout: float = 20.0
    initial_backoff: float = 0.2
    max_backoff: float = 30.0
    config_error_backoff: float = 60.0
    close: float = 2.0


class TimestampedConnection(ClientConnection):
    """A WebSocket connection that records when it last received a byte, even of an incomplete frame."""

    def __init__(self, sock: socket.socket, protocol: ClientProtocol, **options: Any) -> None:
        self.last_received_at = time.monotonic()
        receive = protocol.receive_data

        def receive_data(data: bytes | bytearray) -> None:
            self.last_received_at = time.monotonic()
            receive(data)

        protocol.receive_data = receive_data  # type: ignore[method-assign]
        super().__init__(sock, protocol, **options)


def open_websocket(endpoint: Endpoint, timing: Timing, frame_limit: int) -> TimestampedConnection:
    """Open a WebSocket to the CLI. Raises the library's errors: see :func:`describe_connect_error`."""
    parts, timeout = urlsplit(endpoint.url), timing.connect
    port = parts.port or (443 if endpoint.is_encrypted else 80)
    # Given our own socket, the library follows no redirect and uses no proxy from the environment.
    sock = socket.create_connection((parts.hostname or "", port), timeout)
    try:
        sock.settimeout(None)
        opened = connect(
            endpoint.url,
            sock=sock,
            ssl=endpoint.make_ssl_context(),
            additional_headers=dict(endpoint.headers),
            compression=None,
            proxy=None,
            open_timeout=timeout,
            ping_interval=None,
            close_timeout=timing.close,
            max_size=frame_limit,
            max_queue=2,
            logger=_websocket_log,
            create_connection=TimestampedConnection,
        )
        return cast(TimestampedConnection, opened)
    except BaseException:
        sock.close()
        raise


class SocketSession:
    """One open socket and its three threads: reader, writer and watchdog.

    Events that were read are put into the event queue even after the end, since the CLI sends nothing twice.
    ``is_abandoned`` returns True once nobody will process that queue. ``ended`` is set once no more commands can be
    sent.
    """

    def __init__(
        self,
        websocket: TimestampedConnection,
        event_queue: EventQueue,
        timing: Timing,
        is_abandoned: Callable[[], bool],
    ) -> None:
        self._websocket, self._event_queue = websocket, event_queue
        self._timing, self._is_abandoned = timing, is_abandoned
        self.multiplexer = CommandMultiplexer(websocket)
        self.reason = ""
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self._unblocked_at = 0.0
        self._pinged_at: float | None = None
        self._is_blocked = False
        self._unreadable_count = 0
        targets = {"reader": self._read, "writer": self._write, "watchdog": self._run_watchdog}
        self._threads = [
            threading.Thread(target=target, name=f"cometbot-simplex-{name}", daemon=True)
            for name, target in targets.items()
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def finish(self, reason: str) -> None:
        """End the session. Pending commands fail at once. Only the first reason is stored."""
        with self._lock:
            self.reason = self.reason or reason
        self.multiplexer.close(self.reason)
        self.ended.set()

    def join(self) -> None:
        """Close the socket, with a closing handshake if the peer takes part in it, and wait for the threads."""
        if self.multiplexer.blocked_seconds:
            self._shut_down_socket()
        with contextlib.suppress(OSError, WebSocketException):
            self._websocket.close()
        self._shut_down_socket()
        for thread in self._threads:
            thread.join()

    def _shut_down_socket(self) -> None:
        with contextlib.suppress(OSError):
            self._websocket.socket.shutdown(socket.SHUT_RDWR)

    def _read(self) -> None:
        with self._finish_on_error("reading from"):
            while True:
                self._dispatch_frame(self._websocket.recv())

    @contextlib.contextmanager
    def _finish_on_error(self, action: str) -> Iterator[None]:
        """End the session by the error that ends ``action``."""
        try:
            yield
        except ConnectionClosed as error:
            self.finish(_describe_close(error))
        except (OSError, EOFError, WebSocketException) as error:
            self.finish(f"the connection to the SimpleX CLI broke ({type(error).__name__})")
        except Exception as error:
            log.exception("unexpected error while %s the SimpleX CLI", action)
            self.finish(f"{action} the SimpleX CLI failed ({type(error).__name__})")

    def _dispatch_frame(self, data: str | bytes) -> None:
        """Pass an answer to the command that waits for it, and an event to the event queue. Never raises."""
        frame = decode_frame(data)
        if frame.corr_id:
            if not self.multiplexer.resolve(frame):
                log.debug("received an answer of the SimpleX CLI that no command waits for")
        elif frame.record is None:
            self._log_unreadable(frame)
        elif frame.record.is_error:
            log.warning("the SimpleX CLI could not read a request")
        else:
            self._is_blocked = True
            self._event_queue.enqueue(frame.record, len(data), self._is_abandoned)
            self._unblocked_at = time.monotonic()
            self._is_blocked = False

    def _log_unreadable(self, frame: Frame) -> None:
        self._unreadable_count += 1
        level = logging.WARNING if self._unreadable_count in (1, 10, 100, 1000) else logging.DEBUG
        log.log(level, "skipped unreadable frame %d: %s", self._unreadable_count, frame.problem)

    def _write(self) -> None:
        with self._finish_on_error("writing to"):
            self.multiplexer.run_writer()

    def _run_watchdog(self) -> None:
        """Break the connection if the peer sends nothing or reads nothing; the other threads then end."""
        tick = min(_WATCHDOG_INTERVAL, self._timing.ping_interval / 4, self._timing.write / 4)
        while not self.ended.wait(tick):
            fault = self._find_fault(time.monotonic())
            if fault:
                self.finish(fault)
                self._shut_down_socket()

    def _find_fault(self, now: float) -> str:
        if self.multiplexer.blocked_seconds > self._timing.write:
            return f"the SimpleX CLI did not read from the socket for {self._timing.write:g} s"
        last_received_at = max(self._websocket.last_received_at, self._unblocked_at)
        if self._is_blocked or (self._pinged_at is not None and last_received_at > self._pinged_at):
            self._pinged_at = None
        elif self._pinged_at is not None:
            if now - self._pinged_at > self._timing.ping_timeout:
                return f"the SimpleX CLI sent no data for {self._timing.ping_interval + self._timing.ping_timeout:g} s"
        elif now - last_received_at > self._timing.ping_interval:
            self._pinged_at = now
            self.multiplexer.ping()
        return ""


def _describe_close(error: ConnectionClosed) -> str:
    if error.sent is not None and error.sent.code == 1009:
        return "the SimpleX CLI sent a frame that is too large, and the connection was closed"
    if error.sent is not None and error.rcvd is None and error.sent.code in (1002, 1007):
        return "the server broke the WebSocket protocol, and the connection was closed; is it a SimpleX CLI?"
    code = error.rcvd.code if error.rcvd is not None else None
    return "the connection to the SimpleX CLI was closed" + (f" (code {code})" if code else "")


def describe_connect_error(error: Exception, endpoint: Endpoint) -> tuple[bool, str]:
    """Return whether only a change of settings can fix the error, and its description, which contains no secret."""
    url = endpoint.display_url
    if isinstance(error, ConnectionRefusedError):
        # The CLI itself does not support TLS.
        what = "the proxy before the SimpleX CLI" if endpoint.is_encrypted else "the SimpleX CLI: simplex-chat -p 5225"
        return False, f"nothing listens at {url}: start {what}"
    if isinstance(error, socket.gaierror):
        return False, f"the host name in {url} is not known"
    if isinstance(error, TimeoutError):
        return False, f"{url} did not answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return True, f"the certificate of {url} is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return True, f"the server at {url} does not speak TLS: {error.reason or 'no reason given'}"
    if isinstance(error, InvalidStatus):
        return _describe_http_status(error.response.status_code, url)
    if isinstance(error, InvalidHandshake | WebSocketException | EOFError):
        return False, f"the server at {url} is no WebSocket server, so no SimpleX CLI ({type(error).__name__})"
    if isinstance(error, OSError):
        return False, f"{url} cannot be reached ({error.strerror or type(error).__name__})"
    if isinstance(error, ValueError):
        return True, f"{url} redirects; set SIMPLEX_URL to the target"
    log.error("unexpected error in the connection to the SimpleX CLI", exc_info=error)
    return False, f"the connection to the SimpleX CLI failed ({type(error).__name__})"


def _describe_http_status(status: int, url: str) -> tuple[bool, str]:
    if status in (401, 403):
        return True, f"{url} refused the user name and password of SIMPLEX_URL (HTTP status {status})"
    if 300 <= status < 400:
        return True, f"{url} redirects (HTTP status {status}); set SIMPLEX_URL to the target"
    return False, f"the server at {url} is no SimpleX CLI (HTTP status {status})"
