"""Connections that are closed from here, with clients that behave in every way."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from cometbot.web import lingering_close
from cometbot.web.lingering_close import MAX_UNREAD_SIZE, LingeringCloser

HOST = "127.0.0.1"
TIMEOUT = 60.0


class PollerFixture:
    """What a process has: a poller, and connections that are to be closed."""

    def __init__(self) -> None:
        self.poller = selectors.DefaultSelector()
        self.closed_count = 0
        self.lingering_close = LingeringCloser(self.poller, self._count, limit=3)
        self._listening = socket.create_server((HOST, 0))

    def _count(self) -> None:
        self.closed_count += 1

    def connect(self) -> tuple[socket.socket, socket.socket]:
        """A client, and the connection to it here."""
        client = socket.create_connection(self._listening.getsockname(), timeout=TIMEOUT)
        return client, self._listening.accept()[0]

    def poll_until(self, closed_count: int, *, meanwhile: Callable[[], object] = str) -> None:
        """Let the poller do its work until so many have gone."""
        end = time.monotonic() + TIMEOUT
        while self.closed_count < closed_count:
            assert time.monotonic() < end, "it does not go"
            meanwhile()
            for key, _ in self.poller.select(0.05):
                key.data(key.fileobj)
            self.lingering_close.close_expired()

    def close(self) -> None:
        self._listening.close()
        self.poller.close()


@pytest.fixture
def poller_fixture() -> Iterator[PollerFixture]:
    poller_fixture = PollerFixture()
    yield poller_fixture
    poller_fixture.close()


def test_client_that_closes_is_closed_at_once(poller_fixture: PollerFixture) -> None:
    client, connection = poller_fixture.connect()
    with client:
        connection.sendall(b"the answer")
        poller_fixture.lingering_close.add(connection)
        assert client.recv(100) == b"the answer"
        assert client.recv(100) == b""
        assert (len(poller_fixture.lingering_close), poller_fixture.closed_count) == (1, 0)
    poller_fixture.poll_until(1)
    assert connection.fileno() == -1


def test_a_client_that_had_closed_before_costs_nothing(poller_fixture: PollerFixture) -> None:
    client, connection = poller_fixture.connect()
    client.close()
    end = time.monotonic() + TIMEOUT
    while connection.recv(1, socket.MSG_PEEK) and time.monotonic() < end:
        pass
    poller_fixture.lingering_close.add(connection)
    assert (len(poller_fixture.lingering_close), poller_fixture.closed_count, connection.fileno()) == (0, 1, -1)


def test_a_connection_that_is_broken_already_is_closed(poller_fixture: PollerFixture) -> None:
    client, connection = poller_fixture.connect()
    connection.close()
    poller_fixture.lingering_close.add(connection)
    assert (len(poller_fixture.lingering_close), poller_fixture.closed_count) == (0, 1)
    client.close()


def test_what_the_client_still_sends_does_not_cost_it_the_answer(poller_fixture: PollerFixture) -> None:
    client, connection = poller_fixture.connect()
    with client:
        client.sendall(b"x" * 10_000)
        connection.sendall(b"the answer")
        poller_fixture.lingering_close.add(connection)
        client.sendall(b"x" * 10_000)
        assert client.recv(100) == b"the answer"
        assert client.recv(100) == b""
    poller_fixture.poll_until(1)


def test_a_client_that_sends_on_and_on_is_cut_off(poller_fixture: PollerFixture) -> None:
    client, connection = poller_fixture.connect()
    client.setblocking(False)
    poller_fixture.lingering_close.add(connection)

    def send() -> None:
        with suppress(BlockingIOError):
            client.send(b"x" * MAX_UNREAD_SIZE)

    poller_fixture.poll_until(1, meanwhile=send)
    assert connection.fileno() == -1
    client.close()


def test_client_that_sends_a_refused_body_gets_the_answer(poller_fixture: PollerFixture) -> None:
    client, connection = poller_fixture.connect()
    with client:
        connection.sendall(b"the answer")
        poller_fixture.lingering_close.add(connection)
        sending = threading.Thread(target=client.sendall, args=(b"x" * 8 * 1024 * 1024,))
        sending.start()
        while sending.is_alive():
            for key, _ in poller_fixture.poller.select(0.05):
                key.data(key.fileobj)
            poller_fixture.lingering_close.close_expired()
        assert client.recv(100) == b"the answer"
        assert client.recv(100) == b""
    poller_fixture.poll_until(1)


def test_a_client_that_sends_slowly_for_ever_is_cut_off(
    poller_fixture: PollerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering_close, "TOTAL_LINGER_TIMEOUT", 0.3)
    client, connection = poller_fixture.connect()
    poller_fixture.lingering_close.add(connection)

    def send() -> None:
        with suppress(OSError):
            client.send(b"x")

    poller_fixture.poll_until(1, meanwhile=send)
    assert connection.fileno() == -1
    client.close()


def test_a_client_that_does_nothing_has_its_time_and_not_more(
    poller_fixture: PollerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering_close, "LINGER_TIMEOUT", 0.2)
    client, connection = poller_fixture.connect()
    began = time.monotonic()
    poller_fixture.lingering_close.add(connection)
    poller_fixture.lingering_close.close_expired()
    assert poller_fixture.closed_count == 0 or time.monotonic() - began > 0.2
    poller_fixture.poll_until(1)
    assert connection.fileno() == -1
    client.close()


def test_of_too_many_the_oldest_makes_room(poller_fixture: PollerFixture) -> None:
    pairs = [poller_fixture.connect() for _ in range(5)]
    for _, connection in pairs:
        poller_fixture.lingering_close.add(connection)
    assert (len(poller_fixture.lingering_close), poller_fixture.closed_count) == (3, 2)
    assert [connection.fileno() == -1 for _, connection in pairs] == [True, True, False, False, False]
    for client, _ in pairs:
        client.close()
    poller_fixture.poll_until(5)
