from __future__ import annotations

import ast
import errno
import inspect
import logging
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn import sock
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.http import errors, wsgi
from gunicorn.http.message import Request
from gunicorn.workers import gthread
from gunicorn.workers.gthread import TConn, ThreadWorker

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


def parameters(function: Callable[..., Any]) -> str:
    return ", ".join(inspect.signature(function).parameters)


@pytest.mark.parametrize(
    ("overridden", "expected"),
    [
        (ThreadWorker.accept, "self, listener"),
        (ThreadWorker.set_accept_enabled, "self, enabled"),
        (ThreadWorker.enqueue_req, "self, conn"),
        (ThreadWorker.get_thread_pool, "self"),
        (ThreadWorker.init_signals, "self"),
        (ThreadWorker.finish_request, "self, conn, fs"),
        (ThreadWorker.murder_pending, "self"),
        (ThreadWorker.handle, "self, conn"),
        (ThreadWorker.handle_request, "self, req, conn"),
        (ThreadWorker.init_process, "self"),
        (ThreadWorker.run, "self"),
        (ThreadWorker.load_wsgi, "self"),
        (ThreadWorker.handle_exit, "self, sig, frame"),
        (ThreadWorker.is_parent_alive, "self"),
        (ThreadWorker.handle_error, "self, req, client, addr, exc"),
        (ThreadWorker.on_pending_socket_readable, "self, conn, client"),
        (Arbiter.stop, "self, graceful"),
        (Arbiter.reload, "self"),
        (Arbiter.murder_workers, "self"),
        (Logger.setup, "self, cfg"),
        (TConn.close, "self, graceful"),
        (Request.force_close, "self"),
    ],
)
def test_overridden_method_has_the_signature_it_had(overridden: Callable[..., Any], expected: str) -> None:
    assert parameters(overridden) == expected
    if hasattr(ThreadWorker, overridden.__name__):
        assert parameters(getattr(GunicornWorker, overridden.__name__)) == expected


def test_worker_overrides_nothing_else_of_gunicorn() -> None:
    inherited = {name for name in vars(GunicornWorker) if hasattr(ThreadWorker, name) and not name.startswith("__")}
    assert inherited == {
        *("accept", "enqueue_req", "finish_request", "get_thread_pool", "handle", "handle_error", "handle_exit"),
        *("handle_request", "init_process", "init_signals", "is_parent_alive", "load_wsgi", "murder_pending", "run"),
        "set_accept_enabled",
    }


def attributes(kind: type) -> set[str]:
    """The attributes that the constructors of a class and its bases set."""
    return {
        node.attr
        for base in kind.__mro__
        if base.__module__ != "builtins"
        for node in ast.walk(ast.parse(inspect.getsource(inspect.getmodule(base))))  # type: ignore[arg-type]
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (
            ThreadWorker,
            "alive cfg keepalived_conns log method_queue nr_conns pending_conns poller ppid sockets tpool "
            "worker_connections wsgi",
        ),
        (TConn, "data_ready initialized is_http2 sock timeout"),
        (Request, "_expected_100_continue"),
        (Arbiter, "LISTENERS SIG_QUEUE app log master_pid reexec_pid systemd timeout"),
        (Logger, "error_log"),
        (sock.BaseSocket, "cfg_addr sock"),
        (errors.InvalidHeader, "hdr"),
        (ThreadPoolExecutor, "_threads _work_queue"),
    ],
)
def test_attribute_that_is_read_exists(kind: type, names: str) -> None:
    assert set(names.split()) <= attributes(kind)


def test_constants_exist() -> None:
    assert hasattr(gthread, "_DEFER")
    assert gthread.STOP_KEEPALIVE_LINGER > 0
    assert (Arbiter.WORKER_BOOT_ERROR, signal.SIGTERM in GunicornWorker.SIGNALS) == (3, True)
    assert {sock.TCPSocket.FAMILY, sock.TCP6Socket.FAMILY, sock.UnixSocket.FAMILY} == {
        socket.AF_INET,
        socket.AF_INET6,
        socket.AF_UNIX,
    }
    assert issubclass(errors.InvalidResponseHeader, Exception)
    assert all(issubclass(kind, errors.ParseException) for kind in module._REFUSALS)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        # The constructor of a connection, and the pool, are reached through the methods that are overridden.
        (ThreadWorker.accept, "self.enqueue_req(conn)"),
        (ThreadWorker.enqueue_req, "self.tpool.submit(self.handle, conn)"),
        (ThreadWorker.enqueue_req, "self.method_queue.defer(self.finish_request, conn, fut)"),
        (ThreadWorker.init_process, "self.tpool = self.get_thread_pool()"),
        (ThreadPoolExecutor.submit, "self._adjust_thread_count()"),
        # A connection waits without a thread only while the worker is alive, and a closed one is waited for.
        (ThreadWorker.finish_request, "if result is _DEFER and self.alive:"),
        (ThreadWorker.finish_request, "conn.close(graceful=True)"),
        (ThreadWorker.handle, "if not conn.initialized and not conn.data_ready:"),
        (ThreadWorker.handle, "conn.init()"),
        (ThreadWorker.handle, "self.handle_request(req, conn)"),
        (ThreadWorker.handle, "self.handle_error(req, conn.sock, conn.client, e)"),
        (TConn.init, "http.get_parser(self.cfg, self.sock, self.client)"),
        # The loop, and what it does when it ends.
        (ThreadWorker.run, "self.nr_conns < self.worker_connections"),
        (ThreadWorker.run, "self.set_accept_enabled(False)"),
        (ThreadWorker.run, "self.murder_pending()"),
        (ThreadWorker.run, "if not self.is_parent_alive():"),
        (ThreadWorker.run, "while self.nr_conns > 0:"),
        (ThreadWorker.set_accept_enabled, "for listener in self.sockets:"),
        (ThreadWorker.set_accept_enabled, "EVENT_READ, self.accept)"),
        (ThreadWorker.handle_request, "self.wsgi(environ, resp.start_response)"),
        # "100 Continue" is sent before the application is called, and only for this flag.
        (wsgi.create, "if req._expected_100_continue:"),
        (wsgi.default_environ, '"gunicorn.socket": sock'),
        # The master process.
        (Arbiter.run, "self.murder_workers()"),
        (Arbiter.handle_hup, "self.reload()"),
        (Arbiter.handle_term, "raise StopIteration"),
        (Arbiter.halt, "self.stop()"),
        (Arbiter.stop, "sock.close_sockets(self.LISTENERS, unlink)"),
        (Arbiter.signal, "self.SIG_QUEUE.put_nowait(sig)"),
        (Arbiter.spawn_worker, "self.cfg.post_fork(self, worker)"),
        (Arbiter.spawn_worker, "sys.exit(self.WORKER_BOOT_ERROR)"),
        # Settings are found by name only where there is no plain attribute.
        (Config.__getattr__, "return self.settings[name].get()"),
        (Logger.setup, "self._set_handler(self.error_log"),
    ],
)
def test_gunicorn_does_what_the_override_relies_on(function: Callable[..., Any], expected: str) -> None:
    assert expected in inspect.getsource(function)
