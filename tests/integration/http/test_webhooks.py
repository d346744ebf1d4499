"""Webhooks over real connections: what each answer means, and whom nobody gets through to."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from cometbot.errors import (
    AuthenticationFailed,
    ChannelError,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Unreachable,
)
from cometbot.http import client
from cometbot.http.webhooks import WebhookClient

SECRET = "s3cret-value"


@pytest.fixture
def webhooks() -> Iterator[WebhookClient]:
    made = WebhookClient(allow_private=True)
    yield made
    made.close()


def post(webhooks: WebhookClient, url: str, timeout: float = 30.0) -> None:
    webhooks.post(url, b'{"type": "x"}', {"x-secret-key": SECRET}, timeout)


def failure(webhooks: WebhookClient, url: str, timeout: float = 30.0) -> ChannelError:
    with pytest.raises(ChannelError) as caught:
        post(webhooks, url, timeout)
    assert SECRET not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_2xx_means_delivered(webhooks: WebhookClient, httpserver: HTTPServer, status: int) -> None:
    httpserver.expect_oneshot_request(
        "/hook",
        method="POST",
        query_string="a=b",
        headers={"Content-Type": "application/json", "x-secret-key": SECRET},
        data='{"type": "x"}',
    ).respond_with_data("whatever", status=status)
    post(webhooks, httpserver.url_for("/hook?a=b"))
    httpserver.check()


@pytest.mark.parametrize(
    ("status", "kind", "down"),
    [
        (400, Rejected, None),
        (401, AuthenticationFailed, None),
        (403, AuthenticationFailed, None),
        (404, NotFound, None),
        (410, NotFound, None),
        (422, Rejected, None),
        (408, OutcomeUnknown, False),
        (500, OutcomeUnknown, False),
        (502, OutcomeUnknown, True),
        (503, OutcomeUnknown, True),
        (504, OutcomeUnknown, True),
    ],
)
def test_other_answers_are_errors_that_delivery_can_decide_by(
    webhooks: WebhookClient, httpserver: HTTPServer, status: int, kind: type[ChannelError], down: bool | None
) -> None:
    httpserver.expect_request("/hook").respond_with_data("no", status=status)
    error = failure(webhooks, httpserver.url_for("/hook"))
    assert type(error) is kind
    assert str(status) in str(error)
    assert getattr(error, "down", None) == down
    assert "/hook" not in str(error), "a path may hold a token"


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("7", 7, 7),
        ("999999", 3600, 3600),
        ("", 10, 10),
        ("soon", 10, 10),
        ("in a minute", 50, 60),
        (formatdate(0, usegmt=True), 0, 0),
    ],
)
def test_429_carries_retry_after(
    webhooks: WebhookClient, httpserver: HTTPServer, header: str, low: float, high: float
) -> None:
    said = formatdate(time.time() + 60, usegmt=True) if header == "in a minute" else header
    headers = {"Retry-After": said} if said else {}
    httpserver.expect_request("/hook").respond_with_data("", status=429, headers=headers)
    error = failure(webhooks, httpserver.url_for("/hook"))
    assert isinstance(error, RateLimited)
    assert low <= error.retry_after <= high


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(webhooks: WebhookClient, httpserver: HTTPServer, status: int) -> None:
    elsewhere = httpserver.url_for("/elsewhere")
    httpserver.expect_request("/hook").respond_with_data("", status=status, headers={"Location": elsewhere})
    error = failure(webhooks, httpserver.url_for("/hook"))
    assert isinstance(error, Rejected)
    assert "redirect" in str(error)
    assert len(httpserver.log) == 1


def test_a_long_answer_is_not_read(webhooks: WebhookClient, httpserver: HTTPServer) -> None:
    given: list[int] = []

    def endless(request: Request) -> Response:
        def pieces() -> Iterator[bytes]:
            for nth in range(10_000):
                given.append(nth)
                yield b"x" * 100_000

        return Response(pieces())

    httpserver.expect_request("/hook").respond_with_handler(endless)
    post(webhooks, httpserver.url_for("/hook"))
    assert len(given) < 2000


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
        return f"http://127.0.0.1:{listener.getsockname()[1]}/hook"

    yield start
    for each in opened:
        each.close()


def test_dripping_response_is_cut_off_in_time(webhooks: WebhookClient, serve: Callable[..., str]) -> None:
    began = time.monotonic()
    error = failure(webhooks, serve(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000, 0.02), timeout=0.4)
    assert isinstance(error, OutcomeUnknown)
    assert error.down
    assert time.monotonic() - began < 15


def test_a_connection_that_breaks_is_uncertain(webhooks: WebhookClient, serve: Callable[..., str]) -> None:
    error = failure(webhooks, serve(b""))
    assert isinstance(error, OutcomeUnknown)
    assert not error.down


def test_refused_connection_is_unreachable(webhooks: WebhookClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert isinstance(failure(webhooks, f"http://127.0.0.1:{port}/hook"), Unreachable)


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Lets a host name lead to addresses, one after the other at each look-up."""
    real, told = socket.getaddrinfo, dict[str, list[str]]()

    def look_up(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host in told:
            addresses = told[host]
            host = addresses.pop(0) if len(addresses) > 1 else addresses[0]
        return real(host, port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return lambda name, *addresses: told.setdefault(name, list(addresses)) and None


def test_name_with_private_address_is_never_connected_to(resolve: Callable[..., None], httpserver: HTTPServer) -> None:
    resolve("hook.example", "127.0.0.1")
    guarded = WebhookClient()
    for scheme in ("http", "https"):
        error = failure(guarded, f"{scheme}://hook.example:{httpserver.port}/hook")
        assert isinstance(error, Rejected)
        assert "COMETBOT_ALLOW_PRIVATE_WEBHOOKS" in str(error)
    guarded.close()
    assert httpserver.log == []


def test_dns_rebinding_is_refused(
    resolve: Callable[..., None], httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address that was looked at is the one that is connected to."""
    monkeypatch.setattr(client, "is_public", lambda address: address == "127.0.0.2")
    resolve("hook.example", "127.0.0.2", "127.0.0.1", "127.0.0.1")
    guarded = WebhookClient()
    error = failure(guarded, f"http://hook.example:{httpserver.port}/hook", timeout=2)
    guarded.close()
    assert isinstance(error, Unreachable), "nobody listens at the address that was looked at"
    assert httpserver.log == []


def test_a_public_address_is_called_by_its_name(
    resolve: Callable[..., None], httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "is_public", lambda address: True)
    resolve("hook.example", "127.0.0.1")
    httpserver.expect_request("/hook").respond_with_data("")
    guarded = WebhookClient()
    post(guarded, f"http://hook.example:{httpserver.port}/hook")
    guarded.close()
    [(request, _)] = httpserver.log
    assert request.host == f"hook.example:{httpserver.port}"


def test_a_name_that_nobody_knows_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **options: Any) -> Any:
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    guarded = WebhookClient()
    assert isinstance(failure(guarded, "https://nowhere.example/"), Unreachable)
    guarded.close()


def test_an_address_that_is_none_is_refused_at_once(webhooks: WebhookClient) -> None:
    assert isinstance(failure(webhooks, "ftp://example.com/"), Rejected)
