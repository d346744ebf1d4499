"""Files are loaded whole or not at all, in bounded time and size, and from nowhere that is not public."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from cometbot.errors import ChannelError, NotFound, OutcomeUnknown, Rejected
from cometbot.http import client
from cometbot.http.client import MAX_REDIRECTS
from cometbot.http.file_fetcher import Fetcher


@pytest.fixture
def fetcher() -> Iterator[Fetcher]:
    made = Fetcher(allow_private=True)
    yield made
    made.close()


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "file"


def failure(fetcher: Fetcher, url: str, to: Path, limit: int = 100, timeout: float = 20.0) -> ChannelError:
    """The error, after which nothing is left."""
    with pytest.raises(ChannelError) as caught:
        fetcher.fetch(url, to, limit=limit, timeout=timeout)
    assert list(to.parent.iterdir()) == []
    return caught.value


def test_a_file_comes_with_the_name_that_its_address_ends_with(
    fetcher: Fetcher, httpserver: HTTPServer, to: Path
) -> None:
    httpserver.expect_request("/a/two words.pdf", query_string="v=1").respond_with_data(b"%PDF")

    assert fetcher.fetch(httpserver.url_for("/a/two%20words.pdf?v=1"), to, limit=4, timeout=20) == "two words.pdf"
    assert to.read_bytes() == b"%PDF"


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="March report.pdf"', "March report.pdf"),
        ("attachment; filename*=UTF-8''M%C3%A4rz.pdf", "März.pdf"),
        ("inline", "file"),
        ("attachment; filename=", "file"),
    ],
)
def test_a_file_comes_with_the_name_that_its_server_gives_it(
    fetcher: Fetcher, httpserver: HTTPServer, to: Path, header: str, name: str
) -> None:
    httpserver.expect_request("/file").respond_with_data(b"x", headers={"Content-Disposition": header})

    assert fetcher.fetch(httpserver.url_for("/file"), to, limit=100, timeout=20) == name


def test_redirects_are_followed_for_a_while(fetcher: Fetcher, httpserver: HTTPServer, to: Path) -> None:
    for number in range(MAX_REDIRECTS):
        place = {"Location": f"../{number + 1}/photo.jpg"}
        httpserver.expect_request(f"/{number}/photo.jpg").respond_with_data("", 302, headers=place)
    httpserver.expect_request(f"/{MAX_REDIRECTS}/photo.jpg").respond_with_data(b"JPG")
    httpserver.expect_request("/round").respond_with_data("", 307, headers={"Location": "/round"})

    assert fetcher.fetch(httpserver.url_for("/0/photo.jpg"), to, limit=100, timeout=20) == "photo.jpg"
    to.unlink()
    assert f"redirected more than {MAX_REDIRECTS} times" in str(failure(fetcher, httpserver.url_for("/round"), to))


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://example.com/a", "http://[/", "http://a:b/", ""])
def test_a_redirect_that_leads_nowhere_good_is_refused(
    fetcher: Fetcher, serve: Callable[..., str], to: Path, place: str
) -> None:
    url = serve(f"HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode())

    assert isinstance(failure(fetcher, url, to), Rejected)


@pytest.mark.parametrize("status", [204, 206, 304, 400, 401, 403, 404, 410, 451])
def test_4xx_is_rejected(fetcher: Fetcher, httpserver: HTTPServer, to: Path, status: int) -> None:
    httpserver.expect_request("/a").respond_with_data("", status)
    error = failure(fetcher, httpserver.url_for("/a?secret=1"), to)

    assert isinstance(error, Rejected)
    assert error.status == status
    assert isinstance(error, NotFound) == (status in (404, 410))
    assert "secret" not in str(error)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_temporary_error_is_uncertain(fetcher: Fetcher, httpserver: HTTPServer, to: Path, status: int) -> None:
    httpserver.expect_request("/a").respond_with_data("", status)
    error = failure(fetcher, httpserver.url_for("/a"), to)

    assert isinstance(error, OutcomeUnknown)
    assert not error.down


def test_a_file_over_the_limit_is_not_read_to_its_end(fetcher: Fetcher, httpserver: HTTPServer, to: Path) -> None:
    given: list[int] = []

    def endless(request: Request) -> Response:
        def pieces() -> Iterator[bytes]:
            for number in range(10_000):
                given.append(number)
                yield b"x" * 100_000

        return Response(pieces())

    httpserver.expect_request("/endless").respond_with_handler(endless)
    httpserver.expect_request("/said").respond_with_data(b"x" * 101)
    httpserver.expect_request("/fits").respond_with_data(b"x" * 100)

    assert isinstance(failure(fetcher, httpserver.url_for("/endless"), to), Rejected)
    assert len(given) < 2000
    assert "larger than 100 bytes" in str(failure(fetcher, httpserver.url_for("/said"), to))
    fetcher.fetch(httpserver.url_for("/fits"), to, limit=100, timeout=20)


def test_an_empty_file_is_none(fetcher: Fetcher, httpserver: HTTPServer, to: Path) -> None:
    httpserver.expect_request("/a").respond_with_data(b"")

    assert "empty" in str(failure(fetcher, httpserver.url_for("/a"), to))


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Starts a raw server that says ``answer``, a byte every ``pause`` seconds; returns its URL."""
    opened: list[socket.socket] = []

    def start(answer: bytes, pause: float = 0.0) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        opened.append(listener)

        def run() -> None:
            try:
                connection, _ = listener.accept()
                opened.append(connection)
                connection.recv(65536)
                for byte in answer if pause else [answer]:
                    connection.sendall(bytes([byte]) if isinstance(byte, int) else byte)
                    time.sleep(pause)
                connection.close()
            except OSError:
                return

        threading.Thread(target=run, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/a"

    yield start
    for each in opened:
        each.close()


def test_dripping_file_times_out(fetcher: Fetcher, serve: Callable[..., str], to: Path) -> None:
    began = time.monotonic()
    url = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"y" * 1000, 0.02)
    error = failure(fetcher, url, to, limit=2000, timeout=1.5)

    assert isinstance(error, OutcomeUnknown)
    assert time.monotonic() - began < 12


def test_a_file_that_breaks_off_is_not_taken_for_whole(fetcher: Fetcher, serve: Callable[..., str], to: Path) -> None:
    assert isinstance(failure(fetcher, serve(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), to), OutcomeUnknown)


def test_refused_connection_is_uncertain(fetcher: Fetcher, to: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert isinstance(failure(fetcher, f"http://127.0.0.1:{port}/a", to), OutcomeUnknown)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "10.0.0.1", "169.254.169.254", "0.0.0.0"])
def test_private_addresses_are_refused(to: Path, host: str) -> None:
    guarded = Fetcher()
    error = failure(guarded, f"http://{host}:9/a", to, timeout=5)
    guarded.close()

    assert isinstance(error, Rejected)
    assert "COMETBOT_ALLOW_PRIVATE_WEBHOOKS" in str(error)


def test_a_redirect_to_a_private_address_is_refused(
    httpserver: HTTPServer, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr(client, "is_public", lambda address: address == "127.0.0.1")
    httpserver.expect_request("/a").respond_with_data("", 302, headers={"Location": "http://127.0.0.2:9/secret"})
    guarded = Fetcher()
    error = failure(guarded, f"http://127.0.0.1:{httpserver.port}/a", to)
    guarded.close()

    assert isinstance(error, Rejected)
    assert "127.0.0.2" in str(error)
