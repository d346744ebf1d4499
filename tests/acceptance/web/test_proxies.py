"""Headers by which a client behind a trusted proxy tries to reach what the proxy filters by path."""

from __future__ import annotations

import socket

import pytest

from ..conftest import LOGIN, WAIT_TIMEOUT, Server, StartServer

pytestmark = pytest.mark.process

PREFIX_HEADERS = (
    "SCRIPT_NAME",
    "Script_Name",
    "script-name",
    "X-Script-Name",
    "X_SCRIPT_NAME",
    "X-Forwarded-Prefix",
    "X_Forwarded_Prefix",
    "HTTP_SCRIPT_NAME",
    "X-Forwarded-Path",
)
PATH_HEADERS = (
    "PATH_INFO",
    "Path-Info",
    "HTTP_PATH_INFO",
    "RAW_URI",
    "REQUEST_URI",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Original-URI",
)
SCHEME_HEADERS = (
    "X-Forwarded-Ssl: on",
    "X-Forwarded-Protocol: ssl",
    "X-Forwarded-Scheme: https",
    "Forwarded: proto=https",
)
INNER_PATHS = ("/healthz", "/readyz", "/metrics", "/v1/admin-api/bot/trial/key")


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> Server:
    return start_server(
        COMETBOT_TRUSTED_PROXIES="127.0.0.1",
        COMETBOT_CHANNELS="cometchat,platform,chat_api",
        COMETBOT_PROCESSES="1",
        PLATFORM_ADMIN_SECRET_KEY="an-admin-secret-of-32-characters",
    )


def get(server: Server, path: str, *headers: str, method: str = "GET") -> tuple[int, bytes]:
    """Return the status and the whole response to raw headers, which no client library rewrites."""
    lines = [f"{method} {path} HTTP/1.1", "Host: bots.example.com", "Connection: close", *headers, "", ""]
    with socket.create_connection(server.address, timeout=WAIT_TIMEOUT) as connection:
        connection.sendall("\r\n".join(lines).encode())
        received = b""
        while piece := connection.recv(65536):
            received += piece
    return int(received.split()[1]), received


@pytest.mark.parametrize("path", INNER_PATHS)
def test_inner_paths_are_there_without_a_prefix(server: Server, path: str) -> None:
    assert get(server, path)[0] != 404


@pytest.mark.parametrize("path", INNER_PATHS)
def test_no_header_moves_the_prefix_of_the_path(server: Server, path: str) -> None:
    plain, _ = get(server, f"/cometchat{path}")
    found = {name: get(server, f"/cometchat{path}", f"{name}: /cometchat")[0] for name in PREFIX_HEADERS}
    assert found == dict.fromkeys(PREFIX_HEADERS, plain)
    assert plain in (404, 405)


def test_no_header_replaces_the_path(server: Server) -> None:
    plain, _ = get(server, "/cometchat/nobody")
    found = {name: get(server, "/cometchat/nobody", f"{name}: /metrics") for name in PATH_HEADERS}
    assert {name: status for name, (status, _) in found.items()} == dict.fromkeys(PATH_HEADERS, plain)
    assert not any(b"cometbot_events" in response for _, response in found.values())


@pytest.mark.parametrize("name", ["REMOTE_USER", "Remote-User", "HTTP_AUTHORIZATION", "X-Remote-User", "AUTH_TYPE"])
def test_no_header_replaces_the_credentials(server: Server, name: str) -> None:
    assert get(server, "/cometchat/trial", "Content-Length: 0", f"{name}: {LOGIN[0]}", method="POST")[0] == 401


def test_only_one_header_gives_the_scheme(server: Server) -> None:
    path = f"/chat/{server.bot}/openapi.json"
    assert b'"https://bots.example.com/chat' in get(server, path, "X-Forwarded-Proto: https")[1]
    for header in SCHEME_HEADERS:
        status, response = get(server, path, header, "X-Forwarded-Proto: http")
        assert (status, b'"http://bots.example.com/chat' in response) == (200, True), header
        assert b'"http://bots.example.com/chat' in get(server, path, header)[1], header
