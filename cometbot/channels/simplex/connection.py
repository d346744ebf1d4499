"""The WebSocket to the SimpleX CLI: it reconnects, detects dead connections, and applies backpressure to the CLI."""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, cast
from urllib.parse import urlsplit

try:
    from websockets.client import ClientProtocol
    from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, WebSocketException
    from websockets.sync.client import ClientConnection, connect
except ImportError as error:
    raise ImportError("the SimpleX channel needs the library websockets: pip install 'cometbot[simplex]'") from error

from cometbot.backoff import Backoff
from cometbot.channels.simplex.endpoint import Endpoint
from cometbot.channels.simplex.errors import NotConnected
from cometbot.channels.simplex.event_queue import STARTUP_QUEUE_LIMIT, EventQueue, QueueLimit
from cometbot.channels.simplex.multiplexer import CommandMultiplexer
from cometbot.channels.simplex.protocol import Command, Frame, Record, decode_frame
from cometbot.channels.simplex.protocol.frames import FRAME_LIMIT
from cometbot.errors import BotError, CometbotError, ConfigurationError, DeliveryError, PayloadError

log = logging.getLogger(__name__)

_websocket_log = logging.getLogger("cometbot.channels.simplex.wire")
# At level DEBUG the library logs headers and frames, which hold credentials and users' messages.
_websocket_log.setLevel(logging.WARNING)

SendCommand = Callable[["Command | str"], Record]
"""Sends a command object or string and returns the CLI's answer, or raises a ``ChannelError``."""

State = Literal["connecting", "starting", "ready", "waiting", "closed"]

_MAX_DELIVERY_ATTEMPTS = 5
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


@dataclass(frozen=True, slots=True)
class Status:
    """The state of the connection, since when, why it is not ready, and what the start-up returned."""

    state: State
    since: float
    error: str = ""
    session: Any = None


class Connection:
    """A persistent connection to the SimpleX CLI that reconnects whenever it breaks.

    On every new connection ``startup`` runs first, with a function that sends commands; its return value is the
    session. Events that arrive meanwhile are held back, so that ``startup`` can fetch missed events before them. Then
    ``on_event`` is called with every event, one at a time and in order, in one thread. It must only store them and not
    send commands, since an answer would wait behind the events; while it runs, nothing more is read, and the CLI waits.
    It may send commands only for ``recovery_period`` seconds after a start-up; for that time the queue has the limit of
    the start-up.

    If ``on_event`` cannot store an event for now (:class:`DeliveryError`), it is called again until it can. An event
    that cannot be read (:class:`PayloadError`) is logged and dropped at once. After any other error ``on_event`` is
    called a few more times; then the error is logged and the event is dropped.

    ``on_status_change`` is called with every new :class:`Status`. ``frame_limit`` is the maximum size of a frame in
    bytes. With ``should_reconnect=False`` one connection is made; how it failed or ended is only in its status, which
    is then ``waiting``.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        on_event: Callable[[Record], None],
        startup: Callable[[SendCommand], Any] | None = None,
        on_status_change: Callable[[Status], None] | None = None,
        timing: Timing | None = None,
        queue_limit: QueueLimit | None = None,
        startup_limit: QueueLimit = STARTUP_QUEUE_LIMIT,
        recovery_period: float = 0.0,
        frame_limit: int = FRAME_LIMIT,
        should_reconnect: bool = True,
    ) -> None:
        self.endpoint, self._should_reconnect = endpoint, should_reconnect
        self._on_event, self._startup, self._on_status_change = on_event, startup, on_status_change
        self._timing, self._frame_limit = timing or Timing(), frame_limit
        self._event_queue = EventQueue(queue_limit or QueueLimit(), startup_limit, self._log_overflow)
        self._changed = threading.Condition()
        self._status = Status("closed", time.time())
        self._socket_session: _SocketSession | None = None
        self._stopping, self._abandoned = threading.Event(), threading.Event()
        self._connection_thread = threading.Thread(target=self._run_forever, name="cometbot-simplex", daemon=True)
        self._delivery_thread = threading.Thread(
            target=self._deliver_events, name="cometbot-simplex-events", daemon=True
        )
        self._failures = 0
        self._recovery_period, self._recovery_ends_at = recovery_period, 0.0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.endpoint.display_url!r}, {self._status.state})"

    @property
    def status(self) -> Status:
        """The current status."""
        return self._status

    @property
    def session(self) -> Any:
        """The return value of the last start-up; None before the first."""
        return self._status.session

    def start(self) -> None:
        """Start in background threads. Call this once."""
        for warning in self.endpoint.warnings if self._should_reconnect else ():
            log.warning("%s", warning)
        self._connection_thread.start()
        self._delivery_thread.start()

    def wait_ready(self, timeout: float) -> bool:
        """Return True if the connection is ready; wait up to ``timeout`` seconds for that."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready_session or self._stopping.is_set(), timeout)
            return self._ready_session is not None

    @property
    def _ready_session(self) -> _SocketSession | None:
        socket_session = self._socket_session
        return (
            socket_session
            if socket_session is not None and not socket_session.has_ended and self._status.state == "ready"
            else None
        )

    def command(self, command: Command | str, *, timeout: float | None = None, wait: float = 0.0) -> Record:
        """Send a command and return its answer. Any number of threads may call this at once.

        Waits up to ``wait`` seconds for a ready connection, then up to ``timeout`` seconds for the answer (default: the
        timeout for such commands). Raises :class:`CommandFailed` for the CLI's own errors, :class:`NotConnected` if
        nothing was sent, and :class:`ConnectionLost` or :class:`AnswerMissing` if the outcome is unknown. No command is
        sent twice.
        """
        if threading.current_thread() is self._delivery_thread and time.monotonic() >= self._recovery_ends_at:
            raise BotError("what receives SimpleX events must not send commands: do it in another thread")
        asked = Command.raw(command) if isinstance(command, str) else command
        ends_at = time.monotonic() + wait
        while True:
            self.wait_ready(max(0.0, ends_at - time.monotonic()))
            try:
                return self._send_now(asked, self._default_timeout(asked) if timeout is None else timeout)
            except NotConnected:
                if time.monotonic() >= ends_at or self._stopping.is_set():
                    raise

    def _send_now(self, command: Command, timeout: float) -> Record:
        socket_session, status = self._ready_session, self._status
        if socket_session is None:
            reason = status.error or "it is not ready"
            raise NotConnected(f"there is no connection to the SimpleX CLI ({reason}); {command.keyword} was not sent")
        return socket_session.multiplexer.send_command(command, timeout)

    def disconnect(self) -> None:
        """Break the current connection; a new one is made."""
        socket_session = self._socket_session
        if socket_session is not None:
            socket_session.finish("the connection to the SimpleX CLI was dropped")

    def close(self, timeout: float = 10.0) -> None:
        """Close the connection within ``timeout`` seconds.

        Pending commands fail; events that were read are still stored.
        """
        ends_at = time.monotonic() + timeout
        self._stopping.set()
        self.disconnect()
        if self._connection_thread.ident is not None:
            self._connection_thread.join(max(0.0, ends_at - time.monotonic()))
            self._event_queue.close()
            self._delivery_thread.join(max(0.1, ends_at - time.monotonic()))
            self._abandoned.set()
            if self._delivery_thread.is_alive():
                log.warning(
                    "events of SimpleX were not stored before the stop", extra={"events": len(self._event_queue)}
                )
        self._set_status("closed")

    def _default_timeout(self, command: Command) -> float:
        return self._timing.answer if command.network == "no" else self._timing.network

    def _set_status(self, state: State, error: str = "", **more: Any) -> None:
        with self._changed:
            self._status = replace(self._status, state=state, error=error, since=time.time(), **more)
            self._changed.notify_all()
        if self._on_status_change is None:
            return
        try:
            self._on_status_change(self._status)
        except Exception:
            log.exception("on_change failed for the state %s", state)

    def _run_forever(self) -> None:
        last_text = ""
        while not self._stopping.is_set():
            self._set_status("connecting", self._status.error)
            try:
                is_config_error, text = self._connect_once()
            except Exception as error:
                log.exception("the connection to the SimpleX CLI failed in an unforeseen way")
                is_config_error, text = False, f"the connection to the SimpleX CLI failed ({type(error).__name__})"
            if self._stopping.is_set():
                break
            if not self._should_reconnect:
                self._set_status("waiting", text)
                break
            wait = self._next_backoff(is_config_error)
            is_repeated = text == last_text and self._failures % 10
            log.log(logging.DEBUG if is_repeated else logging.WARNING, "%s; the next try is in %.1f s", text, wait)
            last_text = text
            self._set_status("waiting", text)
            self._stopping.wait(wait)

    def _next_backoff(self, is_config_error: bool) -> float:
        self._failures += 1
        timing = self._timing
        if is_config_error:
            return Backoff(maximum=timing.config_error_backoff / 2, jitter=1.0).delay(30)
        return Backoff(timing.initial_backoff / 2, timing.max_backoff / 2, jitter=1.0).delay(self._failures - 1)

    def _connect_once(self) -> tuple[bool, str]:
        """Run one connection from opening to end.

        Return whether only a change of settings can fix the end, and its reason.
        """
        if not self._event_queue.wait_idle(self._stopping.is_set):
            return False, "stopped"
        try:
            websocket = self._open_websocket()
        except Exception as error:
            return _describe_connect_error(error, self.endpoint)
        with websocket:
            return self._run_session(websocket)

    def _open_websocket(self) -> ClientConnection:
        parts, timeout = urlsplit(self.endpoint.url), self._timing.connect
        port = parts.port or (443 if self.endpoint.is_encrypted else 80)
        # Given our own socket, the library follows no redirect and uses no proxy from the environment.
        sock = socket.create_connection((parts.hostname or "", port), timeout)
        try:
            sock.settimeout(None)
            return connect(
                self.endpoint.url,
                sock=sock,
                ssl=self.endpoint.make_ssl_context(),
                additional_headers=dict(self.endpoint.headers),
                compression=None,
                proxy=None,
                open_timeout=timeout,
                ping_interval=None,
                close_timeout=self._timing.close,
                max_size=self._frame_limit,
                max_queue=2,
                logger=_websocket_log,
                create_connection=_TimestampedConnection,
            )
        except BaseException:
            sock.close()
            raise

    def _run_session(self, websocket: ClientConnection) -> tuple[bool, str]:
        """Run the start-up on a new connection, then wait until the connection ends."""
        socket_session = _SocketSession(
            cast(_TimestampedConnection, websocket), self._event_queue, self._timing, self._abandoned.is_set
        )
        self._event_queue.pause()
        self._socket_session = socket_session
        if self._stopping.is_set():
            socket_session.finish("the connection to the SimpleX CLI was closed")
        socket_session.start()
        try:
            self._set_status("starting")
            session = self._startup(self._make_send_command(socket_session.multiplexer)) if self._startup else None
            self._failures = 0
            self._recovery_ends_at = time.monotonic() + self._recovery_period
            self._event_queue.use_startup_limit_until(self._recovery_ends_at)
            self._set_status("ready", session=session)
            self._event_queue.resume()
            socket_session.wait()
            return False, socket_session.reason
        except CometbotError as error:
            is_config_error = isinstance(error, ConfigurationError)
            return is_config_error, socket_session.reason or f"the start-up with the SimpleX CLI failed: {error}"
        except Exception as error:
            log.exception("the start-up with the SimpleX CLI failed in an unforeseen way")
            return False, f"the start-up with the SimpleX CLI failed ({type(error).__name__})"
        finally:
            self._socket_session = None
            socket_session.finish("the start-up with the SimpleX CLI failed")
            self._event_queue.resume()
            socket_session.join()

    def _make_send_command(self, multiplexer: CommandMultiplexer) -> SendCommand:
        def send_command(command: Command | str) -> Record:
            asked = Command.raw(command) if isinstance(command, str) else command
            return multiplexer.send_command(asked, self._default_timeout(asked))

        return send_command

    def _log_overflow(self) -> None:
        log.warning("more events of SimpleX came during the start-up than can be held back; some may be out of order")

    def _deliver_events(self) -> None:
        while (event := self._event_queue.dequeue()) is not None:
            try:
                self._deliver_event(event)
            finally:
                self._event_queue.task_done()

    def _deliver_event(self, event: Record) -> None:
        attempts = failures = 0
        while True:
            attempts += 1
            try:
                self._on_event(event)
                return
            except DeliveryError as error:
                level = logging.DEBUG if attempts & (attempts - 1) else logging.WARNING
                log.log(
                    level, "an event %s of SimpleX cannot be stored for now (try %d): %s", event.type, attempts, error
                )
            except PayloadError as error:
                log.warning("an event %s of SimpleX was left out: %s", event.type, error)
                return
            except Exception:
                failures += 1
                if failures >= _MAX_DELIVERY_ATTEMPTS:
                    log.exception("an event %s of SimpleX was left out", event.type)
                    return
                log.warning("an event %s of SimpleX could not be handed over", event.type, exc_info=failures == 1)
            if self._abandoned.wait(random.uniform(0.02, 0.1) * min(2**attempts, 20)):
                return


class _TimestampedConnection(ClientConnection):
    """A WebSocket connection that records when it last received a byte, even of an incomplete frame."""

    def __init__(self, sock: socket.socket, protocol: ClientProtocol, **options: Any) -> None:
        self.last_received_at = time.monotonic()
        receive = protocol.receive_data

        def receive_data(data: bytes | bytearray) -> None:
            self.last_received_at = time.monotonic()
            receive(data)

        protocol.receive_data = receive_data  # type: ignore[method-assign]
        super().__init__(sock, protocol, **options)


class _SocketSession:
    """One open socket and its three threads: reader, writer and watchdog.

    Events that were read are put into the event queue even after the end, since the CLI sends nothing twice.
    ``is_abandoned`` returns True once nobody will process that queue.
    """

    def __init__(
        self,
        websocket: _TimestampedConnection,
        event_queue: EventQueue,
        timing: Timing,
        is_abandoned: Callable[[], bool],
    ) -> None:
        self._websocket, self._event_queue, self._timing, self._is_abandoned = (
            websocket,
            event_queue,
            timing,
            is_abandoned,
        )
        self.multiplexer = CommandMultiplexer(websocket)
        self.reason = ""
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._unblocked_at = 0.0
        self._pinged_at: float | None = None
        self._is_blocked = False
        self._unreadable_count = 0
        self._reader = threading.Thread(target=self._read, name="cometbot-simplex-reader", daemon=True)
        self._writer = threading.Thread(target=self._write, name="cometbot-simplex-writer", daemon=True)
        self._watchdog = threading.Thread(target=self._run_watchdog, name="cometbot-simplex-watch", daemon=True)

    def start(self) -> None:
        """Start the threads."""
        for thread in (self._reader, self._writer, self._watchdog):
            thread.start()

    @property
    def has_ended(self) -> bool:
        """True once no more commands can be sent."""
        return self._ended.is_set()

    def wait(self) -> None:
        """Wait until the connection ends."""
        self._ended.wait()

    def finish(self, reason: str) -> None:
        """End the session. Pending commands fail at once. Only the first reason is stored."""
        with self._lock:
            self.reason = self.reason or reason
        self.multiplexer.close(self.reason)
        self._ended.set()

    def join(self) -> None:
        """Close the socket, with a closing handshake if the peer takes part in it, and wait for the threads."""
        if self.multiplexer.blocked_seconds:
            self._shut_down_socket()
        with contextlib.suppress(OSError, WebSocketException):
            self._websocket.close()
        self._shut_down_socket()
        for thread in (self._reader, self._writer, self._watchdog):
            thread.join()

    def _shut_down_socket(self) -> None:
        with contextlib.suppress(OSError):
            self._websocket.socket.shutdown(socket.SHUT_RDWR)

    def _read(self) -> None:
        try:
            while True:
                self._dispatch_frame(self._websocket.recv())
        except ConnectionClosed as error:
            self.finish(_describe_close(error))
        except (OSError, EOFError, WebSocketException) as error:
            self.finish(f"the connection to the SimpleX CLI broke ({type(error).__name__})")
        except Exception as error:
            log.exception("reading from the SimpleX CLI failed in an unforeseen way")
            self.finish(f"reading from the SimpleX CLI failed ({type(error).__name__})")

    def _dispatch_frame(self, data: str | bytes) -> None:
        """Pass an answer to the command that waits for it, and an event to the event queue. Never raises."""
        frame = decode_frame(data)
        if frame.corr_id:
            if not self.multiplexer.resolve(frame):
                log.debug("an answer of the SimpleX CLI came too late, or was never asked for")
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
        log.log(level, "frame %d that cannot be read was left out: %s", self._unreadable_count, frame.problem)

    def _write(self) -> None:
        try:
            self.multiplexer.run_writer()
        except (OSError, WebSocketException) as error:
            self.finish(
                _describe_close(error)
                if isinstance(error, ConnectionClosed)
                else "the connection to the SimpleX CLI broke"
            )

    def _run_watchdog(self) -> None:
        """Break the connection if the peer sends nothing or reads nothing; the other threads then end."""
        tick = min(_WATCHDOG_INTERVAL, self._timing.ping_interval / 4, self._timing.write / 4)
        while not self._ended.wait(tick):
            fault = self._find_fault(time.monotonic())
            if fault:
                self.finish(fault)
                self._shut_down_socket()

    def _find_fault(self, now: float) -> str:
        if self.multiplexer.blocked_seconds > self._timing.write:
            return f"the SimpleX CLI took nothing from the connection for {self._timing.write:g} s"
        last_received_at = max(self._websocket.last_received_at, self._unblocked_at)
        if self._is_blocked or (self._pinged_at is not None and last_received_at > self._pinged_at):
            self._pinged_at = None
        elif self._pinged_at is not None:
            if now - self._pinged_at > self._timing.ping_timeout:
                return f"the SimpleX CLI was silent for {self._timing.ping_interval + self._timing.ping_timeout:g} s"
        elif now - last_received_at > self._timing.ping_interval:
            self._pinged_at = now
            self.multiplexer.ping()
        return ""


def _describe_close(error: ConnectionClosed) -> str:
    if error.sent is not None and error.sent.code == 1009:
        return "the SimpleX CLI sent a frame that is too large, and the connection was closed"
    if error.sent is not None and error.rcvd is None and error.sent.code in (1002, 1007):
        return "what answers broke the WebSocket protocol, and the connection was closed; is it a SimpleX CLI?"
    code = error.rcvd.code if error.rcvd is not None else None
    return "the connection to the SimpleX CLI was closed" + (f" (code {code})" if code else "")


def _describe_connect_error(error: Exception, endpoint: Endpoint) -> tuple[bool, str]:
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
        return True, f"what answers at {url} does not speak TLS as it should: {error.reason or 'no reason given'}"
    if isinstance(error, InvalidStatus):
        return _describe_http_status(error.response.status_code, url)
    if isinstance(error, InvalidHandshake | WebSocketException | EOFError):
        return False, f"what answers at {url} is no WebSocket server, so no SimpleX CLI ({type(error).__name__})"
    if isinstance(error, OSError):
        return False, f"{url} cannot be reached ({error.strerror or type(error).__name__})"
    if isinstance(error, ValueError):
        return True, f"{url} leads elsewhere: set SIMPLEX_URL to where it leads"
    log.error("the connection to the SimpleX CLI failed in an unknown way", exc_info=error)
    return False, f"the connection to the SimpleX CLI failed ({type(error).__name__})"


def _describe_http_status(status: int, url: str) -> tuple[bool, str]:
    if status in (401, 403):
        return True, f"{url} refused the user name and password of SIMPLEX_URL (HTTP status {status})"
    if 300 <= status < 400:
        return True, f"{url} leads elsewhere (HTTP status {status}): set SIMPLEX_URL to where it leads"
    return False, f"what answers at {url} is no SimpleX CLI (HTTP status {status})"
