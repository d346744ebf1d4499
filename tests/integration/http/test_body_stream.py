"""Bodies that are read piece by piece: bounded in size, and in time as long as nothing comes."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from cometbot.http.errors import HttpError
from cometbot.http.limits import LINGERS, BodyStream, PacedAnswer, body_stream


def environ(body: bytes, length: int | None = None) -> dict[str, Any]:
    announced = len(body) if length is None else length
    return {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(announced)}


def read_all(stream: BodyStream) -> bytes:
    return b"".join(iter(lambda: stream.read(7), b""))


def test_a_body_is_read_in_pieces_to_its_end_and_not_beyond() -> None:
    with body_stream(environ(b"x" * 100 + b"next request", 100), limit=100, timeout=5) as stream:
        assert len(stream.read(64)) == 64
        assert read_all(stream) == b"x" * 36
        assert stream.read(64) == b""


def test_a_chunked_body_ends_where_its_chunks_do() -> None:
    with body_stream(
        {"wsgi.input": io.BytesIO(b"abc"), "HTTP_TRANSFER_ENCODING": "chunked"}, limit=3, timeout=5
    ) as stream:
        assert read_all(stream) == b"abc"


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (environ(b"x" * 101), 413),
        (environ(b"", 10**12), 413),
        (environ(b"x" * 50, 100), 400),
        ({"wsgi.input": io.BytesIO(b"x" * 101), "HTTP_TRANSFER_ENCODING": "chunked"}, 413),
        ({"wsgi.input": io.BytesIO(b"x")}, 411),
        ({"wsgi.input": io.BytesIO(b"x"), "CONTENT_LENGTH": "-1"}, 400),
    ],
)
def test_a_body_that_is_too_long_or_breaks_off_is_refused(given: dict[str, Any], status: int) -> None:
    with pytest.raises(HttpError) as caught, body_stream(given, limit=100, timeout=5) as stream:
        read_all(stream)
    assert caught.value.status == status


def test_a_long_upload_is_refused_unread_by_a_server_that_lingers() -> None:
    given = environ(b"x" * 101) | {LINGERS: True}
    with pytest.raises(HttpError) as caught, body_stream(given, limit=100, timeout=5):
        pass
    assert (caught.value.status, given["wsgi.input"].tell()) == (413, 0)


def test_what_the_server_raises_for_a_broken_body_is_the_clients_fault() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise ConnectionResetError

    with (
        pytest.raises(HttpError) as caught,
        body_stream({"wsgi.input": Broken(), "CONTENT_LENGTH": "5"}, limit=5, timeout=5) as stream,
    ):
        stream.read(5)
    assert caught.value.status == 400


def test_the_rest_of_a_body_can_be_thrown_away() -> None:
    given = environ(b"x" * 100)
    with body_stream(given, limit=100, timeout=5) as stream:
        stream.read(1)
        stream.drain()
    assert given["wsgi.input"].read() == b""


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_a_body_that_stands_still_is_given_up(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"begin")
    began = time.monotonic()
    with (
        ours.makefile("rb") as source,
        pytest.raises(HttpError) as caught,
        body_stream(
            {"wsgi.input": source, "CONTENT_LENGTH": "100", "gunicorn.socket": ours}, limit=100, timeout=0.3, pace=1000
        ) as stream,
    ):
        read_all(stream)
    assert caught.value.status == 408
    assert 0.2 < time.monotonic() - began < 30


def test_a_body_that_comes_steadily_may_take_longer(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    pieces = 16

    def send() -> None:
        for _ in range(pieces):
            theirs.sendall(b"x" * 7)
            time.sleep(0.1)

    sender = threading.Thread(target=send)
    sender.start()
    began = time.monotonic()
    given = {"wsgi.input": ours.makefile("rb"), "CONTENT_LENGTH": str(pieces * 7), "gunicorn.socket": ours}
    with given["wsgi.input"], body_stream(given, limit=1000, timeout=1.5, pace=14) as stream:
        body = read_all(stream)
    sender.join()

    assert len(body) == pieces * 7
    assert time.monotonic() - began > 1.5, "longer than its time without a pace"


def write(pieces: Iterable[bytes], connection: socket.socket) -> None:
    """What servers do with an answer."""
    for piece in pieces:
        connection.sendall(piece)


def test_an_answer_that_nobody_takes_is_cut_off_and_its_body_closed(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = pair
    closed = []

    def body() -> Iterator[bytes]:
        try:
            for _ in range(1000):
                yield b"x" * 65536
        finally:
            closed.append(True)

    began = time.monotonic()
    pieces = PacedAnswer(body(), ours, timeout=0.2, pace=10**7)
    with pytest.raises(OSError, match=r"[Bb]roken pipe|reset"):
        write(pieces, ours)
    pieces.close()

    assert 0.1 < time.monotonic() - began < 30
    assert closed == [True]


def test_an_answer_that_is_taken_steadily_and_one_that_is_slow_to_make_arrive_whole(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    received = bytearray()

    def receive() -> None:
        while piece := theirs.recv(20_000):
            received.extend(piece)
            time.sleep(0.02)

    def body() -> Iterator[bytes]:
        for _ in range(30):
            time.sleep(0.05)
            yield b"x" * 65536

    reader = threading.Thread(target=receive)
    reader.start()
    write(PacedAnswer(body(), ours, timeout=1.0, pace=200_000), ours)
    ours.shutdown(socket.SHUT_WR)
    reader.join(60)

    assert len(received) == 30 * 65536


def test_a_body_that_nobody_reads_is_closed_too(pair: tuple[socket.socket, socket.socket]) -> None:
    body = io.BytesIO(b"x")
    PacedAnswer(body, pair[0], timeout=1, pace=1).close()

    assert body.closed
    PacedAnswer([b"x"], pair[0], timeout=1, pace=1).close()
