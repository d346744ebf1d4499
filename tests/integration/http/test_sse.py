"""Event streams over real connections: who goes is noticed, who does not read is cut off, who stops ends them all."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import flask
import pytest
from werkzeug.serving import WSGIRequestHandler, make_server

from cometbot.http import sse
from cometbot.http.sse import Streams, frame


class FakeSource:
    """What the test puts in is streamed."""

    def __init__(self) -> None:
        self.items: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.is_closed = False

    def get(self, timeout: float) -> bytes | None:
        try:
            item = self.items.get(timeout=timeout)
        except queue.Empty:
            return None
        self.is_closed = self.is_closed or item is None
        return item

    def close(self) -> None:
        self.items.put(None)


class Server:
    """A threaded server with one stream after the other at ``/``."""

    def __init__(self) -> None:
        self.streams = Streams(3)
        self.streams.address_limit = 0
        self.sources: list[FakeSource] = []
        self.app = flask.Flask("test")
        self.app.get("/")(self.listen)
        self._server = make_server("127.0.0.1", 0, self.app, threaded=True, request_handler=_Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def listen(self) -> flask.Response:
        def begin() -> FakeSource:
            self.sources.append(FakeSource())
            return self.sources[-1]

        return sse.stream(begin, lambda item: [frame(item)], interval=60, streams=self.streams)

    def connect(self, size: int = 0) -> socket.socket:
        connection = socket.socket()
        if size:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", self._server.server_port))
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        return connection

    def close(self) -> None:
        self.streams.stop()
        self._server.shutdown()
        self._server.server_close()


class _Handler(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def read_until(connection: socket.socket, text: bytes) -> bytes:
    found = b""
    while text not in found:
        piece = connection.recv(4096)
        assert piece, f"closed after {found[-100:]!r}"
        found += piece
    return found


def wait_until(condition: Callable[[], object], timeout: float = 60.0) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "did not come about in time"
        time.sleep(0.005)


def test_headers_come_before_anything_happens(server: Server) -> None:
    with server.connect() as connection:
        head = read_until(connection, b":\n\n")
        assert b"200 OK" in head
        assert b"text/event-stream" in head
        server.sources[0].items.put(b"hello")
        assert read_until(connection, b"data: hello\n\n")


def test_disconnect_is_noticed_without_sending(server: Server) -> None:
    connection = server.connect()
    read_until(connection, b":\n\n")
    assert len(server.streams) == 1
    connection.close()
    wait_until(lambda: len(server.streams) == 0)
    again = server.connect()
    read_until(again, b":\n\n")
    again.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    again.close()  # by a reset
    wait_until(lambda: len(server.streams) == 0)


def test_a_client_that_does_not_read_is_cut_off(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with server.connect(4096) as lazy:
        read_until(lazy, b":\n\n")  # so that the first source is the one of this client
        with server.connect() as brisk:
            read_until(brisk, b":\n\n")
            with monkeypatch.context() as impatient:
                impatient.setattr(sse, "WRITE_TIMEOUT", 0.3)
                server.sources[0].items.put(b"x" * 20_000_000)
                wait_until(lambda: len(server.streams) == 1)
            server.sources[1].items.put(b"still here")
            read_until(brisk, b"data: still here\n\n")


def test_stopping_ends_what_is_open(server: Server) -> None:
    with server.connect() as connection:
        read_until(connection, b":\n\n")
        server.streams.stop()
        while connection.recv(4096):
            pass
    wait_until(lambda: len(server.streams) == 0)
