"""Health and metrics endpoints of a worker process, and its readiness notification to its supervisor."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from flask import Flask

from cometbot.delivery import Delivery
from cometbot.errors import ConfigurationError
from cometbot.forking import close_in_children
from cometbot.web.health import make_health_views
from cometbot.web.metrics import Metrics
from cometbot.web.server import READY_PIPE_VARIABLE

MAX_CLIENTS = 32
"""Clients that are served at the same time; the connection of any other is closed at once."""

_CLIENT_TIMEOUT = 10.0
_ACCEPT_RETRY_INTERVAL = 0.1


def make_monitoring_app(delivery: Delivery, metrics: Metrics) -> Flask:
    """Create the application of a worker: ``/healthz``, ``/readyz`` and ``/metrics``, without channels' routes."""
    app = Flask("cometbot", static_folder=None)
    app.register_blueprint(make_health_views(delivery.checks))
    app.register_blueprint(metrics.blueprint(delivery.backlog))
    return app


class MonitoringServer:
    """Serves an application to monitors, from a thread of its own, until it is closed.

    Each connection has a thread and a timeout of ten seconds, which is meant for a monitor on an internal network.
    Raises :class:`ConfigurationError` if ``bind`` is not HOST:PORT or the server cannot listen on it.
    """

    def __init__(self, app: Flask, bind: str) -> None:
        host, _, port = bind.rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ConfigurationError(f"--bind: expected HOST:PORT, for example 127.0.0.1:9100, got {bind!r}")
        try:
            self._server = make_server(
                host.strip("[]"), int(port), app, _IPv6Server if ":" in host else _Server, _Handler
            )
        except OSError as error:
            raise ConfigurationError(f"cannot listen at {bind}: {error.strerror}. Choose another --bind.") from error
        close_in_children(self._server.socket)
        self._thread = threading.Thread(target=self._server.serve_forever, name="cometbot-monitoring", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return self._server.server_port

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, *args: Any, **options: Any) -> None:
        self._client_slots = threading.BoundedSemaphore(MAX_CLIENTS)
        super().__init__(*args, **options)

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection; wait if that fails, because the listener stays readable and the loop would spin."""
        try:
            return super().get_request()
        except OSError:
            time.sleep(_ACCEPT_RETRY_INTERVAL)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a client in a thread, or close its connection if ``MAX_CLIENTS`` are being served."""
        if not self._client_slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._client_slots.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a client in this thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._client_slots.release()

    def server_bind(self) -> None:
        """Bind the socket without a DNS query for the host's name."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors of a client that disconnects; views log their own failures."""


class _IPv6Server(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = _CLIENT_TIMEOUT

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing, because a monitor sends a request every few seconds."""

    def address_string(self) -> str:
        """Return the client's address without a DNS query."""
        return str(self.client_address[0])


def notify_ready() -> None:
    """Notify the process that waits for this one, if there is one, that this process is ready."""
    pipe = os.environ.pop(READY_PIPE_VARIABLE, "")
    if pipe.isdigit():
        with suppress(OSError):
            os.write(int(pipe), b"!")
            os.close(int(pipe))
