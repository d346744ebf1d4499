"""Requests that a real server refuses before their body arrives, and proxies that speak another protocol."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ..conftest import LOGIN, WAIT_TIMEOUT, CometChatDriver, Server, StartServer

pytestmark = pytest.mark.process

BODY_TIMEOUT = 100.0
MAX_IMMEDIATE_SECONDS = BODY_TIMEOUT / 2
"""Seconds within which a server answers that does not wait for a body."""

PROXY_V1 = b"PROXY TCP4 198.51.100.7 192.0.2.1 50000 8000\r\n"
PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([198, 51, 100, 7, 192, 0, 2, 1, 0xC3, 0x50, 0x1F, 0x40])
TOKEN = "0123456789abcdef" * 2
VALID_AUTHORIZATION = "Basic " + base64.b64encode(":".join(LOGIN).encode()).decode()
PATHS = {
    "callback": "/cometchat/trial",
    "chat_api": "/chat/trial/users",
    "platform": "/v1/client-api/user",
    "agui": "/agui/trial",
}


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> Server:
    return start_server(
        COMETBOT_BODY_TIMEOUT=str(BODY_TIMEOUT),
        COMETBOT_CHANNELS="cometchat,chat_api,platform,agui",
        COMETBOT_PROCESSES="1",
        COMETBOT_THREADS="1",
        PLATFORM_ADMIN_SECRET_KEY="an-admin-secret-of-32-characters",
        AGUI_TOKEN=TOKEN,
    )


def head(path: str, *more: str, authorization: str = VALID_AUTHORIZATION) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: bots.example.com", "Content-Type: application/json", *more]
    return "\r\n".join([*lines, f"Authorization: {authorization}", "", ""]).encode()


@contextmanager
def connect(server: Server) -> Iterator[socket.socket]:
    with socket.create_connection(server.address, timeout=WAIT_TIMEOUT) as connection:
        yield connection


def read_all(connection: socket.socket) -> bytes:
    """Return what comes until the server closes."""
    received = b""
    while piece := connection.recv(65536):
        received += piece
    return received


@pytest.mark.parametrize("channel", PATHS)
def test_a_body_too_long_by_its_header_is_refused_at_once(server: Server, channel: str) -> None:
    began = time.monotonic()
    with connect(server) as connection:
        connection.sendall(head(PATHS[channel], "Content-Length: 12000000", f"X-API-Key: {TOKEN}"))
        response = read_all(connection)
    assert response.startswith(b"HTTP/1.1 413 "), response
    assert b"connection: close" in response.lower()
    assert time.monotonic() - began < MAX_IMMEDIATE_SECONDS


def test_a_client_that_sends_a_long_body_first_sees_the_refusal(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(head(PATHS["callback"], "Content-Length: 12000000"))
        connection.sendall(b"x" * 12_000_000)
        assert read_all(connection).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("length", "authorization", "status"), [("2", "Basic bm86bm8=", b"401"), ("12000000", VALID_AUTHORIZATION, b"413")]
)
def test_a_refusal_comes_without_100_continue(server: Server, length: str, authorization: str, status: bytes) -> None:
    began = time.monotonic()
    with connect(server) as connection:
        request = head(
            PATHS["callback"], "Expect: 100-continue", f"Content-Length: {length}", authorization=authorization
        )
        connection.sendall(request)
        response = read_all(connection)
    assert response.startswith(b"HTTP/1.1 " + status), response
    assert b"connection: close" in response.lower()
    assert time.monotonic() - began < MAX_IMMEDIATE_SECONDS


def test_a_body_that_is_wanted_is_asked_for(server: Server, platform: CometChatDriver) -> None:
    body = json.dumps(platform.callback(platform.write("expected", "ella"))).encode()
    with connect(server) as connection:
        connection.sendall(head(PATHS["callback"], "Expect: 100-continue", f"Content-Length: {len(body)}"))
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        # The connection stays usable, and another request needs no second "100 Continue".
        connection.sendall(head(PATHS["callback"], f"Content-Length: {len(body)}", "Connection: close") + body)
        assert read_all(connection).startswith(b"HTTP/1.1 200 ")
    assert platform.wait_replies("ella", 1, server) == ["re: expected"]


@pytest.mark.parametrize("header", [PROXY_V1, PROXY_V2], ids=["v1", "v2"])
def test_the_proxy_protocol_is_refused_with_a_sentence(server: Server, header: bytes) -> None:
    with connect(server) as connection:
        connection.sendall(header + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        response = read_all(connection)
    assert response.startswith(b"HTTP/1.1 400 "), response
    sentence = "the PROXY protocol is not supported. Switch it off in the proxy"
    assert json.loads(response.partition(b"\r\n\r\n")[2])["error"]["message"].startswith(sentence)
    server.wait_until(lambda: sentence in server.log)
