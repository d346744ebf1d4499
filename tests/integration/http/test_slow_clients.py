"""Bodies that are read piece by piece: bounded in size, and in time as long as nothing comes."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from cometbot.http import slow_clients
from cometbot.http.errors import HttpError
from cometbot.http.limits import LINGERS_KEY, LimitedReader, SlowClientGuard, open_body
from cometbot.http.slow_clients import SlowClientLimit
from cometbot.http.sse import STREAMS, Streams


def environ(body: bytes, length: int | None = None) -> dict[str, Any]:
    announced = len(body) if length is None else length
    return {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(announced)}


def read_all(stream: LimitedReader) -> bytes:
    return b"".join(iter(lambda: stream.read(7), b""))


def test_a_body_is_read_in_pieces_to_its_end_and_not_beyond() -> None:
    with open_body(environ(b"x" * 100 + b"next request", 100), limit=100, timeout=5) as stream:
        assert len(stream.read(64)) == 64
        assert read_all(stream) == b"x" * 36
        assert stream.read(64) == b""


def test_a_chunked_body_ends_where_its_chunks_do() -> None:
    with open_body(
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
    with pytest.raises(HttpError) as caught, open_body(given, limit=100, timeout=5) as stream:
        read_all(stream)
    assert caught.value.status == status


def test_long_upload_is_refused_unread_if_server_lingers() -> None:
    given = environ(b"x" * 101) | {LINGERS_KEY: True}
    with pytest.raises(HttpError) as caught, open_body(given, limit=100, timeout=5):
        pass
    assert (caught.value.status, given["wsgi.input"].tell()) == (413, 0)


def test_server_error_on_broken_body_is_400() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise ConnectionResetError

    with (
        pytest.raises(HttpError) as caught,
        open_body({"wsgi.input": Broken(), "CONTENT_LENGTH": "5"}, limit=5, timeout=5) as stream,
    ):
        stream.read(5)
    assert caught.value.status == 400


def test_rest_of_body_can_be_discarded() -> None:
    given = environ(b"x" * 100)
    with open_body(given, limit=100, timeout=5) as stream:
        stream.read(1)
        stream.drain()
    assert given["wsgi.input"].read() == b""


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_stalled_body_times_out(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"begin")
    began = time.monotonic()
    with (
        ours.makefile("rb") as source,
        pytest.raises(HttpError) as caught,
        open_body(
            {"wsgi.input": source, "CONTENT_LENGTH": "100", "gunicorn.socket": ours}, limit=100, timeout=0.3
        ) as stream,
    ):
        read_all(stream)
    assert caught.value.status == 408
    assert 0.2 < time.monotonic() - began < 30


@contextlib.contextmanager
def send_slowly(connection: socket.socket, size: int, every: float) -> Iterator[threading.Event]:
    """Send ``size`` bytes again and again until the block ends."""
    ended = threading.Event()

    def send() -> None:
        with contextlib.suppress(OSError):
            while not ended.wait(every):
                connection.sendall(b"x" * size)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield ended
    finally:
        ended.set()
        thread.join()


def read_upload(ours: socket.socket, length: int, timeout: float) -> dict[str, Any]:
    """The bytes of an upload that arrived, the seconds that it took, and the status of its refusal."""
    given = {"wsgi.input": ours.makefile("rb"), "CONTENT_LENGTH": str(length), "gunicorn.socket": ours}
    began, size, status = time.monotonic(), 0, 200
    try:
        with given["wsgi.input"], open_body(given, limit=length, timeout=timeout) as stream:
            while piece := stream.read(65536):
                size += len(piece)
    except HttpError as error:
        status = error.status
    return {"size": size, "status": status, "seconds": time.monotonic() - began}


def test_body_below_usual_rate_arrives_whole(pair: tuple[socket.socket, socket.socket]) -> None:
    open_before = len(STREAMS)
    with send_slowly(pair[1], 800, 0.05):
        seen = read_upload(pair[0], 32_000, timeout=0.6)

    assert (seen["size"], seen["status"]) == (32_000, 200)
    assert seen["seconds"] > 0.6 + 32_000 / slow_clients.USUAL_BYTES_PER_SECOND, "longer than the usual pace allows"
    assert len(STREAMS) == open_before, "its place is free again"


def test_slow_body_without_free_slot_times_out(pair: tuple[socket.socket, socket.socket]) -> None:
    admitted = STREAMS.limit
    STREAMS.set_limit(0)
    try:
        with send_slowly(pair[1], 800, 0.05):
            seen = read_upload(pair[0], 320_000, timeout=0.6)
    finally:
        STREAMS.set_limit(admitted)

    assert seen["status"] == 408
    assert 0 < seen["size"] < 160_000


def test_trickle_times_out_despite_free_slot(pair: tuple[socket.socket, socket.socket]) -> None:
    with send_slowly(pair[1], 1, 0.01):
        seen = read_upload(pair[0], 100_000, timeout=0.6)

    assert seen["status"] == 408
    assert seen["seconds"] < 30


def test_fast_start_does_not_excuse_a_stall(pair: tuple[socket.socket, socket.socket]) -> None:
    with send_slowly(pair[1], 60_000, 0.001) as ended:
        threading.Timer(0.3, ended.set).start()
        seen = read_upload(pair[0], 100_000_000, timeout=0.5)

    assert seen["status"] == 408
    assert seen["seconds"] < 30


def test_a_slow_client_has_little_time_once_the_process_stops() -> None:
    streams = Streams(1)
    slow = SlowClientLimit(5.0, streams=streams)
    assert slow.allows(40_000, 9.0)
    streams.stop()

    assert 4.0 < slow.remaining <= 5.0
    slow.close()
    assert len(streams) == 0


def test_slow_clients_of_an_address_share_its_slots() -> None:
    streams = Streams(4)
    clients = [SlowClientLimit(1.0, "192.0.2.1", streams=streams) for _ in range(3)]

    assert [client.allows(40_000, 3.0) for client in clients] == [True, True, False]
    assert SlowClientLimit(1.0, "192.0.2.2", streams=streams).allows(40_000, 3.0)


def write_response(pieces: Iterable[bytes], connection: socket.socket) -> None:
    """What servers do with an answer."""
    for piece in pieces:
        connection.sendall(piece)


def test_unread_response_is_cut_off_and_closed(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = pair
    closed = []

    def body() -> Iterator[bytes]:
        try:
            for _ in range(1000):
                yield b"x" * 65536
        finally:
            closed.append(True)

    began = time.monotonic()
    pieces = SlowClientGuard(body(), ours, SlowClientLimit(0.2))
    with pytest.raises(OSError, match=r"[Bb]roken pipe|reset"):
        write_response(pieces, ours)
    pieces.close()

    assert 0.1 < time.monotonic() - began < 30
    assert closed == [True]


def test_slow_but_steady_response_arrives_whole(
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
    write_response(SlowClientGuard(body(), ours, SlowClientLimit(1.0)), ours)
    ours.shutdown(socket.SHUT_WR)
    reader.join(60)

    assert len(received) == 30 * 65536


def test_a_body_that_nobody_reads_is_closed_too(pair: tuple[socket.socket, socket.socket]) -> None:
    body = io.BytesIO(b"x")
    SlowClientGuard(body, pair[0], SlowClientLimit(1)).close()

    assert body.closed
    SlowClientGuard([b"x"], pair[0], SlowClientLimit(1)).close()


def test_a_large_piece_is_sent_in_parts_that_a_slow_link_takes(pair: tuple[socket.socket, socket.socket]) -> None:
    whole = b"0123456789" * 10_000
    pieces = list(SlowClientGuard([b"", whole, b"end"], pair[0], SlowClientLimit(1.0)))

    assert b"".join(pieces) == whole + b"end"
    assert max(map(len, pieces)) <= 16 * 1024
