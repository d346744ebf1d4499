"""The WebSocket server of the fake CLI: it receives commands, sends answers and events, and injects faults."""

from __future__ import annotations

import base64
import contextlib
import hmac
import http
import itertools
import logging
import queue
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

import orjson
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request as HttpRequest
from websockets.http11 import Response
from websockets.sync.server import Server, ServerConnection, serve

from cometbot.testing.simplex.api_objects import JsonObject
from cometbot.testing.simplex.command_grammar import PARSE_ERROR_TEXT, Request, UnsupportedCommand, read_command
from cometbot.testing.simplex.command_handlers import CommandHandlers
from cometbot.testing.simplex.state import CommandRefused, agent_refusal, chat_refusal, store_refusal

FrameForm = Literal["flat", "either", "remote_host"]

CliFault = Literal[
    "drop",
    "drop_after",
    "drop_mid",
    "silent",
    "late",
    "busy",
    "network",
    "refuse",
    "unread",
    "no_resp",
    "wrong_id",
    "no_json",
]
"""What happens to a command.

The connection breaks before it is executed (``drop``), after it (``drop_after``), or within the answer (``drop_mid``).
Or it is executed and not answered (``silent``), or answered a second late (``late``). Or it is not executed: the CLI is
busy (``busy``), its network fails (``network``), it refuses the command (``refuse``) or cannot parse it (``unread``).
Or it is executed, and the answer has no ``resp`` (``no_resp``), a wrong correlation id (``wrong_id``), or is not JSON
(``no_json``).
"""

_logger = logging.getLogger("cometbot.testing.simplex.server")
# The library logs every connection, and at level DEBUG headers and frames.
_logger.setLevel(logging.ERROR)

CONTROL_PATH = "/control"
LATE_ANSWER_DELAY = 1.0
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{6})Z")
_DIGITS = itertools.cycle((0, 3, 6, 9, 12))
_MAPS = ("mentions", "customData")
_MAX_FRAME_BYTES = 64 * 1024 * 1024


class FakeServer:
    """A server on 127.0.0.1 for any number of clients, on any path but ``/control``.

    Each event is sent to exactly one of the connected clients; without clients events wait. ``control`` answers
    messages on ``/control``. ``port`` is where it listens, or will listen again; 0 before the first start if any port
    will do.
    """

    def __init__(
        self,
        handlers: CommandHandlers,
        *,
        port: int = 0,
        form: FrameForm = "flat",
        credentials: tuple[str, str] | None = None,
        control: Callable[[str], str] | None = None,
    ) -> None:
        self._handlers, self.port, self.form = handlers, port, form
        self._credentials, self._control = credentials, control
        self.has_unknown_fields = False
        self.commands: deque[str] = deque(maxlen=100_000)
        self.records: deque[tuple[bool, JsonObject]] = deque(maxlen=20_000)
        self.connections = 0
        self._faults: deque[tuple[CliFault, str]] = deque()
        self._events: deque[str | bytes] = deque()
        self._changed = threading.Condition()
        self._clients: set[ServerConnection] = set()
        self._may_read = threading.Event()
        self._may_read.set()
        self._refuse_status: int = 0
        self._server: Server | None = None
        self._thread: threading.Thread | None = None
        handlers.state.emit = self.emit

    def start(self) -> None:
        """Start listening, on the same port as before if there was one."""
        self._server = serve(
            self._handle,
            "127.0.0.1",
            self.port,
            process_request=self._authenticate,
            compression=None,
            max_size=_MAX_FRAME_BYTES,
            max_queue=2,
            ping_interval=None,
            close_timeout=1,
            logger=_logger,
        )
        self.port = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="fake-simplex-cli", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Break all connections and stop listening. Unread events are lost, as when a real CLI ends."""
        server, self._server = self._server, None
        if server is None or self._thread is None:
            return
        self._may_read.set()
        self.drop()
        server.shutdown()
        self._thread.join()
        with self._changed:
            self._events.clear()

    # Faults

    def misbehave(self, fault: CliFault, on: str = "") -> None:
        """Apply a fault to the next command that begins with ``on``."""
        self._faults.append((fault, on))

    def refuse(self, status: int) -> None:
        """Refuse new connections with this HTTP status; 0 accepts them again."""
        self._refuse_status = status

    def drop(self) -> None:
        """Break all connections without a closing handshake."""
        with self._changed:
            clients = list(self._clients)
        for client in clients:
            self._cut(client)

    def _cut(self, client: ServerConnection) -> None:
        """Break a connection and send nothing more over it. Only the frame that is being sent is lost."""
        with self._changed:
            self._clients.discard(client)
            self._changed.notify_all()
        _break(client)

    def hang(self) -> None:
        """Read nothing from any client until :meth:`resume`."""
        self._may_read.clear()

    def resume(self) -> None:
        """Start reading again."""
        self._may_read.set()

    def send_raw(self, frame: str | bytes) -> None:
        """Send any frame, in order with the events."""
        with self._changed:
            self._events.append(frame)
            self._changed.notify_all()

    def emit(self, record: JsonObject) -> None:
        """Send an event to one of the clients, as soon as there is one."""
        self.records.append((False, record))
        self.send_raw(encode_frame(record, self.form, has_unknown_fields=self.has_unknown_fields))

    @property
    def waiting_events(self) -> int:
        """The number of unread events."""
        return len(self._events)

    @property
    def clients(self) -> int:
        """The number of connected clients."""
        return len(self._clients)

    # Connections

    def _authenticate(self, connection: ServerConnection, request: HttpRequest) -> Response | None:
        if self._refuse_status and request.path != CONTROL_PATH:
            return connection.respond(http.HTTPStatus(self._refuse_status), "no\n")
        if self._credentials is None:
            return None
        wanted = base64.b64encode(":".join(self._credentials).encode())
        given = request.headers.get("Authorization", "").removeprefix("Basic ").encode()
        if hmac.compare_digest(given, wanted):
            return None
        return connection.respond(http.HTTPStatus.UNAUTHORIZED, "credentials, please\n")

    def _handle(self, client: ServerConnection) -> None:
        if client.request is not None and client.request.path == CONTROL_PATH and self._control is not None:
            return self._serve_control(client, self._control)
        work: queue.Queue[tuple[str, str, Request] | None] = queue.Queue(maxsize=1)
        worker = threading.Thread(target=self._run_commands, args=(client, work), daemon=True)
        sender = threading.Thread(target=self._send_events, args=(client,), daemon=True)
        with self._changed:
            self._clients.add(client)
            self.connections += 1
        if self._server is None:
            _break(client)
        worker.start()
        sender.start()
        try:
            while True:
                data = client.recv()
                self._may_read.wait()
                self._receive(client, work, data)
        except ConnectionClosed:
            return None
        finally:
            with self._changed:
                self._clients.discard(client)
                self._changed.notify_all()
            work.put(None)
            sender.join()
            worker.join()

    def _serve_control(self, client: ServerConnection, control: Callable[[str], str]) -> None:
        with contextlib.suppress(ConnectionClosed):
            for message in client:
                client.send(control(message if isinstance(message, str) else message.decode()))

    def _receive(
        self, client: ServerConnection, work: queue.Queue[tuple[str, str, Request] | None], data: str | bytes
    ) -> None:
        """Pass a command to the worker. A command that does not parse is answered at once."""
        corr_id, text = _read_frame(data)
        if corr_id is None or text is None:
            return self._answer(client, None, _error(chat_refusal("commandError", message="invalid request")))
        self.commands.append(text)
        try:
            request = read_command(text)
        except UnsupportedCommand as error:
            return self._answer(client, corr_id, _error(chat_refusal("commandError", message=str(error))))
        except (ValueError, RecursionError):
            return self._answer(client, corr_id, _error(chat_refusal("commandError", message=PARSE_ERROR_TEXT)))
        work.put((corr_id, text, request))
        return None

    def _run_commands(self, client: ServerConnection, work: queue.Queue[tuple[str, str, Request] | None]) -> None:
        while (task := work.get()) is not None:
            corr_id, text, request = task
            try:
                self._run_command(client, corr_id, request, self._next_fault(text))
            except (ConnectionClosed, OSError):
                continue

    def _next_fault(self, text: str) -> CliFault | None:
        for entry in list(self._faults):
            if text.startswith(entry[1]):
                self._faults.remove(entry)
                return entry[0]
        return None

    def _run_command(self, client: ServerConnection, corr_id: str, request: Request, fault: CliFault | None) -> None:
        refusals: dict[str, CommandRefused] = {
            "busy": store_refusal("dBBusyError", message="locked"),
            "network": agent_refusal(type="BROKER", brokerAddress="smp://k@h", brokerErr={"type": "TIMEOUT"}),
            "refuse": chat_refusal("internalError", message="refused"),
            "unread": chat_refusal("commandError", message=PARSE_ERROR_TEXT),
        }
        if fault == "drop":
            return self._cut(client)
        if fault in refusals:
            return self._answer(client, corr_id, _error(refusals[fault]))
        record = self._handlers.handle(request)
        self.records.append((True, record))
        if fault == "drop_after":
            return self._cut(client)
        if fault == "drop_mid":
            _break_within(client, encode_frame(record, self.form, corr_id=corr_id))
            return self._cut(client)
        if fault == "late":
            time.sleep(LATE_ANSWER_DELAY)
        if fault == "no_resp":
            return client.send(orjson.dumps({"corrId": corr_id}).decode())
        if fault == "no_json":
            return client.send('{"corrId": "' + corr_id + '", "resp": {"type":')
        if fault != "silent":
            self._answer(client, f"{corr_id}x" if fault == "wrong_id" else corr_id, record)
        return None

    def _answer(self, client: ServerConnection, corr_id: str | None, record: JsonObject) -> None:
        with contextlib.suppress(ConnectionClosed, OSError):
            client.send(encode_frame(record, self.form, corr_id=corr_id, has_unknown_fields=self.has_unknown_fields))

    def _send_events(self, client: ServerConnection) -> None:
        """Send events to this client while it is connected. The event being sent is lost if the client disconnects."""
        while True:
            with self._changed:
                while not self._events and client in self._clients:
                    self._changed.wait(1)
                if client not in self._clients:
                    return
                frame = self._events.popleft()
            try:
                client.send(frame)
            except (ConnectionClosed, OSError):
                return


def _error(refused: CommandRefused) -> JsonObject:
    return {"type": "chatCmdError", "chatError": refused.chat_error}


def _read_frame(data: str | bytes) -> tuple[str | None, str | None]:
    """Return the correlation id and the command; None for both if the frame is not a request."""
    try:
        frame: Any = orjson.loads(data)
    except ValueError:
        return None, None
    if not isinstance(frame, dict):
        return None, None
    corr_id, text = frame.get("corrId"), frame.get("cmd")
    return (corr_id, text) if isinstance(corr_id, str) and isinstance(text, str) else (None, None)


def _break(client: ServerConnection) -> None:
    with contextlib.suppress(OSError):
        client.socket.shutdown(socket.SHUT_RDWR)


def _break_within(client: ServerConnection, text: str) -> None:
    """Send the first half of a text frame."""
    payload = text.encode()
    header = b"\x81\x7f" + len(payload).to_bytes(8, "big")
    with contextlib.suppress(OSError):
        client.socket.sendall(header + payload[: len(payload) // 2])


def encode_frame(
    record: JsonObject, form: FrameForm, *, corr_id: str | None = None, has_unknown_fields: bool = False
) -> str:
    """Return the frame of a record: an answer if there is a ``corr_id``, otherwise an event.

    With ``has_unknown_fields`` every object has unknown fields, and times have up to twelve fractional digits.
    """
    content: Any = _add_unknown_fields(record) if has_unknown_fields else record
    if form == "either":
        side = "Left" if record["type"] in ("chatCmdError", "chatError") else "Right"
        content = {side: content}
    frame: JsonObject = {"resp": content}
    if corr_id is not None:
        frame = {"corrId": corr_id, **frame}
    if form == "remote_host":
        frame["remoteHostId"] = 1
    return orjson.dumps(frame).decode()


def _add_unknown_fields(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        strange = {} if name in _MAPS else {"fieldOfTomorrow": {"type": "unheardOf", "value": [1, None]}, "gone": None}
        return {**{key: _add_unknown_fields(inner, key) for key, inner in value.items()}, **strange}
    if isinstance(value, list):
        return [_add_unknown_fields(item) for item in value]
    if isinstance(value, str) and (match := _TIME.fullmatch(value)):
        digits = next(_DIGITS)
        fraction = (match[2] + "000000")[:digits]
        return f"{match[1]}.{fraction}Z" if digits else f"{match[1]}Z"
    return value
