"""Checks if an idle connection to PostgreSQL is usable, without a round trip where possible."""

from __future__ import annotations

import select
from typing import Any

import psycopg
from psycopg.pq import ConnStatus, TransactionStatus

MAX_IDLE_WITHOUT_PING = 2.0
"""Seconds of idleness from which the server is pinged; before that, only received data is checked."""

PING_TIMEOUT = 0.3
"""Seconds within which a pinged server must respond."""


def is_usable(connection: psycopg.Connection[Any]) -> bool:
    """Return True if a connection is open and in no transaction."""
    return not connection.closed and connection.info.transaction_status == TransactionStatus.IDLE


def is_alive(connection: psycopg.Connection[Any], idle: float) -> bool:
    """Return True if a connection that was idle for ``idle`` seconds can be used.

    A server that ends a connection sends a message or closes the socket: either makes the socket readable. A firewall
    that drops a connection sends nothing, so after some seconds the server is pinged with an empty query.
    """
    if not is_usable(connection) or _is_readable(connection, 0.0):
        return False
    return idle < MAX_IDLE_WITHOUT_PING or _ping(connection)


def _is_readable(connection: psycopg.Connection[Any], timeout: float) -> bool:
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(timeout * 1000))


def _ping(connection: psycopg.Connection[Any]) -> bool:
    raw = connection.pgconn
    try:
        raw.send_query(b"")
        while raw.is_busy():
            if not _is_readable(connection, PING_TIMEOUT):
                return False
            raw.consume_input()
        while raw.get_result() is not None:
            pass
    except psycopg.Error:
        return False
    return raw.status == ConnStatus.OK
