"""Real sockets, of a kind that keeps apart what was sent apart."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import pytest

from cometbot.web.connection import Connection

Pair = tuple[Connection, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    taken = Connection.taking(mine)
    assert isinstance(taken, Connection)
    its.settimeout(30)
    with taken, its:
        yield taken, its


def test_what_is_held_goes_out_in_one_piece_with_what_follows(pair: Pair) -> None:
    connection, client = pair
    connection.hold()
    connection.sendall(b"head ")
    connection.sendall(b"body")
    connection.sendall(b"more")
    assert [client.recv(100), client.recv(100)] == [b"head body", b"more"]


def test_what_nothing_follows_goes_out_with_a_flush(pair: Pair) -> None:
    connection, client = pair
    connection.hold()
    connection.sendall(b"head")
    connection.flush()
    assert client.recv(100) == b"head"
    connection.sendall(b"next")
    assert client.recv(100) == b"next"


def test_a_hold_that_was_not_used_ends_with_a_flush(pair: Pair) -> None:
    connection, client = pair
    connection.hold()
    connection.flush()
    connection.sendall(b"an error")
    assert client.recv(100) == b"an error"


@pytest.mark.parametrize("timeout", [None, 0.0, 2.5])
def test_a_socket_that_is_taken_keeps_its_file_and_its_time_out(timeout: float | None) -> None:
    mine, its = socket.socketpair()
    mine.settimeout(timeout)
    file = mine.fileno()
    with its, Connection.taking(mine) as taken:
        assert (taken.fileno(), taken.gettimeout(), mine.fileno()) == (file, timeout, -1)
        taken.sendall(b"said")
        assert its.recv(100) == b"said"


def test_what_is_more_than_a_plain_socket_stays_as_it_is(pair: Pair) -> None:
    assert Connection.taking(pair[0]) is pair[0]
    plain, other = socket.socketpair()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with context.wrap_socket(plain, server_hostname="example.com", do_handshake_on_connect=False) as encrypted, other:
        assert Connection.taking(encrypted) is encrypted
