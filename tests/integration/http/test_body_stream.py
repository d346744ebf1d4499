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

from cometbot.http import pace
from cometbot.http.errors import HttpError
from cometbot.http.limits import LINGERS, BodyStream, PacedAnswer, body_stream
from cometbot.http.pace import Pace
from cometbot.http.sse import STREAMS, Streams


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
            {"wsgi.input": source, "CONTENT_LENGTH": "100", "gunicorn.socket": ours}, limit=100, timeout=0.3
        ) as stream,
    ):
        read_all(stream)
    assert caught.value.status == 408
    assert 0.2 < time.monotonic() - began < 30


@contextlib.contextmanager
def trickling(connection: socket.socket, size: int, every: float) -> Iterator[threading.Event]:
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


def uploaded(ours: socket.socket, length: int, timeout: float) -> dict[str, Any]:
    """The bytes of an upload that arrived, the seconds that it took, and the status of its refusal."""
    given = {"wsgi.input": ours.makefile("rb"), "CONTENT_LENGTH": str(length), "gunicorn.socket": ours}
    began, size, status = time.monotonic(), 0, 200
    try:
        with given["wsgi.input"], body_stream(given, limit=length, timeout=timeout) as stream:
            while piece := stream.read(65536):
                size += len(piece)
    except HttpError as error:
        status = error.status
    return {"size": size, "status": status, "seconds": time.monotonic() - began}


def test_a_body_below_the_usual_pace_arrives_whole(pair: tuple[socket.socket, socket.socket]) -> None:
    open_before = len(STREAMS)
    with trickling(pair[1], 800, 0.05):
        seen = uploaded(pair[0], 32_000, timeout=0.6)

    assert (seen["size"], seen["status"]) == (32_000, 200)
    assert seen["seconds"] > 0.6 + 32_000 / pace.USUAL, "longer than the usual pace allows"
    assert len(STREAMS) == open_before, "its place is free again"


def test_a_slow_body_without_a_place_is_given_up(pair: tuple[socket.socket, socket.socket]) -> None:
    admitted = STREAMS.most
    STREAMS.admit(0)
    try:
        with trickling(pair[1], 800, 0.05):
            seen = uploaded(pair[0], 320_000, timeout=0.6)
    finally:
        STREAMS.admit(admitted)

    assert seen["status"] == 408
    assert 0 < seen["size"] < 160_000


def test_a_trickle_is_given_up_although_there_is_a_place(pair: tuple[socket.socket, socket.socket]) -> None:
    with trickling(pair[1], 1, 0.01):
        seen = uploaded(pair[0], 100_000, timeout=0.6)

    assert seen["status"] == 408
    assert seen["seconds"] < 30


def test_a_fast_start_does_not_pay_for_silence(pair: tuple[socket.socket, socket.socket]) -> None:
    with trickling(pair[1], 60_000, 0.001) as ended:
        threading.Timer(0.3, ended.set).start()
        seen = uploaded(pair[0], 100_000_000, timeout=0.5)

    assert seen["status"] == 408
    assert seen["seconds"] < 30


def test_a_slow_client_has_little_time_once_the_process_stops() -> None:
    streams = Streams(1)
    slow = Pace(5.0, streams=streams)
    assert slow.allows(40_000, 9.0)
    streams.stop()

    assert 4.0 < slow.left <= 5.0
    slow.close()
    assert len(streams) == 0


def test_slow_clients_of_an_address_share_its_places() -> None:
    streams = Streams(4)
    clients = [Pace(1.0, "192.0.2.1", streams=streams) for _ in range(3)]

    assert [client.allows(40_000, 3.0) for client in clients] == [True, True, False]
    assert Pace(1.0, "192.0.2.2", streams=streams).allows(40_000, 3.0)


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
    pieces = PacedAnswer(body(), ours, Pace(0.2))
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
    write(PacedAnswer(body(), ours, Pace(1.0)), ours)
    ours.shutdown(socket.SHUT_WR)
    reader.join(60)

    assert len(received) == 30 * 65536


def test_a_body_that_nobody_reads_is_closed_too(pair: tuple[socket.socket, socket.socket]) -> None:
    body = io.BytesIO(b"x")
    PacedAnswer(body, pair[0], Pace(1)).close()

    assert body.closed
    PacedAnswer([b"x"], pair[0], Pace(1)).close()


def test_a_large_piece_is_sent_in_parts_that_a_slow_link_takes(pair: tuple[socket.socket, socket.socket]) -> None:
    whole = b"0123456789" * 10_000
    pieces = list(PacedAnswer([b"", whole, b"end"], pair[0], Pace(1.0)))

    assert b"".join(pieces) == whole + b"end"
    assert max(map(len, pieces)) <= 16 * 1024
