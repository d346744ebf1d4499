"""The WebSocket to the SimpleX CLI: opened again for ever, watched, and never faster than what is stored."""

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

from cometbot.channels.simplex.endpoint import Endpoint
from cometbot.channels.simplex.errors import NotConnected
from cometbot.channels.simplex.exchange import Exchange
from cometbot.channels.simplex.inbox import HELD_ROOM, Inbox, Room
from cometbot.channels.simplex.protocol import Command, Frame, Record, decode_frame
from cometbot.channels.simplex.protocol.frames import FRAME_LIMIT
from cometbot.errors import BotError, CometbotError, ConfigurationError, DeliveryError, PayloadError

log = logging.getLogger(__name__)

_wire = logging.getLogger("cometbot.channels.simplex.wire")
# At level DEBUG the library logs headers and frames: credentials, and what people wrote.
_wire.setLevel(logging.WARNING)

Ask = Callable[["Command | str"], Record]
"""Sends a command, or any other string that the CLI takes, and gives its answer or raises a ``ChannelError``."""

State = Literal["connecting", "starting", "ready", "waiting", "closed"]

_TRIES = 5
_TICK = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds: how long things may take, and how long is waited before the next try.

    ``answer`` is for commands that need no network, ``network`` for the others, ``write`` for what the CLI must take
    from the socket. A silence of ``ping_after`` is followed by a ping, which must be answered within ``ping_answer``.
    The wait before the next try grows from ``first_wait`` to ``longest_wait``, with chance in it; what only a change
    of settings can mend waits ``refused_wait``.
    """

    connect: float = 10.0
    answer: float = 30.0
    network: float = 120.0
    write: float = 30.0
    ping_after: float = 20.0
    ping_answer: float = 20.0
    first_wait: float = 0.2
    longest_wait: float = 30.0
    refused_wait: float = 60.0
    close: float = 2.0


@dataclass(frozen=True, slots=True)
class Status:
    """How it stands with the connection: since when, why it is not ready, and what the start-up returned."""

    state: State
    since: float
    error: str = ""
    session: Any = None


class Connection:
    """A connection to the SimpleX CLI that lasts: whenever it breaks it is made again.

    On every connection ``startup`` runs first, with a function that sends commands; what it returns is the session.
    Events that come meanwhile are held back, so that it can fetch what was missed before them. Then ``on_event`` gets
    every event, in order, one after the other, in one thread. It is there to store them, and must not send commands:
    the answer would wait behind the events. As long as it is busy nothing more is read, and the CLI waits. Only for
    ``settling`` seconds after a start-up it may; so long, as much is taken in as during the start-up.

    An event that ``on_event`` cannot store for now (:class:`DeliveryError`) is given to it again until it can. Any
    other error is tried again a few times, then logged, and the event is left out.

    ``on_change`` is told every new :class:`Status`. Frames may have ``frame_limit`` bytes. One that does not last is
    made once; how it failed or ended is in its status alone, which is ``waiting`` then.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        on_event: Callable[[Record], None],
        startup: Callable[[Ask], Any] | None = None,
        on_change: Callable[[Status], None] | None = None,
        timing: Timing | None = None,
        room: Room | None = None,
        held_room: Room = HELD_ROOM,
        settling: float = 0.0,
        frame_limit: int = FRAME_LIMIT,
        lasts: bool = True,
    ) -> None:
        self.endpoint, self._lasts = endpoint, lasts
        self._on_event, self._startup, self._on_change = on_event, startup, on_change
        self._timing, self._frame_limit = timing or Timing(), frame_limit
        self._inbox = Inbox(room or Room(), held_room, self._overflow)
        self._changed = threading.Condition()
        self._status = Status("closed", time.time())
        self._talk: _Talk | None = None
        self._stopping, self._abandoned = threading.Event(), threading.Event()
        self._runner = threading.Thread(target=self._run, name="cometbot-simplex", daemon=True)
        self._deliverer = threading.Thread(target=self._deliver, name="cometbot-simplex-events", daemon=True)
        self._failures = 0
        self._settling, self._settling_until = settling, 0.0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.endpoint.place!r}, {self._status.state})"

    @property
    def status(self) -> Status:
        """How it stands now."""
        return self._status

    @property
    def session(self) -> Any:
        """What the last start-up returned; None before the first."""
        return self._status.session

    def start(self) -> None:
        """Begin, in the background. A connection is started once."""
        for warning in self.endpoint.warnings if self._lasts else ():
            log.warning("%s", warning)
        self._runner.start()
        self._deliverer.start()

    def wait_ready(self, timeout: float) -> bool:
        """Whether it is ready; waits up to ``timeout`` seconds for that."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready_talk or self._stopping.is_set(), timeout)
            return self._ready_talk is not None

    @property
    def _ready_talk(self) -> _Talk | None:
        talk = self._talk
        return talk if talk is not None and not talk.is_over and self._status.state == "ready" else None

    def command(self, command: Command | str, *, timeout: float | None = None, wait: float = 0.0) -> Record:
        """The answer to a command; any number may be asked at once.

        Waits up to ``wait`` seconds for a ready connection, then up to ``timeout`` for the answer (by itself the time
        that such commands may take). Raises :class:`CommandFailed` for the CLI's own errors, :class:`NotConnected` if
        nothing was sent, :class:`ConnectionLost` and :class:`AnswerMissing` if nobody knows; nothing is sent twice.
        """
        if threading.current_thread() is self._deliverer and time.monotonic() >= self._settling_until:
            raise BotError("what receives SimpleX events must not send commands: do it in another thread")
        asked = Command.raw(command) if isinstance(command, str) else command
        ends_at = time.monotonic() + wait
        while True:
            self.wait_ready(max(0.0, ends_at - time.monotonic()))
            try:
                return self._ask_now(asked, self._time_for(asked) if timeout is None else timeout)
            except NotConnected:
                if time.monotonic() >= ends_at or self._stopping.is_set():
                    raise

    def _ask_now(self, command: Command, timeout: float) -> Record:
        talk, status = self._ready_talk, self._status
        if talk is None:
            reason = status.error or "it is not ready"
            raise NotConnected(f"there is no connection to the SimpleX CLI ({reason}); {command.keyword} was not sent")
        return talk.exchange.ask(command, timeout)

    def drop(self) -> None:
        """Break the connection that there is; it is made again."""
        talk = self._talk
        if talk is not None:
            talk.finish("the connection to the SimpleX CLI was dropped")

    def close(self, timeout: float = 10.0) -> None:
        """End it: open commands fail, and events that were read are stored, within ``timeout`` seconds."""
        ends_at = time.monotonic() + timeout
        self._stopping.set()
        self.drop()
        if self._runner.ident is not None:
            self._runner.join(max(0.0, ends_at - time.monotonic()))
            self._inbox.close()
            self._deliverer.join(max(0.1, ends_at - time.monotonic()))
            self._abandoned.set()
            if self._deliverer.is_alive():
                log.warning("events of SimpleX were not stored before the stop", extra={"events": len(self._inbox)})
        self._change("closed")

    def _time_for(self, command: Command) -> float:
        return self._timing.answer if command.network == "no" else self._timing.network

    def _change(self, state: State, error: str = "", **more: Any) -> None:
        with self._changed:
            self._status = replace(self._status, state=state, error=error, since=time.time(), **more)
            self._changed.notify_all()
        if self._on_change is None:
            return
        try:
            self._on_change(self._status)
        except Exception:
            log.exception("on_change failed for the state %s", state)

    def _run(self) -> None:
        last = ""
        while not self._stopping.is_set():
            self._change("connecting", self._status.error)
            try:
                refused, text = self._attempt()
            except Exception as error:
                log.exception("the connection to the SimpleX CLI failed in an unforeseen way")
                refused, text = False, f"the connection to the SimpleX CLI failed ({type(error).__name__})"
            if self._stopping.is_set():
                break
            if not self._lasts:
                self._change("waiting", text)
                break
            wait = self._next_wait(refused)
            often = text == last and self._failures % 10
            log.log(logging.DEBUG if often else logging.WARNING, "%s; the next try is in %.1f s", text, wait)
            last = text
            self._change("waiting", text)
            self._stopping.wait(wait)

    def _next_wait(self, refused: bool) -> float:
        self._failures += 1
        if refused:
            longest = self._timing.refused_wait
        else:
            longest = min(self._timing.longest_wait, self._timing.first_wait * 2 ** min(self._failures - 1, 20))
        return longest * random.uniform(0.5, 1.0)

    def _attempt(self) -> tuple[bool, str]:
        """One connection from its opening to its end: whether only settings can mend that end, and what it was."""
        if not self._inbox.wait_idle(self._stopping.is_set):
            return False, "stopped"
        try:
            websocket = self._open()
        except Exception as error:
            return _explain(error, self.endpoint)
        with websocket:
            return self._hold_talk(websocket)

    def _open(self) -> ClientConnection:
        parts, timeout = urlsplit(self.endpoint.url), self._timing.connect
        port = parts.port or (443 if self.endpoint.is_encrypted else 80)
        # With a socket of ours the library follows no redirect and asks no proxy of the environment.
        sock = socket.create_connection((parts.hostname or "", port), timeout)
        try:
            sock.settimeout(None)
            return connect(
                self.endpoint.url,
                sock=sock,
                ssl=self.endpoint.tls(),
                additional_headers=dict(self.endpoint.headers),
                compression=None,
                proxy=None,
                open_timeout=timeout,
                ping_interval=None,
                close_timeout=self._timing.close,
                max_size=self._frame_limit,
                max_queue=2,
                logger=_wire,
                create_connection=_Heard,
            )
        except BaseException:
            sock.close()
            raise

    def _hold_talk(self, websocket: ClientConnection) -> tuple[bool, str]:
        """Run the start-up on a new connection, then watch it to its end."""
        talk = _Talk(cast(_Heard, websocket), self._inbox, self._timing, self._abandoned.is_set)
        self._inbox.hold()
        self._talk = talk
        if self._stopping.is_set():
            talk.finish("the connection to the SimpleX CLI was closed")
        talk.start()
        try:
            self._change("starting")
            session = self._startup(self._ask(talk.exchange)) if self._startup else None
            self._failures = 0
            self._settling_until = time.monotonic() + self._settling
            self._inbox.widen(self._settling_until)
            self._change("ready", session=session)
            self._inbox.release()
            talk.wait()
            return False, talk.reason
        except CometbotError as error:
            is_refused = isinstance(error, ConfigurationError)
            return is_refused, talk.reason or f"the start-up with the SimpleX CLI failed: {error}"
        except Exception as error:
            log.exception("the start-up with the SimpleX CLI failed in an unforeseen way")
            return False, f"the start-up with the SimpleX CLI failed ({type(error).__name__})"
        finally:
            self._talk = None
            talk.finish("the start-up with the SimpleX CLI failed")
            self._inbox.release()
            talk.join()

    def _ask(self, exchange: Exchange) -> Ask:
        def ask(command: Command | str) -> Record:
            asked = Command.raw(command) if isinstance(command, str) else command
            return exchange.ask(asked, self._time_for(asked))

        return ask

    def _overflow(self) -> None:
        log.warning("more events of SimpleX came during the start-up than can be held back; some may be out of order")

    def _deliver(self) -> None:
        while (event := self._inbox.take()) is not None:
            try:
                self._hand_over(event)
            finally:
                self._inbox.done()

    def _hand_over(self, event: Record) -> None:
        tries = failures = 0
        while True:
            tries += 1
            try:
                self._on_event(event)
                return
            except DeliveryError as error:
                level = logging.DEBUG if tries & (tries - 1) else logging.WARNING
                log.log(level, "an event %s of SimpleX cannot be stored for now (try %d): %s", event.type, tries, error)
            except PayloadError as error:
                log.warning("an event %s of SimpleX was left out: %s", event.type, error)
                return
            except Exception:
                failures += 1
                if failures >= _TRIES:
                    log.exception("an event %s of SimpleX was left out", event.type)
                    return
                log.warning("an event %s of SimpleX could not be handed over", event.type, exc_info=failures == 1)
            if self._abandoned.wait(random.uniform(0.02, 0.1) * min(2**tries, 20)):
                return


class _Heard(ClientConnection):
    """A WebSocket that knows when it last got a byte, also of a frame that is long on its way."""

    def __init__(self, sock: socket.socket, protocol: ClientProtocol, **options: Any) -> None:
        self.heard_at = time.monotonic()
        receive = protocol.receive_data

        def note(data: bytes | bytearray) -> None:
            self.heard_at = time.monotonic()
            receive(data)

        protocol.receive_data = note  # type: ignore[method-assign]
        super().__init__(sock, protocol, **options)


class _Talk:
    """One open socket with its threads: one reads, one writes, one looks after both.

    What was read is put into the inbox also after the end, since the CLI tells nothing twice; ``is_abandoned`` says
    that nobody will ever take it.
    """

    def __init__(self, websocket: _Heard, inbox: Inbox, timing: Timing, is_abandoned: Callable[[], bool]) -> None:
        self._websocket, self._inbox, self._timing, self._is_abandoned = websocket, inbox, timing, is_abandoned
        self.exchange = Exchange(websocket)
        self.reason = ""
        self._over = threading.Event()
        self._guard = threading.Lock()
        self._rested_at = 0.0
        self._pinged_at: float | None = None
        self._is_pressing = False
        self._unreadable = 0
        self._reader = threading.Thread(target=self._read, name="cometbot-simplex-reader", daemon=True)
        self._writer = threading.Thread(target=self._write, name="cometbot-simplex-writer", daemon=True)
        self._watch = threading.Thread(target=self._look_after, name="cometbot-simplex-watch", daemon=True)

    def start(self) -> None:
        """Begin to read and write."""
        for thread in (self._reader, self._writer, self._watch):
            thread.start()

    @property
    def is_over(self) -> bool:
        """Whether nothing can be asked any more."""
        return self._over.is_set()

    def wait(self) -> None:
        """Wait for the end of the connection."""
        self._over.wait()

    def finish(self, reason: str) -> None:
        """End it: whoever waits for an answer has an error at once. The first reason counts."""
        with self._guard:
            self.reason = self.reason or reason
        self.exchange.end(self.reason)
        self._over.set()

    def join(self) -> None:
        """Close the socket, in good order if the other end plays along, and wait for the threads."""
        if self.exchange.writing_for:
            self._break()
        with contextlib.suppress(OSError, WebSocketException):
            self._websocket.close()
        self._break()
        for thread in (self._reader, self._writer, self._watch):
            thread.join()

    def _break(self) -> None:
        with contextlib.suppress(OSError):
            self._websocket.socket.shutdown(socket.SHUT_RDWR)

    def _read(self) -> None:
        try:
            while True:
                self._sort(self._websocket.recv())
        except ConnectionClosed as error:
            self.finish(_closing(error))
        except (OSError, EOFError, WebSocketException) as error:
            self.finish(f"the connection to the SimpleX CLI broke ({type(error).__name__})")
        except Exception as error:
            log.exception("reading from the SimpleX CLI failed in an unforeseen way")
            self.finish(f"reading from the SimpleX CLI failed ({type(error).__name__})")

    def _sort(self, data: str | bytes) -> None:
        """Give an answer to whoever waits for it, and an event to the inbox; never raises."""
        frame = decode_frame(data)
        if frame.corr_id:
            if not self.exchange.resolve(frame):
                log.debug("an answer of the SimpleX CLI came too late, or was never asked for")
        elif frame.record is None:
            self._note_unreadable(frame)
        elif frame.record.is_error:
            log.warning("the SimpleX CLI could not read a request")
        else:
            self._is_pressing = True
            self._inbox.put(frame.record, len(data), self._is_abandoned)
            self._rested_at = time.monotonic()
            self._is_pressing = False

    def _note_unreadable(self, frame: Frame) -> None:
        self._unreadable += 1
        level = logging.WARNING if self._unreadable in (1, 10, 100, 1000) else logging.DEBUG
        log.log(level, "frame %d that cannot be read was left out: %s", self._unreadable, frame.problem)

    def _write(self) -> None:
        try:
            self.exchange.write()
        except (OSError, WebSocketException) as error:
            self.finish(
                _closing(error) if isinstance(error, ConnectionClosed) else "the connection to the SimpleX CLI broke"
            )

    def _look_after(self) -> None:
        """Break a connection whose other end is silent or takes nothing; the other threads notice."""
        tick = min(_TICK, self._timing.ping_after / 4, self._timing.write / 4)
        while not self._over.wait(tick):
            fault = self._fault(time.monotonic())
            if fault:
                self.finish(fault)
                self._break()

    def _fault(self, now: float) -> str:
        if self.exchange.writing_for > self._timing.write:
            return f"the SimpleX CLI took nothing from the connection for {self._timing.write:g} s"
        heard_at = max(self._websocket.heard_at, self._rested_at)
        if self._is_pressing or (self._pinged_at is not None and heard_at > self._pinged_at):
            self._pinged_at = None
        elif self._pinged_at is not None:
            if now - self._pinged_at > self._timing.ping_answer:
                return f"the SimpleX CLI was silent for {self._timing.ping_after + self._timing.ping_answer:g} s"
        elif now - heard_at > self._timing.ping_after:
            self._pinged_at = now
            self.exchange.ping()
        return ""


def _closing(error: ConnectionClosed) -> str:
    if error.sent is not None and error.sent.code == 1009:
        return "the SimpleX CLI sent a frame that is too large, and the connection was closed"
    if error.sent is not None and error.rcvd is None and error.sent.code in (1002, 1007):
        return "what answers broke the WebSocket protocol, and the connection was closed; is it a SimpleX CLI?"
    code = error.rcvd.code if error.rcvd is not None else None
    return "the connection to the SimpleX CLI was closed" + (f" (code {code})" if code else "")


def _explain(error: Exception, endpoint: Endpoint) -> tuple[bool, str]:
    """Whether only settings can mend what went wrong while connecting, and what it was; no secret is in it."""
    place = endpoint.place
    if isinstance(error, ConnectionRefusedError):
        # The CLI itself speaks no TLS.
        what = "the proxy before the SimpleX CLI" if endpoint.is_encrypted else "the SimpleX CLI: simplex-chat -p 5225"
        return False, f"nothing listens at {place}: start {what}"
    if isinstance(error, socket.gaierror):
        return False, f"the host name in {place} is not known"
    if isinstance(error, TimeoutError):
        return False, f"{place} did not answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return True, f"the certificate of {place} is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return True, f"what answers at {place} does not speak TLS as it should: {error.reason or 'no reason given'}"
    if isinstance(error, InvalidStatus):
        return _explain_status(error.response.status_code, place)
    if isinstance(error, InvalidHandshake | WebSocketException | EOFError):
        return False, f"what answers at {place} is no WebSocket server, so no SimpleX CLI ({type(error).__name__})"
    if isinstance(error, OSError):
        return False, f"{place} cannot be reached ({error.strerror or type(error).__name__})"
    if isinstance(error, ValueError):
        return True, f"{place} leads elsewhere: set SIMPLEX_URL to where it leads"
    log.error("the connection to the SimpleX CLI failed in an unknown way", exc_info=error)
    return False, f"the connection to the SimpleX CLI failed ({type(error).__name__})"


def _explain_status(status: int, place: str) -> tuple[bool, str]:
    if status in (401, 403):
        return True, f"{place} refused the user name and password of SIMPLEX_URL (HTTP status {status})"
    if 300 <= status < 400:
        return True, f"{place} leads elsewhere (HTTP status {status}): set SIMPLEX_URL to where it leads"
    return False, f"what answers at {place} is no SimpleX CLI (HTTP status {status})"
