"""The WebSocket server of the stand-in: commands in, answers and events out, and all the ways in which that fails."""

from __future__ import annotations

import base64
import contextlib
import hmac
import http
import logging
import queue
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

from cometbot.testing.simplex.answering import Answers
from cometbot.testing.simplex.grammar import UNREADABLE, NotImplementedHere, Request, read_command
from cometbot.testing.simplex.objects import Obj
from cometbot.testing.simplex.state import Refused, agent_refused, chat_refused, store_refused
from cometbot.testing.simplex.wire import Form, encode

Fault = Literal[
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
"""What happens to a command: the connection breaks before it is done, after it was done, or within the answer; it is
done and never answered, or a second late; the CLI is busy, its network fails, it refuses, or it cannot read it,
with nothing done; it is done and the answer has no ``resp``, a strange correlation id, or is no JSON."""

_wire = logging.getLogger("cometbot.testing.simplex.wire")
# The library tells of every connection, and at level DEBUG of headers and frames.
_wire.setLevel(logging.ERROR)

CONTROL_PATH = "/control"
LATE = 1.0
_FRAME_LIMIT = 64 * 1024 * 1024


class Wire:
    """A server on 127.0.0.1 that any number of clients may connect to, on any path but ``/control``.

    Events go to exactly one of the connected clients; while there is none they wait. ``control`` answers what comes
    on ``/control``.
    """

    def __init__(
        self,
        answers: Answers,
        *,
        port: int = 0,
        form: Form = "flat",
        credentials: tuple[str, str] | None = None,
        control: Callable[[str], str] | None = None,
    ) -> None:
        self._answers, self._wanted_port, self.form = answers, port, form
        self._credentials, self._control = credentials, control
        self.noisy = False
        self.commands: deque[str] = deque(maxlen=100_000)
        self.records: deque[tuple[bool, Obj]] = deque(maxlen=20_000)
        self.connections = 0
        self._faults: deque[tuple[Fault, str]] = deque()
        self._events: deque[str | bytes] = deque()
        self._changed = threading.Condition()
        self._clients: set[ServerConnection] = set()
        self._reading = threading.Event()
        self._reading.set()
        self._refuse: int = 0
        self._server: Server | None = None
        self._thread: threading.Thread | None = None
        answers.state.emit = self.emit

    @property
    def port(self) -> int:
        """Where it listens, or did and will again; 0 before the first time if any port will do."""
        return self._wanted_port

    def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        self._server = serve(
            self._handle,
            "127.0.0.1",
            self._wanted_port,
            process_request=self._admit,
            compression=None,
            max_size=_FRAME_LIMIT,
            max_queue=2,
            ping_interval=None,
            close_timeout=1,
            logger=_wire,
        )
        self._wanted_port = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="simplex-stand-in", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Break all connections and listen no more. Events that nobody read are gone, as in a CLI that ends."""
        server, self._server = self._server, None
        if server is None or self._thread is None:
            return
        self._reading.set()
        self.drop()
        server.shutdown()
        self._thread.join()
        with self._changed:
            self._events.clear()

    # Faults

    def misbehave(self, fault: Fault, on: str = "") -> None:
        """Treat the next command that begins with ``on`` like that."""
        self._faults.append((fault, on))

    def refuse(self, status: int) -> None:
        """Answer whoever wants to connect with this HTTP status; 0 lets them in again."""
        self._refuse = status

    def drop(self) -> None:
        """Break all connections, without a word."""
        with self._changed:
            clients = list(self._clients)
        for client in clients:
            self._cut(client)

    def _cut(self, client: ServerConnection) -> None:
        """Break a connection, and tell it nothing more: only what it was being told at this moment is lost."""
        with self._changed:
            self._clients.discard(client)
            self._changed.notify_all()
        _break(client)

    def hang(self) -> None:
        """Read nothing from anybody until :meth:`resume`."""
        self._reading.clear()

    def resume(self) -> None:
        """Read again."""
        self._reading.set()

    def send_raw(self, frame: str | bytes) -> None:
        """Send any frame, in its turn among the events."""
        with self._changed:
            self._events.append(frame)
            self._changed.notify_all()

    def emit(self, record: Obj) -> None:
        """Send an event to one of the clients, as soon as there is one."""
        self.records.append((False, record))
        self.send_raw(encode(record, self.form, noisy=self.noisy))

    @property
    def waiting_events(self) -> int:
        """How many events nobody has read yet."""
        return len(self._events)

    @property
    def clients(self) -> int:
        """How many are connected."""
        return len(self._clients)

    # Connections

    def _admit(self, connection: ServerConnection, request: HttpRequest) -> Response | None:
        if self._refuse:
            return connection.respond(http.HTTPStatus(self._refuse), "no\n")
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
        worker = threading.Thread(target=self._work, args=(client, work), daemon=True)
        teller = threading.Thread(target=self._tell, args=(client,), daemon=True)
        with self._changed:
            self._clients.add(client)
            self.connections += 1
        if self._server is None:
            _break(client)
        worker.start()
        teller.start()
        try:
            while True:
                data = client.recv()
                self._reading.wait()
                self._take(client, work, data)
        except ConnectionClosed:
            return None
        finally:
            with self._changed:
                self._clients.discard(client)
                self._changed.notify_all()
            work.put(None)
            teller.join()
            worker.join()

    def _serve_control(self, client: ServerConnection, control: Callable[[str], str]) -> None:
        with contextlib.suppress(ConnectionClosed):
            for message in client:
                client.send(control(message if isinstance(message, str) else message.decode()))

    def _take(
        self, client: ServerConnection, work: queue.Queue[tuple[str, str, Request] | None], data: str | bytes
    ) -> None:
        """Hand a command to the worker; what does not parse is answered at once."""
        corr_id, text = _read_frame(data)
        if corr_id is None or text is None:
            return self._answer(client, None, _error(chat_refused("commandError", message="invalid request")))
        self.commands.append(text)
        try:
            request = read_command(text)
        except NotImplementedHere as error:
            return self._answer(client, corr_id, _error(chat_refused("commandError", message=str(error))))
        except (ValueError, RecursionError):
            return self._answer(client, corr_id, _error(chat_refused("commandError", message=UNREADABLE)))
        work.put((corr_id, text, request))
        return None

    def _work(self, client: ServerConnection, work: queue.Queue[tuple[str, str, Request] | None]) -> None:
        while (task := work.get()) is not None:
            corr_id, text, request = task
            try:
                self._carry_out(client, corr_id, request, self._next_fault(text))
            except (ConnectionClosed, OSError):
                continue

    def _next_fault(self, text: str) -> Fault | None:
        for entry in list(self._faults):
            if text.startswith(entry[1]):
                self._faults.remove(entry)
                return entry[0]
        return None

    def _carry_out(self, client: ServerConnection, corr_id: str, request: Request, fault: Fault | None) -> None:
        refusals: dict[str, Refused] = {
            "busy": store_refused("dBBusyError", message="locked"),
            "network": agent_refused(type="BROKER", brokerAddress="smp://k@h", brokerErr={"type": "TIMEOUT"}),
            "refuse": chat_refused("internalError", message="refused"),
            "unread": chat_refused("commandError", message=UNREADABLE),
        }
        if fault == "drop":
            return self._cut(client)
        if fault in refusals:
            return self._answer(client, corr_id, _error(refusals[fault]))
        record = self._answers.answer(request)
        self.records.append((True, record))
        if fault == "drop_after":
            return self._cut(client)
        if fault == "drop_mid":
            _break_within(client, encode(record, self.form, corr_id=corr_id))
            return self._cut(client)
        if fault == "late":
            time.sleep(LATE)
        if fault == "no_resp":
            return client.send(orjson.dumps({"corrId": corr_id}).decode())
        if fault == "no_json":
            return client.send('{"corrId": "' + corr_id + '", "resp": {"type":')
        if fault != "silent":
            self._answer(client, f"{corr_id}x" if fault == "wrong_id" else corr_id, record)
        return None

    def _answer(self, client: ServerConnection, corr_id: str | None, record: Obj) -> None:
        with contextlib.suppress(ConnectionClosed, OSError):
            client.send(encode(record, self.form, corr_id=corr_id, noisy=self.noisy))

    def _tell(self, client: ServerConnection) -> None:
        """Send events to this client as long as it is there; the one in hand is lost if it goes."""
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


def _error(refused: Refused) -> Obj:
    return {"type": "chatCmdError", "chatError": refused.chat_error}


def _read_frame(data: str | bytes) -> tuple[str | None, str | None]:
    """Correlation id and command; None for what is no request."""
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
