"""Listeners on real sockets, as a server that stops leaves them."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cometbot.web.gunicorn_overrides import ignore_handshakes_on_stop
from cometbot.web.listeners import ignore_handshakes

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the filter of a socket is Linux's")
FAMILIES = [
    (socket.AF_INET, "127.0.0.1"),
    *([(socket.AF_INET6, "::1")] if Path("/proc/net/if_inet6").exists() else []),
]


@pytest.fixture(params=FAMILIES, ids=lambda family: family[1])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family, host = request.param
    with socket.create_server((host, 0), family=family) as made:
        made.settimeout(60)
        yield made


def connect(listener: socket.socket, timeout: float) -> socket.socket:
    return socket.create_connection(listener.getsockname()[:2], timeout=timeout)


@on_linux
def test_backlog_is_accepted_and_nothing_after_it(listener: socket.socket) -> None:
    with connect(listener, 60) as before:
        ignore_handshakes(listener)
        with pytest.raises(TimeoutError):
            connect(listener, 0.2)
        accepted, _ = listener.accept()
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
        address = listener.getsockname()[:2]
        listener.close()
        with accepted:
            before.sendall(b"question")
            assert accepted.recv(8) == b"question"
            accepted.sendall(b"answer")
            assert before.recv(6) == b"answer"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=60)


def test_unix_sockets_are_left_alone(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        ignore_handshakes(listener)
        client.settimeout(60)
        client.connect(str(tmp_path / "socket"))


@pytest.mark.parametrize(
    ("shared", "graceful", "refuses"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"systemd": True}, True, False),
        ({"reexec_pid": 7}, True, False),
        ({"master_pid": 7}, True, False),
    ],
)
@on_linux
def test_listeners_that_others_share_stay_open(
    listener: socket.socket, shared: dict[str, Any], graceful: bool, refuses: bool
) -> None:
    stopped: list[bool] = []
    arbiter = SimpleNamespace(
        **{
            "systemd": False,
            "reexec_pid": 0,
            "master_pid": 0,
            "LISTENERS": [SimpleNamespace(sock=listener)],
            "stop": stopped.append,
            **shared,
        }
    )
    ignore_handshakes_on_stop(arbiter)
    arbiter.stop(graceful)
    assert stopped == [graceful]
    if refuses:
        with pytest.raises(TimeoutError):
            connect(listener, 0.2)
    else:
        connect(listener, 60).close()
