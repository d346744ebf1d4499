"""The end of a server, and the restart of one under load: nobody whose connection was established is reset."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from tests.ports import HOST, free_port

from ..conftest import BOTS, GUNICORN, ROOT, WAIT_TIMEOUT, Server, StartServer

pytestmark = pytest.mark.process

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
LAST_REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def read_response(connection: socket.socket) -> bytes:
    """Return the head of a response; raise :class:`ConnectionError` if the connection ends before its body did."""
    received = b""
    while not (found := re.search(rb"Content-Length: (\d+)\r\n\r\n(.*)", received, re.S)) or len(found[2]) < int(
        found[1]
    ):
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError(f"the connection ended after {received!r}")
        received += piece
    return received[: found.start(2)]


class Load:
    """Clients that send requests until they are stopped, and try again after a refused connection alone."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self._address = address
        self._is_over = threading.Event()
        kinds = [self._connect_each_time] * 4 + [self._keep_alive] * 4
        self._threads = [threading.Thread(target=self._run, args=(kind,), daemon=True) for kind in kinds]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(WAIT_TIMEOUT)

    def wait_for_answers(self, server: Server) -> None:
        """Wait until some hundred requests more were answered."""
        before = self.counts["200"]
        server.wait_until(lambda: self.counts["200"] > before + 200)

    def _run(self, send: Callable[[], None]) -> None:
        while not self._is_over.is_set():
            try:
                send()
            except ConnectionRefusedError:
                self.counts["refused"] += 1
                self._is_over.wait(0.02)
            except OSError as error:
                self.failures.append(f"{send.__name__}: {error!r}")

    def _connect_each_time(self) -> None:
        with socket.create_connection(self._address, timeout=WAIT_TIMEOUT) as connection:
            self._ask(connection, LAST_REQUEST)

    def _keep_alive(self) -> None:
        with socket.create_connection(self._address, timeout=WAIT_TIMEOUT) as connection:
            while not self._is_over.wait(0.005) and b"connection: close" not in self._ask(connection, REQUEST):
                pass

    def _ask(self, connection: socket.socket, request: bytes) -> bytes:
        connection.sendall(request)
        head = read_response(connection)
        self.counts[head.split()[1].decode()] += 1
        return head.lower()


def is_listening(port: int) -> bool:
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in lines)


def worker_of(server: Server) -> int:
    """Return the process number of the server's latest worker."""
    return int([line for line in server.log.splitlines() if "Booting worker with pid" in line][-1].rpartition(" ")[2])


@contextmanager
def suspended(process: int) -> Iterator[None]:
    """Stop a process for the length of the block."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def kept_alive(server: Server, stack: ExitStack) -> socket.socket:
    """Return a connection on which one request was answered."""
    connection = stack.enter_context(socket.create_connection(server.address, timeout=WAIT_TIMEOUT))
    connection.sendall(REQUEST)
    assert b"keep-alive" in read_response(connection)
    return connection


@pytest.fixture(scope="module")
def two_worker_server(start_server: StartServer) -> Server:
    """A server of two processes that share a listener."""
    return start_server()


@pytest.fixture
def one_worker_server(start_server: StartServer) -> Server:
    return start_server(COMETBOT_PROCESSES="1")


def test_restart_under_load_resets_nobody(two_worker_server: Server) -> None:
    with Load(two_worker_server.address) as load:
        for _ in range(3):
            load.wait_for_answers(two_worker_server)
            assert two_worker_server.terminate() == 0
            two_worker_server.start()
    assert load.failures == []
    assert set(load.counts) == {"200", "refused"}


def reload(server: Server) -> None:
    """Send SIGHUP, and wait until both workers are replaced."""
    before = server.log.count("Booting worker"), server.log.count("Worker exiting")
    server.signal(signal.SIGHUP)
    server.wait_until(lambda: server.log.count("Booting worker") == before[0] + 2)
    server.wait_until(lambda: server.log.count("Worker exiting") == before[1] + 2)


def test_reload_under_load_refuses_nobody(two_worker_server: Server) -> None:
    with Load(two_worker_server.address) as load:
        for _ in range(2):
            reload(two_worker_server)
            load.wait_for_answers(two_worker_server)
    assert (load.failures, set(load.counts)) == ([], {"200"})


def test_reload_logs_no_warning(two_worker_server: Server) -> None:
    start = len(two_worker_server.log)
    reload(two_worker_server)
    assert two_worker_server.terminate() == 0
    assert [line for line in two_worker_server.log[start:].splitlines() if " INFO " not in line] == []
    two_worker_server.start()


STOPPED_AT_FORK = """
import os, runpy, signal, time

globals().update(runpy.run_path("gunicorn.conf.py"))
remember = post_fork


def post_fork(server, worker):
    remember(server, worker)
    os.kill(os.getppid(), signal.SIGTERM)
    limit = time.monotonic() + 60
    while server.SIG_QUEUE.empty() and time.monotonic() < limit:
        time.sleep(0.01)
"""


def test_sigterm_right_after_the_fork_is_obeyed(tmp_path: Path) -> None:
    config = tmp_path / "stopped_at_fork.py"
    config.write_text(STOPPED_AT_FORK)
    database = tmp_path / "bot.db"
    variables = {
        "COMETBOT_BOT": f"{BOTS}/trial.py:bot",
        "COMETBOT_CHANNELS": "platform",
        "COMETBOT_BIND": f"{HOST}:{free_port()}",
        "COMETBOT_DATABASE_URL": f"sqlite:///{database}",
        "COMETBOT_PROCESSES": "1",
        "TMPDIR": str(tmp_path),
    }
    subprocess.run(
        [*GUNICORN, "--config", str(config)],
        cwd=ROOT,
        env={**os.environ, **variables},
        timeout=WAIT_TIMEOUT,
        check=True,
    )
    # A worker that did not hear it would be killed after the graceful timeout, and leave its registration.
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT token FROM processes").fetchall() == []


def test_backlog_is_answered_at_the_end(one_worker_server: Server) -> None:
    with ExitStack() as stack:
        worker = worker_of(one_worker_server)
        with suspended(worker):
            waiting = [
                stack.enter_context(socket.create_connection(one_worker_server.address, timeout=WAIT_TIMEOUT))
                for _ in range(40)
            ]
            for connection in waiting:
                connection.sendall(REQUEST)
            one_worker_server.send_sigterm()
            one_worker_server.wait_until(lambda: "Handling signal: term" in one_worker_server.log)
        heads = [read_response(connection) for connection in waiting]
        assert [head.split()[1] for head in heads] == [b"200"] * 40
        assert all(b"connection: close" in head.lower() for head in heads)


def test_listener_is_closed_while_connections_are_idle(one_worker_server: Server) -> None:
    with ExitStack() as stack:
        busy, idle = kept_alive(one_worker_server, stack), kept_alive(one_worker_server, stack)
        silent = stack.enter_context(socket.create_connection(one_worker_server.address, timeout=WAIT_TIMEOUT))
        assert is_listening(one_worker_server.address[1])
        began = time.monotonic()
        one_worker_server.send_sigterm()
        one_worker_server.wait_until(lambda: not is_listening(one_worker_server.address[1]))
        for connection in (busy, silent):
            connection.sendall(REQUEST)
            assert b"connection: close" in read_response(connection).lower()
        assert idle.recv(1) == b""
        assert one_worker_server.wait_for_end() == 0
        assert time.monotonic() - began < 20, "idle connections hold up the end"
