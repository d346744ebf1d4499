"""Real sockets, of a kind that keeps apart what was sent apart."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import pytest

from cometbot.web.client_connection import CorkableSocket

Pair = tuple[CorkableSocket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    wrapped = CorkableSocket.wrap(mine)
    assert isinstance(wrapped, CorkableSocket)
    its.settimeout(30)
    with wrapped, its:
        yield wrapped, its


def test_corked_data_is_sent_with_the_next(pair: Pair) -> None:
    connection, client = pair
    connection.cork()
    connection.sendall(b"head ")
    connection.sendall(b"body")
    connection.sendall(b"more")
    assert [client.recv(100), client.recv(100)] == [b"head body", b"more"]


def test_uncork_sends_corked_data(pair: Pair) -> None:
    connection, client = pair
    connection.cork()
    connection.sendall(b"head")
    connection.uncork()
    assert client.recv(100) == b"head"
    connection.sendall(b"next")
    assert client.recv(100) == b"next"


def test_uncork_ends_an_unused_cork(pair: Pair) -> None:
    connection, client = pair
    connection.cork()
    connection.uncork()
    connection.sendall(b"an error")
    assert client.recv(100) == b"an error"


@pytest.mark.parametrize("timeout", [None, 0.0, 2.5])
def test_wrapped_socket_keeps_its_file_and_timeout(timeout: float | None) -> None:
    mine, its = socket.socketpair()
    mine.settimeout(timeout)
    file = mine.fileno()
    with its, CorkableSocket.wrap(mine) as wrapped:
        assert (wrapped.fileno(), wrapped.gettimeout(), mine.fileno()) == (file, timeout, -1)
        wrapped.sendall(b"said")
        assert its.recv(100) == b"said"


def test_what_is_more_than_a_plain_socket_stays_as_it_is(pair: Pair) -> None:
    assert CorkableSocket.wrap(pair[0]) is pair[0]
    plain, other = socket.socketpair()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with context.wrap_socket(plain, server_hostname="example.com", do_handshake_on_connect=False) as encrypted, other:
        assert CorkableSocket.wrap(encrypted) is encrypted
