"""The WebSocket to the SimpleX CLI: it reconnects, detects dead connections, and applies backpressure to the CLI."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from cometbot.backoff import Backoff
from cometbot.channels.simplex.endpoint import Endpoint
from cometbot.channels.simplex.errors import NotConnected
from cometbot.channels.simplex.event_queue import STARTUP_QUEUE_LIMIT, EventQueue, QueueLimit
from cometbot.channels.simplex.multiplexer import CommandMultiplexer
from cometbot.channels.simplex.protocol import Command, Record, SendCommand
from cometbot.channels.simplex.protocol.frames import FRAME_LIMIT
from cometbot.channels.simplex.socket_session import (
    SocketSession,
    TimestampedConnection,
    Timing,
    describe_connect_error,
    open_websocket,
)
from cometbot.errors import BotError, CometbotError, ConfigurationError, DeliveryError, PayloadError

log = logging.getLogger(__name__)

State = Literal["connecting", "starting", "ready", "waiting", "closed"]

_MAX_DELIVERY_ATTEMPTS = 5


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
        self._socket_session: SocketSession | None = None
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
    def _ready_session(self) -> SocketSession | None:
        socket_session = self._socket_session
        if socket_session is None or socket_session.ended.is_set() or self._status.state != "ready":
            return None
        return socket_session

    def command(self, command: Command | str, *, timeout: float | None = None, wait: float = 0.0) -> Record:
        """Send a command and return its answer. Any number of threads may call this at once.

        Waits up to ``wait`` seconds for a ready connection, then up to ``timeout`` seconds for the answer (default: the
        timeout for such commands). Raises :class:`CommandFailed` for the CLI's own errors, :class:`NotConnected` if
        nothing was sent, and :class:`ConnectionLost` or :class:`AnswerMissing` if the outcome is unknown. No command is
        sent twice.
        """
        if threading.current_thread() is self._delivery_thread and time.monotonic() >= self._recovery_ends_at:
            raise BotError("cannot send a command in the thread that stores SimpleX events: use another thread")
        command = Command.from_value(command)
        if timeout is None:
            timeout = self._default_timeout(command)
        ends_at = time.monotonic() + wait
        while True:
            self.wait_ready(max(0.0, ends_at - time.monotonic()))
            try:
                return self._send_now(command, timeout)
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
            if self._delivery_thread.is_alive() and (count := self._event_queue.unstored_count):
                log.warning("stopped with %d SimpleX events that were not stored", count, extra={"events": count})
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
            log.exception("on_status_change failed for the state %s", state)

    def _run_forever(self) -> None:
        last_text = ""
        while not self._stopping.is_set():
            self._set_status("connecting", self._status.error)
            try:
                is_config_error, text = self._connect_once()
            except Exception as error:
                log.exception("unexpected error in the connection to the SimpleX CLI")
                is_config_error, text = False, f"the connection to the SimpleX CLI failed ({type(error).__name__})"
            if self._stopping.is_set():
                break
            if not self._should_reconnect:
                self._set_status("waiting", text)
                break
            wait = self._next_backoff(is_config_error)
            is_repeated = text == last_text and self._failures % 10
            log.log(logging.DEBUG if is_repeated else logging.WARNING, "%s; retrying in %.1f s", text, wait)
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
            websocket = open_websocket(self.endpoint, self._timing, self._frame_limit)
        except Exception as error:
            return describe_connect_error(error, self.endpoint)
        with websocket:
            return self._run_session(websocket)

    def _run_session(self, websocket: TimestampedConnection) -> tuple[bool, str]:
        """Run the start-up on a new connection, then wait until the connection ends."""
        socket_session = SocketSession(websocket, self._event_queue, self._timing, self._abandoned.is_set)
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
            socket_session.ended.wait()
            return False, socket_session.reason
        except CometbotError as error:
            is_config_error = isinstance(error, ConfigurationError)
            return is_config_error, socket_session.reason or f"the start-up with the SimpleX CLI failed: {error}"
        except Exception as error:
            log.exception("unexpected error in the start-up with the SimpleX CLI")
            return False, f"the start-up with the SimpleX CLI failed ({type(error).__name__})"
        finally:
            self._socket_session = None
            socket_session.finish("the start-up with the SimpleX CLI failed")
            self._event_queue.resume()
            socket_session.join()

    def _make_send_command(self, multiplexer: CommandMultiplexer) -> SendCommand:
        def send_command(command: Command | str) -> Record:
            command = Command.from_value(command)
            return multiplexer.send_command(command, self._default_timeout(command))

        return send_command

    def _log_overflow(self) -> None:
        log.warning("too many SimpleX events arrived during the start-up to hold them back; some may be out of order")

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
                log.log(level, "cannot store the SimpleX event %s yet (attempt %d): %s", event.type, attempts, error)
            except PayloadError as error:
                log.warning("skipped the SimpleX event %s: %s", event.type, error)
                return
            except Exception:
                failures += 1
                if failures >= _MAX_DELIVERY_ATTEMPTS:
                    log.exception("skipped the SimpleX event %s", event.type)
                    return
                log.warning("cannot store the SimpleX event %s", event.type, exc_info=failures == 1)
            if self._abandoned.wait(random.uniform(0.02, 0.1) * min(2**attempts, 20)):
                return
