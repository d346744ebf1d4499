"""How a body is read, without a socket below it."""

from __future__ import annotations

import io
from typing import Any

import pytest

from cometbot.http.errors import HttpError
from cometbot.http.limits import LINGERS_KEY, read_body


class BrokenStream:
    """A stream that fails with a server's own exception, as gunicorn's does for bad chunks."""

    class InvalidChunkSize(Exception):
        pass

    def read(self, size: int) -> bytes:
        raise self.InvalidChunkSize("zz")


def environ(stream: Any, length: str | None = None, *, chunked: bool = False) -> dict[str, Any]:
    made: dict[str, Any] = {"wsgi.input": stream}
    if length is not None:
        made["CONTENT_LENGTH"] = length
    if chunked:
        made["HTTP_TRANSFER_ENCODING"] = "chunked"
    return made


def read_error(made: dict[str, Any], limit: int = 100) -> HttpError:
    with pytest.raises(HttpError) as caught:
        read_body(made, limit=limit, timeout=1)
    return caught.value


def test_a_body_is_read_up_to_its_announced_length() -> None:
    assert read_body(environ(io.BytesIO(b'{"a":1}rest'), "7"), limit=100, timeout=1) == b'{"a":1}'


def test_a_chunked_body_is_read_to_its_end() -> None:
    assert read_body(environ(io.BytesIO(b"abc" * 30), chunked=True), limit=100, timeout=1) == b"abc" * 30


def test_a_body_of_exactly_the_limit_is_taken() -> None:
    assert len(read_body(environ(io.BytesIO(b"x" * 100), "100"), limit=100, timeout=1)) == 100
    assert len(read_body(environ(io.BytesIO(b"x" * 100), chunked=True), limit=100, timeout=1)) == 100


def test_too_long_body_is_refused_after_reading_it() -> None:
    stream = io.BytesIO(b"x" * 101 + b"next request")
    error = read_error(environ(stream, "101"))
    assert (error.status, error.headers) == (413, {"Connection": "close"})
    assert stream.read() == b"next request"


def test_a_body_announced_as_much_too_long_is_refused_unread() -> None:
    stream = io.BytesIO(b"x" * 1000)
    assert read_error(environ(stream, str(100 * 1024 * 1024))).status == 413
    assert stream.tell() == 0


def test_too_long_chunked_body_is_refused_after_reading_it() -> None:
    stream = io.BytesIO(b"x" * 1_000_000)
    assert read_error(environ(stream, chunked=True)).status == 413
    assert stream.read() == b""


def test_only_so_much_of_an_endless_chunked_body_is_read() -> None:
    class Endless:
        size = 0

        def read(self, size: int) -> bytes:
            self.size += size
            return b"x" * size

    stream = Endless()
    assert read_error(environ(stream, chunked=True)).status == 413
    assert stream.size < 20 * 1024 * 1024


def test_a_body_that_breaks_off_is_refused() -> None:
    error = read_error(environ(io.BytesIO(b"half"), "8"))
    assert (error.status, error.code) == (400, "ERR_BROKEN_BODY")
    assert "4 of 8 bytes" in error.message


@pytest.mark.parametrize("chunked", [False, True])
def test_server_error_while_reading_is_400(chunked: bool) -> None:
    error = read_error(environ(BrokenStream(), None if chunked else "5", chunked=chunked))
    assert (error.status, error.code) == (400, "ERR_BROKEN_BODY")


def test_an_empty_body_is_refused() -> None:
    assert read_error(environ(io.BytesIO(), "0")).status == 400
    assert read_error(environ(io.BytesIO(), chunked=True)).code == "ERR_EMPTY_BODY"


def test_a_body_without_a_length_is_refused() -> None:
    assert read_error(environ(io.BytesIO(b"{}"))).status == 411
    assert read_error(environ(io.BytesIO(b"{}"), "")).status == 411


@pytest.mark.parametrize("length", ["-1", "1e3", "ten", "١"])
def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    assert read_error(environ(io.BytesIO(b"{}"), length)).status == 400


def test_an_absurd_length_is_refused_as_too_long() -> None:
    assert read_error(environ(io.BytesIO(b"{}"), "9" * 5000)).status == 413


@pytest.mark.parametrize("chunked", [False, True])
def test_a_long_body_is_not_discarded_where_the_server_lingers(chunked: bool) -> None:
    stream = io.BytesIO(b"x" * 1_000_000)
    error = read_error(environ(stream, None if chunked else "1000000", chunked=chunked) | {LINGERS_KEY: True})
    assert (error.status, error.headers) == (413, {"Connection": "close"})
    assert stream.tell() <= 64 * 1024 if chunked else stream.tell() == 0
