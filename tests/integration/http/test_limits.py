"""Bodies that never end, over real sockets."""

from __future__ import annotations

import contextlib
import multiprocessing
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from werkzeug.serving import make_server

from cometbot.http.errors import HttpError
from cometbot.http.limits import read_body
from cometbot.http.watchdog import WATCHDOG, SocketWatchdog


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@contextlib.contextmanager
def drip_bytes(connection: socket.socket, piece: bytes = b"x", every: float = 0.02) -> Iterator[None]:
    """The other side, sending a little again and again until the block ends."""
    ended = threading.Event()

    def drip() -> None:
        with contextlib.suppress(OSError):
            while not ended.wait(every):
                connection.sendall(piece)

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def environ(connection: socket.socket, **headers: str) -> dict[str, Any]:
    return {"wsgi.input": connection.makefile("rb"), "gunicorn.socket": connection, **headers}


def read_in_time(made: dict[str, Any]) -> HttpError:
    began = time.monotonic()
    with made["wsgi.input"], pytest.raises(HttpError) as caught:
        read_body(made, limit=1000, timeout=0.2)
    assert time.monotonic() - began < 20
    return caught.value


def test_a_body_that_never_comes_ends_with_408(pair: tuple[socket.socket, socket.socket]) -> None:
    error = read_in_time(environ(pair[0], CONTENT_LENGTH="100"))
    assert (error.status, error.headers) == (408, {"Connection": "close"})


def test_dripping_body_ends_with_408(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    with drip_bytes(pair[1]):
        assert read_in_time(environ(pair[0], CONTENT_LENGTH="100")).status == 408


def test_an_answer_can_still_be_written_after_the_time_is_up(pair: tuple[socket.socket, socket.socket]) -> None:
    read_in_time(environ(pair[0], CONTENT_LENGTH="100"))
    pair[0].sendall(b"HTTP/1.1 408\r\n")
    assert pair[1].recv(100) == b"HTTP/1.1 408\r\n"


def test_a_body_in_time_leaves_the_connection_usable(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[1].sendall(b"first")
    made = environ(pair[0], CONTENT_LENGTH="5")
    assert read_body(made, limit=1000, timeout=0.1) == b"first"
    with WATCHDOG.start_deadline(0.3, direction=socket.SHUT_RD) as later:
        WATCHDOG.add_socket(later, pair[1])
        assert pair[1].recv(1) == b""  # the later deadline has passed, so the earlier one has too
    assert later.expired
    pair[1].sendall(b"again")
    with made["wsgi.input"]:
        assert pair[0].recv(5) == b"again"


def test_a_socket_guarded_after_the_deadline_is_shut_at_once(pair: tuple[socket.socket, socket.socket]) -> None:
    watchdog = SocketWatchdog()
    with watchdog.start_deadline(0.01) as deadline:
        watchdog.add_socket(deadline, pair[0])
        assert pair[0].recv(1) == b""
        late, other = socket.socketpair()
        with late, other:
            watchdog.add_socket(deadline, late)
            assert late.recv(1) == b""


def test_an_earlier_deadline_is_kept_while_a_later_one_waits(pair: tuple[socket.socket, socket.socket]) -> None:
    watchdog = SocketWatchdog()
    with watchdog.start_deadline(30):
        began = time.monotonic()
        with watchdog.start_deadline(0.05) as deadline:
            watchdog.add_socket(deadline, pair[0])
            assert pair[0].recv(1) == b""
    assert time.monotonic() - began < 20


def _cut_in_child(answer: Any) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, WATCHDOG.start_deadline(0.05) as deadline:
        WATCHDOG.add_socket(deadline, ours)
        answer.send(ours.recv(1))


@pytest.mark.process
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_a_watchdog_of_its_own(pair: tuple[socket.socket, socket.socket]) -> None:
    with WATCHDOG.start_deadline(0.01) as deadline:
        WATCHDOG.add_socket(deadline, pair[0])
        assert pair[0].recv(1) == b""
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    child = context.Process(target=_cut_in_child, args=(sending,))
    child.start()
    try:
        assert receiving.poll(60)
        assert receiving.recv() == b""
    finally:
        child.join(60)
        receiving.close()
        sending.close()


@pytest.fixture
def served() -> Iterator[Callable[[bytes], bytes]]:
    """Sends raw bytes to a werkzeug server that reads a body, and gives what it answers; the connection stays open."""

    def application(environ: dict[str, Any], start: Any) -> list[bytes]:
        try:
            status, said = "200 OK", read_body(environ, limit=1000, timeout=0.2)
        except HttpError as error:
            status, said = f"{error.status} refused", error.code.encode()
        start(status, [("Content-Length", str(len(said)))])
        return [said]

    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    open_connections: list[socket.socket] = []

    def ask(request: bytes) -> bytes:
        connection = socket.create_connection(("127.0.0.1", server.server_port), timeout=60)
        open_connections.append(connection)
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(1000):
            answer += piece
        return answer

    yield ask
    server.shutdown()
    thread.join()
    server.server_close()
    for connection in open_connections:
        connection.close()


@pytest.mark.parametrize(
    ("request_bytes", "status", "said"),
    [
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody", b" 200 ", b"body"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", b" 200 ", b"body"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\nhalf", b" 408 ", b"ERR_BODY_TIMEOUT"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b" 400 ", b"ERR_BROKEN_BODY"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\n" + b"x" * 4000, b" 413 ", b"ERR_BODY_TOO_LARGE"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\n", b" 413 ", b"ERR_BODY_TOO_LARGE"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", b" 413 ", b"ERR_BODY_TOO_LARGE"),
    ],
)
def test_werkzeugs_server_reads_and_refuses_alike(
    served: Callable[[bytes], bytes], request_bytes: bytes, status: bytes, said: bytes
) -> None:
    answer = served(request_bytes)
    assert status in answer.split(b"\r\n")[0]
    assert answer.endswith(said)
