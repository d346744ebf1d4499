"""A server that may open few files, and handlers that leave it none."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from ..conftest import GUNICORN, WAIT_TIMEOUT, CometChatDriver, Server, StartServer, wait_for

pytestmark = pytest.mark.process

FILES = 256


class FewFiles(Server):
    """gunicorn where a process may open :data:`FILES` files."""

    command = ("sh", "-c", f'ulimit -n {FILES} && exec "$@"', "sh", *GUNICORN)


@pytest.fixture
def server(start_server: StartServer) -> Server:
    return start_server(kind=FewFiles, COMETBOT_PROCESSES="1")


@pytest.fixture
def child(server: Server) -> Iterator[Path]:
    """The file with the process number of a handler's child, which is killed at the end."""
    file = server.marks_folder / "child"
    yield file
    with suppress(FileNotFoundError, ProcessLookupError, ValueError):
        os.kill(int(file.read_text()), signal.SIGKILL)


def workers(server: Server) -> list[int]:
    """Return the process numbers of all workers that were ever started."""
    return [int(line.rpartition(" ")[2]) for line in server.log.splitlines() if "Booting worker with pid" in line]


def cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_idle_connections_do_not_use_up_the_files(server: Server, platform: CometChatDriver) -> None:
    with ExitStack() as idle:
        for number in range(3 * FILES):
            idle.enter_context(socket.create_connection(server.address, timeout=WAIT_TIMEOUT))
            if number % 64 == 0:
                assert server.post(platform.callback(platform.write(f"message {number}", "idle"))).status_code == 200
        replies = platform.wait_replies("idle", 12, server)
    assert sorted(replies) == sorted(f"re: message {number}" for number in range(0, 3 * FILES, 64))
    assert len(workers(server)) == 1, server.log
    assert "Too many open files" not in server.log
    assert f"open files: expected a limit of 2512 for 1000 connections a process, got {FILES}" in server.log


def test_handler_that_takes_all_files_ends_nothing(server: Server, platform: CometChatDriver) -> None:
    assert server.post(platform.callback(platform.write("/take-files", "taker"))).status_code == 200
    server.wait_until(lambda: server.count_marks("take-files"))
    with ExitStack() as waiting:
        for _ in range(20):
            waiting.enter_context(socket.create_connection(server.address, timeout=WAIT_TIMEOUT))
        server.wait_until(lambda: "cannot accept connections: Too many open files" in server.log)
        before = cpu_seconds(workers(server)[0])
        time.sleep(2.0)
        assert cpu_seconds(workers(server)[0]) - before < 1.0, "the loop spins"
        server.open_gate()
        assert platform.wait_replies("taker", 1, server) == ["gave them back"]
        assert server.post(platform.callback(platform.write("hello", "other"))).status_code == 200
    assert platform.wait_replies("other", 1, server) == ["re: hello"]
    assert len(workers(server)) == 1, server.log
    assert server.log.count("cannot accept connections") == 1


def test_child_of_a_handler_keeps_neither_port_nor_connections(
    server: Server, platform: CometChatDriver, child: Path
) -> None:
    with socket.create_connection(server.address, timeout=WAIT_TIMEOUT) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        assert server.post(platform.callback(platform.write("/fork", "parent"))).status_code == 200
        assert platform.wait_replies("parent", 1, server) == ["has a child"]
        server.wait_until(lambda: child.exists() and child.read_text())
        server.terminate()
        while client.recv(65536):
            pass
    socket.create_server(server.address).close()
    process = int(child.read_text())
    os.kill(process, signal.SIGTERM)
    wait_for(
        lambda: not Path(f"/proc/{process}").exists() or "State:\tZ" in Path(f"/proc/{process}/status").read_text()
    )
