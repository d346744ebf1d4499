"""Connections that are closed from here, with clients that behave in every way."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from cometbot.web import leaving
from cometbot.web.leaving import MOST_UNREAD, Leaving

HOST = "127.0.0.1"
PATIENCE = 60.0


class Door:
    """What a process has: a poller, and connections that are to be closed."""

    def __init__(self) -> None:
        self.poller = selectors.DefaultSelector()
        self.gone = 0
        self.leaving = Leaving(self.poller, self._count, most=3)
        self._listening = socket.create_server((HOST, 0))

    def _count(self) -> None:
        self.gone += 1

    def connect(self) -> tuple[socket.socket, socket.socket]:
        """A client, and the connection to it here."""
        client = socket.create_connection(self._listening.getsockname(), timeout=PATIENCE)
        return client, self._listening.accept()[0]

    def poll_until(self, gone: int, *, meanwhile: Callable[[], object] = str) -> None:
        """Let the poller do its work until so many have gone."""
        end = time.monotonic() + PATIENCE
        while self.gone < gone:
            assert time.monotonic() < end, "it does not go"
            meanwhile()
            for key, _ in self.poller.select(0.05):
                key.data(key.fileobj)
            self.leaving.tidy()

    def close(self) -> None:
        self._listening.close()
        self.poller.close()


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door()
    yield door
    door.close()


def test_a_client_that_reads_to_the_end_and_closes_is_gone_at_once(door: Door) -> None:
    client, connection = door.connect()
    with client:
        connection.sendall(b"the answer")
        door.leaving.take(connection)
        assert client.recv(100) == b"the answer"
        assert client.recv(100) == b""
        assert (len(door.leaving), door.gone) == (1, 0)
    door.poll_until(1)
    assert connection.fileno() == -1


def test_a_client_that_had_closed_before_costs_nothing(door: Door) -> None:
    client, connection = door.connect()
    client.close()
    end = time.monotonic() + PATIENCE
    while connection.recv(1, socket.MSG_PEEK) and time.monotonic() < end:
        pass
    door.leaving.take(connection)
    assert (len(door.leaving), door.gone, connection.fileno()) == (0, 1, -1)


def test_a_connection_that_is_broken_already_is_closed(door: Door) -> None:
    client, connection = door.connect()
    connection.close()
    door.leaving.take(connection)
    assert (len(door.leaving), door.gone) == (0, 1)
    client.close()


def test_what_the_client_still_sends_does_not_cost_it_the_answer(door: Door) -> None:
    client, connection = door.connect()
    with client:
        client.sendall(b"x" * 10_000)
        connection.sendall(b"the answer")
        door.leaving.take(connection)
        client.sendall(b"x" * 10_000)
        assert client.recv(100) == b"the answer"
        assert client.recv(100) == b""
    door.poll_until(1)


def test_a_client_that_sends_on_and_on_is_cut_off(door: Door) -> None:
    client, connection = door.connect()
    client.setblocking(False)
    door.leaving.take(connection)

    def send() -> None:
        with suppress(BlockingIOError):
            client.send(b"x" * MOST_UNREAD)

    door.poll_until(1, meanwhile=send)
    assert connection.fileno() == -1
    client.close()


def test_a_client_that_sends_a_refused_body_to_its_end_sees_the_answer(door: Door) -> None:
    client, connection = door.connect()
    with client:
        connection.sendall(b"the answer")
        door.leaving.take(connection)
        sending = threading.Thread(target=client.sendall, args=(b"x" * 8 * 1024 * 1024,))
        sending.start()
        while sending.is_alive():
            for key, _ in door.poller.select(0.05):
                key.data(key.fileobj)
            door.leaving.tidy()
        assert client.recv(100) == b"the answer"
        assert client.recv(100) == b""
    door.poll_until(1)


def test_a_client_that_sends_slowly_for_ever_is_cut_off(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "LONGEST_LINGER", 0.3)
    client, connection = door.connect()
    door.leaving.take(connection)

    def send() -> None:
        with suppress(OSError):
            client.send(b"x")

    door.poll_until(1, meanwhile=send)
    assert connection.fileno() == -1
    client.close()


def test_a_client_that_does_nothing_has_its_time_and_not_more(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "LINGER", 0.2)
    client, connection = door.connect()
    began = time.monotonic()
    door.leaving.take(connection)
    door.leaving.tidy()
    assert door.gone == 0 or time.monotonic() - began > 0.2
    door.poll_until(1)
    assert connection.fileno() == -1
    client.close()


def test_of_too_many_the_oldest_makes_room(door: Door) -> None:
    pairs = [door.connect() for _ in range(5)]
    for _, connection in pairs:
        door.leaving.take(connection)
    assert (len(door.leaving), door.gone) == (3, 2)
    assert [connection.fileno() == -1 for _, connection in pairs] == [True, True, False, False, False]
    for client, _ in pairs:
        client.close()
    door.poll_until(5)
