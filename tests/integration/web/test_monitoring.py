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
from cometbot.testing.fake_channel import FakeChannel
from cometbot.web import monitoring
from cometbot.web.metrics import Metrics
from cometbot.web.monitoring import MAX_CLIENTS, MonitoringServer, make_monitoring_app, notify_ready
from cometbot.web.server import READY_PIPE_VARIABLE

LOOPBACK = ["127.0.0.1", *(["[::1]"] if Path("/proc/net/if_inet6").exists() else [])]


@pytest.fixture
def delivery(tmp_path: Path) -> Iterator[Delivery]:
    with closing(Delivery([Bot("shop")], [FakeChannel()], f"sqlite:///{tmp_path}/bot.db")) as made:
        yield made


@pytest.fixture
def monitoring_server(delivery: Delivery) -> Iterator[MonitoringServer]:
    with closing(MonitoringServer(make_monitoring_app(delivery, Metrics(["shop"])), "127.0.0.1:0")) as made:
        yield made


def get(monitoring_server: MonitoringServer, path: str) -> requests.Response:
    return requests.get(f"http://127.0.0.1:{monitoring_server.port}{path}", timeout=60)


def test_readyz_shows_whether_the_worker_runs(monitoring_server: MonitoringServer, delivery: Delivery) -> None:
    assert get(monitoring_server, "/readyz").status_code == 503
    delivery.start()
    assert get(monitoring_server, "/readyz").json()["checks"]["threads"].startswith("ok")
    assert get(monitoring_server, "/healthz").json() == {"alive": True}


def test_it_serves_metrics_and_no_callbacks(monitoring_server: MonitoringServer) -> None:
    assert 'cometbot_stuck_conversations{bot="shop"} 0.0' in get(monitoring_server, "/metrics").text
    assert (
        requests.post(f"http://127.0.0.1:{monitoring_server.port}/cometchat/shop", json={}, timeout=60).status_code
        == 404
    )


def test_silent_client_times_out_and_blocks_nobody(
    monitoring_server: MonitoringServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitoring._Handler, "timeout", 0.2)
    with socket.create_connection(("127.0.0.1", monitoring_server.port), timeout=60) as silent:
        silent.sendall(b"GET /healthz HTT")
        assert get(monitoring_server, "/healthz").ok
        assert silent.recv(1) == b""


def test_port_in_use_is_reported_with_a_remedy(monitoring_server: MonitoringServer, delivery: Delivery) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot listen at 127\.0\.0\.1:\d+: .*\. Choose another --bind"):
        MonitoringServer(make_monitoring_app(delivery, Metrics([])), f"127.0.0.1:{monitoring_server.port}")


@pytest.mark.parametrize("host", LOOPBACK)
def test_it_listens_on_ipv4_and_ipv6(delivery: Delivery, host: str) -> None:
    with closing(MonitoringServer(make_monitoring_app(delivery, Metrics([])), f"{host}:0")) as made:
        assert requests.get(f"http://{host}:{made.port}/healthz", timeout=60).ok


def test_notify_ready_writes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    monkeypatch.setenv(READY_PIPE_VARIABLE, str(writer))
    notify_ready()
    notify_ready()
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read() == b"!"


def test_idle_clients_are_bounded(monitoring_server: MonitoringServer) -> None:
    with ExitStack() as idle:
        callers = [
            idle.enter_context(socket.create_connection(("127.0.0.1", monitoring_server.port), timeout=60))
            for _ in range(MAX_CLIENTS + 8)
        ]
        # Connections are accepted in the order in which they were made.
        assert [caller.recv(1) for caller in callers[MAX_CLIENTS:]] == [b""] * 8
        callers[0].sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert callers[0].recv(65536).startswith(b"HTTP/1.0 200")


def test_clients_are_served_after_files_ran_out(
    monitoring_server: MonitoringServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = monitoring.WSGIServer.get_request, iter([errno.EMFILE, errno.ENFILE])

    def fail_twice(server: Any) -> Any:
        if number := next(failures, 0):
            raise OSError(number, os.strerror(number))
        return real(server)

    monkeypatch.setattr(monitoring.WSGIServer, "get_request", fail_twice)
    assert get(monitoring_server, "/healthz").ok


def test_child_does_not_keep_the_port(delivery: Delivery) -> None:
    monitoring_server = MonitoringServer(make_monitoring_app(delivery, Metrics(["shop"])), "127.0.0.1:0")
    port = monitoring_server.port
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    try:
        monitoring_server.close()
        socket.create_server(("127.0.0.1", port)).close()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
