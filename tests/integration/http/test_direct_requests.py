"""Requests that urllib3 sends alone: the server gets, and the caller learns, the same as with requests."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cometbot.errors import ChannelError, OutcomeUnknown, Unreachable
from cometbot.http.client import HttpClient, make_session

ANSWER = b"HTTP/1.1 200 OK\r\nSet-Cookie: node=7\r\nContent-Length: 2\r\n\r\n{}"
REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "", {}),
    ("GET", "/", {}),
    ("GET", "/v3/users", {"headers": {"apikey": "x", "Accept": "application/json"}}),
    ("GET", "/v3/users?page=2&name=a-b", {}),
    ("GET", "/v3/users", {"params": {"page": 2}}),
    ("POST", "/v3/messages", {"data": b'{"a":1}', "headers": {"Content-Type": "application/json"}}),
    ("POST", "/v3/messages", {}),
    ("PUT", "/v3/bots/b", {"data": b""}),
    ("DELETE", "/v3/bots/b", {}),
    ("GET", "/a b/ü?q=ü", {}),
    ("GET", "/a/../b/./c", {}),
    ("GET", "/%7Euser/%2f", {}),
]


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[str, list[bytes]]]]:
    """Serves each connection with the same answers; returns the URL and what was received."""
    listeners: list[socket.socket] = []

    def start(answer: bytes = ANSWER) -> tuple[str, list[bytes]]:
        listener, received = socket.create_server(("127.0.0.1", 0)), list[bytes]()
        listeners.append(listener)

        def answer_all(connection: socket.socket) -> None:
            with connection, connection.makefile("rb") as file:
                while head := b"".join(iter(file.readline, b"\r\n" if file.peek(1) else b"")):
                    length = next((int(line[15:]) for line in head.splitlines() if line[:15] == b"Content-Length:"), 0)
                    received.append(head + file.read(length))
                    connection.sendall(answer)

        def accept() -> None:
            while True:
                try:
                    connection = listener.accept()[0]
                except OSError:
                    return
                threading.Thread(target=answer_all, args=[connection], daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}", received

    yield start
    for listener in listeners:
        listener.close()


@pytest.fixture(params=["directly", "by requests"])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpClient]:
    if request.param == "by requests":
        monkeypatch.setattr(HttpClient, "_can_send_directly", lambda self, **options: False)
    made = HttpClient(make_session(4), peer="the server")
    yield made
    made.close()


@pytest.mark.parametrize(("method", "path", "options"), REQUESTS)
def test_the_same_bytes_are_sent(
    serve: Callable[..., tuple[str, list[bytes]]],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    path: str,
    options: dict[str, Any],
) -> None:
    url, received = serve()
    seen = []
    for is_direct in (True, False):
        with monkeypatch.context() as changed:
            if not is_direct:
                changed.setattr(HttpClient, "_can_send_directly", lambda self, **options: False)
            client = HttpClient(make_session(4), peer="the server")
            for _ in range(2):  # the second one with the cookie of the first answer
                answer = client.send(method, url + path, "GET it", 30, limit=100, **options)
                seen.append((answer.status, dict(answer.headers), answer.body))
            client.close()
    requests = [sorted(request.lower().partition(b"\r\n\r\n")[0].splitlines()) for request in received]
    bodies = [request.partition(b"\r\n\r\n")[2] for request in received]
    assert requests[:2] == requests[2:]
    assert bodies[:2] == bodies[2:]
    assert seen[:2] == seen[2:]
    assert b"cookie: node=7" in requests[1]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n" + b"x" * 11,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n" + b"x" * 11 + b"\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    ],
    ids=["announced", "chunked", "endless"],
)
def test_larger_answer_is_refused(
    client: HttpClient, serve: Callable[..., tuple[str, list[bytes]]], answer: bytes
) -> None:
    url, _ = serve(answer)
    with pytest.raises(OutcomeUnknown, match="answered with more than 10 bytes") as error:
        client.send("GET", f"{url}/", "GET it", 30, limit=10)
    assert error.value.status == 200


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + b"x" * 10,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n" + b"x" * 10 + b"\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["announced", "chunked", "no content", "refusal", "redirect"],
)
def test_answer_at_the_limit_leaves_the_connection_open(
    client: HttpClient, serve: Callable[..., tuple[str, list[bytes]]], answer: bytes
) -> None:
    url, received = serve(answer)
    for _ in range(3):
        response = client.send("GET", f"{url}/", "GET it", 30, limit=10)
        assert response.status == int(answer[9:12])
        assert response.body in (b"", b"x" * 10)
    assert len(received) == 3
    pools = client.session.get_adapter(url).poolmanager.pools  # type: ignore[attr-defined]
    assert [pools[key].num_connections for key in pools.keys()] == [1]  # noqa: SIM118


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}", b"HTTP/1.1 200 OK\r\n", b"nonsense\r\n\r\n"]
)
def test_broken_answer_has_an_unknown_outcome(
    client: HttpClient, serve: Callable[..., tuple[str, list[bytes]]], answer: bytes
) -> None:
    url, _ = serve(answer)
    with pytest.raises(ChannelError) as error:
        client.send("GET", f"{url}/", "GET it", 0.5, limit=10)
    assert isinstance(error.value, OutcomeUnknown)


def test_unreachable_server_raises_unreachable(client: HttpClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Unreachable, match="the server could not be reached"):
        client.send("GET", f"http://127.0.0.1:{port}/", "GET it", 30, limit=10)


def test_more_servers_than_pools_are_asked(client: HttpClient, serve: Callable[..., tuple[str, list[bytes]]]) -> None:
    servers = [serve() for _ in range(12)]
    for _ in range(2):
        for url, _received in servers:
            assert client.send("GET", f"{url}/", "GET it", 30, limit=10).status == 200
    assert [len(received) for _, received in servers] == [2] * 12
