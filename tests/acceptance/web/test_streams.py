"""Event streams of a real server: heard across processes, capped, and no hindrance to a stop."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import pytest
import requests

from cometbot.temporary_folders import TemporaryFolder
from tests.acceptance.conftest import WAIT_TIMEOUT, Server, wait_for

pytestmark = pytest.mark.process

GUNICORN = (sys.executable, "-m", "gunicorn", "tests.acceptance.bots.listening:app()")


class StreamServer(Server):
    """gunicorn with rooms to listen to."""

    command = GUNICORN

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        try:
            return self.get("/hello").status_code == 200
        except requests.RequestException:
            return False

    def create_conversation(self) -> str:
        return str(requests.post(self.url + "/rooms", timeout=WAIT_TIMEOUT).json()["id"])

    def post_text(self, room: str, text: str) -> int:
        """The process that took it in."""
        answer = requests.post(f"{self.url}/rooms/{room}", text, timeout=WAIT_TIMEOUT, headers={"Connection": "close"})
        assert answer.status_code == 200, answer.text
        return int(answer.json()["pid"])

    def listen(self, room: str, source: str = "127.0.0.1", *headers: str) -> Stream:
        return Stream(self.address, room, source, headers)


class Stream:
    """One open stream, read by a thread of its own."""

    def __init__(self, address: tuple[str, int], room: str, source: str, headers: Sequence[str]) -> None:
        self.socket = socket.create_connection(address, timeout=WAIT_TIMEOUT, source_address=(source, 0))
        lines = [f"GET /rooms/{room} HTTP/1.1", "Host: x", *headers, "", ""]
        self.socket.sendall("\r\n".join(lines).encode())
        self.received = b""
        self.is_over = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with self.socket, suppress(OSError):
            while piece := self.socket.recv(65536):
                self.received += piece
        self.is_over = True

    @property
    def frames(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in re.findall(rb"data: (.*)\n\n", self.received)]

    @property
    def pid(self) -> int:
        """The process that holds the stream."""
        wait_for(lambda: self.frames or self.is_over)
        return int(str(self.frames[0]["pid"]))

    def texts(self) -> list[object]:
        return [frame["said"] for frame in self.frames[1:]]

    def close(self) -> None:
        """Go away without a word."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)


Serve = Callable[..., StreamServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server; ``variables`` go into its environment."""
    started: list[StreamServer] = []
    with TemporaryFolder("test") as folder:

        def start(**variables: str) -> StreamServer:
            environ = {"COMETBOT_CHANNELS": "chat_api", **variables}
            started.append(StreamServer(folder, environ))
            started[-1].start()
            return started[-1]

        yield start
        for server in started:
            server.close()


def streams_in_two_processes(server: StreamServer, room: str) -> list[Stream]:
    """Streams of which at least two are held by different processes."""
    opened = [server.listen(room)]
    while len({stream.pid for stream in opened}) < 2:
        assert len(opened) < 60, "all connections went to one process"
        opened.append(server.listen(room))
    return opened


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_streams_receive_messages_of_other_processes(serve: Serve, kind: str, request: pytest.FixtureRequest) -> None:
    variables = {"COMETBOT_DATABASE_URL": request.getfixturevalue("postgres_url")} if kind == "postgresql" else {}
    server = serve(**variables)
    room = server.create_conversation()
    streams = streams_in_two_processes(server, room)
    takers: set[int] = set()
    said: list[object] = []
    while len(takers) < 2 or len(said) < 20:
        assert len(said) < 200, "all connections went to one process"
        said.append(f"{len(said)}")
        takers.add(server.post_text(room, str(said[-1])))
    assert takers == {stream.pid for stream in streams}
    server.wait_until(lambda: all(len(stream.texts()) >= len(said) for stream in streams))
    assert [stream.texts() for stream in streams] == [said] * len(streams)
    assert (server.terminate(), [stream.is_over for stream in streams]) == (0, [True] * len(streams))


def test_a_flood_of_streams_leaves_requests_their_threads(serve: Serve) -> None:
    server = serve(COMETBOT_PROCESSES="1", COMETBOT_STREAMS="12", COMETBOT_THREADS="8", COMETBOT_ADDRESS_STREAMS="0")
    room = server.create_conversation()
    streams = [server.listen(room) for _ in range(40)]
    server.wait_until(lambda: all(b"\r\n\r\n" in stream.received for stream in streams))
    heads = [stream.received.partition(b"\r\n\r\n")[0] for stream in streams]
    taken = [head for head in heads if b"200 OK" in head]
    refused = [head for head in heads if b" 503 " in head]
    assert (len(taken), len(refused)) == (12, 28)
    assert all(b"retry-after: 5" in head.lower() for head in refused)
    for _ in range(20):
        assert server.get("/hello").json()["streams"] == 12
    for stream in streams:
        stream.close()
    server.wait_until(lambda: server.get("/hello").json()["streams"] == 0)
    again = server.listen(room)
    server.wait_until(lambda: b"\r\n\r\n" in again.received)
    server.post_text(room, "hello")
    server.wait_until(lambda: again.texts() == ["hello"])


def statuses(server: StreamServer, streams: Sequence[Stream]) -> list[int]:
    """Return the status of each stream, once all have one."""
    server.wait_until(lambda: all(b"\r\n\r\n" in stream.received for stream in streams))
    return [int(stream.received.split()[1]) for stream in streams]


def test_one_address_leaves_streams_to_the_others(serve: Serve) -> None:
    server = serve(COMETBOT_PROCESSES="1", COMETBOT_STREAMS="12", COMETBOT_THREADS="8")
    room = server.create_conversation()
    greedy = [server.listen(room) for _ in range(20)]
    assert sorted(statuses(server, greedy)) == [200] * 6 + [429] * 14
    refused = next(stream for stream in greedy if b" 429 " in stream.received)
    assert b"retry-after: 5" in refused.received.lower()
    assert statuses(server, [server.listen(room, "127.0.0.2")]) == [200]
    assert server.log.count("refused an event stream: one address has 6 open") == 1


def test_clients_behind_a_trusted_proxy_are_counted_apart(serve: Serve) -> None:
    server = serve(COMETBOT_PROCESSES="1", COMETBOT_ADDRESS_STREAMS="2", COMETBOT_TRUSTED_PROXIES="127.0.0.1")
    room = server.create_conversation()
    by_client = {
        client: statuses(server, [server.listen(room, "127.0.0.1", f"X-Forwarded-For: {client}{end}") for end in "123"])
        for client in ("192.0.2.", "2001:db8:0:1::", "2001:db8:0:2::")
    }
    assert by_client.pop("192.0.2.") == [200, 200, 200]
    assert {client: sorted(found) for client, found in by_client.items()} == {
        client: [200, 200, 429] for client in by_client
    }


def test_a_stop_ends_streams_at_once(serve: Serve) -> None:
    server = serve()
    room = server.create_conversation()
    streams = [server.listen(room) for _ in range(10)]
    server.wait_until(lambda: all(stream.frames for stream in streams))
    began = time.monotonic()
    assert server.terminate() == 0
    assert time.monotonic() - began < 25, "it waited until the server's patience had ended"
    wait_for(lambda: all(stream.is_over for stream in streams))
    assert all(stream.received.endswith(b"0\r\n\r\n") for stream in streams), "they ended in good order"
    assert "Traceback" not in server.log


def test_an_answer_that_closes_its_connection_says_so_and_does(serve: Serve) -> None:
    server = serve(COMETBOT_PROCESSES="1")
    with socket.create_connection(server.address, timeout=WAIT_TIMEOUT) as connection:
        connection.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"Connection: keep-alive" in connection.recv(65536)
        connection.sendall(b"GET /goodbye HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        while piece := connection.recv(65536):
            received += piece
    assert b"Connection: close" in received
    assert received.endswith(b"bye")
