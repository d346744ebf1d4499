"""What a worker serves beside its work, over real sockets."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import requests

from cometbot.bot import Bot
from cometbot.delivery import Delivery
from cometbot.errors import ConfigurationError
from cometbot.testing.channel import FakeChannel
from cometbot.web import handling
from cometbot.web.handling import MAX_CALLERS, Desk, make_worker_app, tell_ready
from cometbot.web.metrics import Metrics
from cometbot.web.server import READY

LOOPBACK = ["127.0.0.1", *(["[::1]"] if Path("/proc/net/if_inet6").exists() else [])]


@pytest.fixture
def delivery(tmp_path: Path) -> Iterator[Delivery]:
    with closing(Delivery([Bot("shop")], [FakeChannel()], f"sqlite:///{tmp_path}/bot.db")) as made:
        yield made


@pytest.fixture
def desk(delivery: Delivery) -> Iterator[Desk]:
    with closing(Desk(make_worker_app(delivery, Metrics(["shop"])), "127.0.0.1:0")) as made:
        yield made


def get(desk: Desk, path: str) -> requests.Response:
    return requests.get(f"http://127.0.0.1:{desk.port}{path}", timeout=60)


def test_it_says_whether_the_worker_is_at_work(desk: Desk, delivery: Delivery) -> None:
    assert get(desk, "/readyz").status_code == 503
    delivery.start()
    assert get(desk, "/readyz").json()["checks"]["lanes"].startswith("ok")
    assert get(desk, "/healthz").json() == {"alive": True}


def test_it_serves_the_numbers_and_nothing_that_takes_messages_in(desk: Desk) -> None:
    assert 'cometbot_stuck_conversations{bot="shop"} 0.0' in get(desk, "/metrics").text
    assert requests.post(f"http://127.0.0.1:{desk.port}/cometchat/shop", json={}, timeout=60).status_code == 404


def test_a_caller_that_says_nothing_is_sent_away_and_holds_up_nobody(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handling._Handler, "timeout", 0.2)
    with socket.create_connection(("127.0.0.1", desk.port), timeout=60) as silent:
        silent.sendall(b"GET /healthz HTT")
        assert get(desk, "/healthz").ok
        assert silent.recv(1) == b""


def test_a_port_that_is_taken_is_told_with_what_to_do(desk: Desk, delivery: Delivery) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot listen on 127\.0\.0\.1:\d+ \(.*\); give another --bind"):
        Desk(make_worker_app(delivery, Metrics([])), f"127.0.0.1:{desk.port}")


@pytest.mark.parametrize("host", LOOPBACK)
def test_it_listens_on_every_kind_of_address_that_the_machine_has(delivery: Delivery, host: str) -> None:
    with closing(Desk(make_worker_app(delivery, Metrics([])), f"{host}:0")) as made:
        assert requests.get(f"http://{host}:{made.port}/healthz", timeout=60).ok


def test_who_waits_is_told_once_that_it_is_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    monkeypatch.setenv(READY, str(writer))
    tell_ready()
    tell_ready()
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read() == b"!"


def test_idle_callers_are_bounded(desk: Desk) -> None:
    with ExitStack() as idle:
        callers = [
            idle.enter_context(socket.create_connection(("127.0.0.1", desk.port), timeout=60))
            for _ in range(MAX_CALLERS + 8)
        ]
        # Connections are accepted in the order in which they were made.
        assert [caller.recv(1) for caller in callers[MAX_CALLERS:]] == [b""] * 8
        callers[0].sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert callers[0].recv(65536).startswith(b"HTTP/1.0 200")


def test_callers_are_served_after_the_files_were_used_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    real, failures = handling.WSGIServer.get_request, iter([errno.EMFILE, errno.ENFILE])

    def fail_twice(server: Any) -> Any:
        if number := next(failures, 0):
            raise OSError(number, os.strerror(number))
        return real(server)

    monkeypatch.setattr(handling.WSGIServer, "get_request", fail_twice)
    assert get(desk, "/healthz").ok


def test_child_does_not_keep_the_port(delivery: Delivery) -> None:
    desk = Desk(make_worker_app(delivery, Metrics(["shop"])), "127.0.0.1:0")
    port = desk.port
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    try:
        desk.close()
        socket.create_server(("127.0.0.1", port)).close()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
