from __future__ import annotations

import errno
import logging
import os
import threading
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.workers.gthread import ThreadWorker

from cometbot.web import gunicorn_overrides as module
from cometbot.web.gunicorn_overrides import (
    ACCEPT_DELAY_CONNECTION_LIMIT,
    ACCEPT_DELAY_PER_CONNECTION,
    ACCEPT_RETRY_INTERVAL,
    IDLE_CLOSE_LIMIT,
    GunicornWorker,
    freeze_config,
)


@pytest.mark.parametrize(
    ("connections", "waited"),
    [(0, 0), (3, 3 * ACCEPT_DELAY_PER_CONNECTION), (500, ACCEPT_DELAY_CONNECTION_LIMIT * ACCEPT_DELAY_PER_CONNECTION)],
)
def test_worker_with_connections_delays_accept(
    connections: int, waited: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[object] = []
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=done.append))
    monkeypatch.setattr(ThreadWorker, "accept", lambda self, listener: done.append(listener))
    worker: Any = GunicornWorker.__new__(GunicornWorker)
    worker.nr_conns = connections + 2
    worker._lingering = [object(), object()]
    worker.accept("listener")
    assert done == [waited, "listener"]


def test_frozen_config_has_the_same_values() -> None:
    config = Config()
    config.set("keepalive", 65)
    config.set("worker_class", "cometbot.web.gunicorn_overrides.GunicornWorker")
    names = [*config.settings, "address", "is_ssl", "worker_class", "env"]
    before = {name: getattr(config, name) for name in names}
    freeze_config(config)
    assert {name: getattr(config, name) for name in names} == before
    assert vars(config)["keepalive"] == 65


class Connection:
    """An idle connection."""

    def __init__(self) -> None:
        self.sock = self
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


class Poller:
    """The names of what happened, and of what is registered."""

    def __init__(self) -> None:
        self.registered: list[object] = []

    def register(self, file: object, *_: object) -> None:
        self.registered.append(file)

    def unregister(self, file: object) -> None:
        self.registered.remove(file)


class Listener:
    """A listener whose next connection cannot be accepted."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.calls = 0

    def setblocking(self, _: bool) -> None:
        """Nothing blocks here."""

    def accept(self) -> Any:
        self.calls += 1
        raise OSError(self.number, os.strerror(self.number))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The time as the worker sees it; sleeping takes none."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=lambda _: None))
    return clock


def make_worker(listener: Listener, idle: int = 0) -> Any:
    worker: Any = GunicornWorker.__new__(GunicornWorker)
    worker.alive = True
    worker.sockets = [listener]
    worker.poller = Poller()
    worker.pending_conns = deque(Connection() for _ in range(idle))
    worker.poller.registered.extend(worker.pending_conns)
    worker.keepalived_conns = deque()
    worker.nr_conns = idle
    worker._lingering = []
    worker._accepting = False
    worker._accept_resumes_at = worker._next_warning_at = 0.0
    worker.set_accept_enabled(True)
    return worker


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_exhaustion_pauses_accepting_and_does_not_raise(number: int, clock: SimpleNamespace) -> None:
    listener = Listener(number)
    worker = make_worker(listener)
    worker.accept(listener)
    assert worker.poller.registered == []
    worker.set_accept_enabled(True)
    assert worker.poller.registered == []
    clock.now += ACCEPT_RETRY_INTERVAL
    worker.set_accept_enabled(True)
    assert worker.poller.registered == [listener]


def test_exhaustion_closes_idle_connections(clock: SimpleNamespace) -> None:
    listener = Listener(errno.EMFILE)
    worker = make_worker(listener, idle=IDLE_CLOSE_LIMIT + 3)
    idle = list(worker.pending_conns)
    worker.accept(listener)
    assert [conn.is_closed for conn in idle] == [True] * IDLE_CLOSE_LIMIT + [False] * 3
    assert worker.nr_conns == 3


def test_exhaustion_is_logged_once_a_minute(clock: SimpleNamespace, caplog: pytest.LogCaptureFixture) -> None:
    listener = Listener(errno.EMFILE)
    worker = make_worker(listener)
    with caplog.at_level(logging.WARNING):
        for _ in range(61):
            worker.accept(listener)
            clock.now += 1.0
    assert [record.getMessage() for record in caplog.records] == [
        "cannot accept connections: Too many open files. Raise the limit of open files."
    ] * 2


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EAGAIN, errno.EPROTO, errno.ENETDOWN, errno.EPERM])
def test_error_of_one_connection_pauses_nothing(number: int, clock: SimpleNamespace) -> None:
    listener = Listener(number)
    worker = make_worker(listener)
    worker.accept(listener)
    assert worker.poller.registered == [listener]


@pytest.mark.parametrize("number", [errno.EBADF, errno.EINVAL])
def test_error_of_the_listener_is_raised(number: int, clock: SimpleNamespace) -> None:
    listener = Listener(number)
    with pytest.raises(OSError, match=os.strerror(number)):
        make_worker(listener).accept(listener)


def test_work_goes_on_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    with module._ThreadPool(max_workers=4) as pool:
        first = pool.submit(gate.wait, 60)
        monkeypatch.setattr(threading.Thread, "start", lambda self: (_ for _ in ()).throw(RuntimeError("no thread")))
        second = pool.submit(lambda: "done")
        gate.set()
        assert (first.result(60), second.result(60)) == (True, "done")


def test_first_thread_that_cannot_be_started_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", lambda self: (_ for _ in ()).throw(RuntimeError("no thread")))
    with pytest.raises(RuntimeError, match="no thread"):
        module._ThreadPool(max_workers=4).submit(print)
