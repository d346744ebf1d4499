"""Bodies that are read piece by piece: bounded in size, and in time as long as nothing comes."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cometbot.http.errors import HttpError
from cometbot.http.limits import BodyStream, body_stream


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
    assert 0.2 < time.monotonic() - began < 5


def test_a_body_that_comes_steadily_may_take_longer(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    pieces = 12

    def send() -> None:
        for _ in range(pieces):
            theirs.sendall(b"x" * 7)
            time.sleep(0.1)

    sender = threading.Thread(target=send)
    sender.start()
    began = time.monotonic()
    given = {"wsgi.input": ours.makefile("rb"), "CONTENT_LENGTH": str(pieces * 7), "gunicorn.socket": ours}
    with given["wsgi.input"], body_stream(given, limit=1000, timeout=0.6, pace=14) as stream:
        body = read_all(stream)
    sender.join()

    assert len(body) == pieces * 7
    assert time.monotonic() - began > 0.6, "longer than its time without a pace"
