"""More than can be done at once: what cannot be stored is not acknowledged, and what was acknowledged is done later."""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager

import pytest

from .conftest import WAIT_TIMEOUT, CometChatDriver, Server, StartServer

BUSY = 3.0
"""Seconds for which somebody else writes to the database."""

ACK_LIMIT = 10.0
"""Seconds within which a callback that cannot be stored is refused: the second that it waits, on a busy machine."""

pytestmark = pytest.mark.process


@contextmanager
def _lock_database(server: Server) -> Iterator[None]:
    """Hold the database as another process does that writes for long."""
    with closing(sqlite3.connect(server.database, timeout=WAIT_TIMEOUT, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


def _post(server: Server, callback: object) -> tuple[int, str, float]:
    """The status, what the answer says about coming back, and the seconds that it took."""
    began = time.monotonic()
    answer = server.post(callback)
    return answer.status_code, answer.headers.get("Retry-After", ""), time.monotonic() - began


def test_busy_database_refuses_callbacks_in_time(server: Server, platform: CometChatDriver) -> None:
    # As many as one process has threads, so that none waits for a thread whichever process it comes to.
    users = [f"guest-{number}" for number in range(8)]
    callbacks = [platform.callback(platform.write("hello", user)) for user in users]
    refused: list[tuple[int, str, float]] = []
    began = threading.Event()
    with _lock_database(server), ThreadPoolExecutor(len(users)) as pool:
        until = time.monotonic() + BUSY

        def insist(number: int) -> None:
            # At different times, so that some come while others have waited long already.
            began.wait(number / 10)
            while time.monotonic() < until:
                refused.append(_post(server, callbacks[number]))

        list(pool.map(insist, range(len(users))))
        assert server.get("/healthz").status_code == 200
    assert {(status, retry_after) for status, retry_after, _ in refused} == {(503, "1")}
    assert max(seconds for _, _, seconds in refused) < ACK_LIMIT, sorted(seconds for _, _, seconds in refused)
    assert server.query("SELECT COUNT(*) FROM mailbox") == [(0,)]
    for callback in callbacks:
        assert _post(server, callback)[0] == 200
    for user in users:
        assert platform.wait_replies(user, 1, server) == ["re: hello"]
    assert server.get("/readyz").status_code == 200


def test_reply_ready_while_database_is_busy_is_sent(server: Server, platform: CometChatDriver) -> None:
    assert server.post(platform.callback(platform.write("/gate", "waiter"))).status_code == 200
    server.wait_until(lambda: server.count_marks("gate"))
    with _lock_database(server):
        server.open_gate()
        until = time.monotonic() + BUSY
        while time.monotonic() < until:
            assert server.get("/readyz").status_code == 200
        assert platform.replies("waiter") == []
    assert platform.wait_replies("waiter", 1, server) == ["came through"]
    assert server.count_marks("gate") == 1, "a handler ran again that had done its work"


def test_callbacks_are_acknowledged_with_all_threads_busy(server: Server, platform: CometChatDriver) -> None:
    server.close_gate()
    marks = server.count_marks("gate")
    for number in range(24):
        assert server.post(platform.callback(platform.write("/gate", f"waiter-{number}"))).status_code == 200
    server.wait_until(lambda: server.count_marks("gate") >= marks + 16)
    for number in range(40):
        assert server.post(platform.callback(platform.write("hello", f"late-{number}"))).status_code == 200
    assert [platform.replies(f"waiter-{number}") for number in range(24)] == [[]] * 24
    server.open_gate()
    for number in range(40):
        assert platform.wait_replies(f"late-{number}", 1, server) == ["re: hello"]
    for number in range(24):
        assert platform.wait_replies(f"waiter-{number}", 1, server) == ["came through"]


def test_unclosed_connections_block_nobody(server: Server, platform: CometChatDriver) -> None:
    """gunicorn itself waits two seconds for each of them, one after the other, before it serves anybody else."""
    with ExitStack() as opened:
        for _ in range(120):
            idle = opened.enter_context(socket.create_connection(server.address, timeout=WAIT_TIMEOUT))
            idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: bot\r\nConnection: close\r\n\r\n")
        for number in range(10):
            status, _, seconds = _post(server, platform.callback(platform.write("hello", f"behind-{number}")))
            assert status == 200
            assert seconds < ACK_LIMIT
    for number in range(10):
        assert platform.wait_replies(f"behind-{number}", 1, server) == ["re: hello"]


@pytest.mark.parametrize("said", [b"", b"GET /healthz HTTP/1.1\r\nHost: bot\r\n\r\n"], ids=["silent", "idle"])
def test_more_idle_connections_than_there_may_be_make_room(
    start_server: StartServer, platform: CometChatDriver, said: bytes
) -> None:
    server = start_server(GUNICORN_CMD_ARGS="--worker-connections 20")
    with ExitStack() as opened:
        for _ in range(100):
            opened.enter_context(socket.create_connection(server.address, timeout=WAIT_TIMEOUT)).sendall(said)
        for number in range(10):
            callback = platform.callback(platform.write("hello", f"after-{len(said)}-{number}"))
            status, _, seconds = _post(server, callback)
            assert status == 200
            assert seconds < ACK_LIMIT
