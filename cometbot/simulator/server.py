"""An HTTP server with keep-alive that serves the simulator on this machine only."""

from __future__ import annotations

import io
import logging
import socket
import threading
from collections.abc import Iterable
from contextlib import ExitStack
from http import HTTPStatus
from typing import IO, TYPE_CHECKING, Any, cast

from werkzeug.serving import DechunkedInput, ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.test import run_wsgi_app

from cometbot.errors import ConfigurationError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
EVENT_STREAM = "text/event-stream"
MAX_BODY_BYTES = 100 * 1024 * 1024


class KeepAliveHandler(WSGIRequestHandler):
    """Handler of one connection with any number of consecutive requests.

    werkzeug's own handler closes the connection after each response. Clients under test should see keep-alive, as in
    production. If the application raises ``ConnectionResetError``, the connection is closed without a response.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def setup(self) -> None:
        """Register the connection as open."""
        super().setup()
        self._open_connections.add(self.connection)

    def finish(self) -> None:
        """Close the connection. The peer may have closed it before."""
        self._open_connections.discard(self.connection)
        try:
            super().finish()
        except OSError:
            log.debug("lost a connection while closing it")

    def run_wsgi(self) -> None:
        """Answer one request."""
        try:
            environ = self._make_environ_with_body()
        except (OSError, ValueError) as error:
            log.debug("cannot read a request body: %s", error)
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        try:
            chunks, status, headers = run_wsgi_app(self.server.app, environ)
            with ExitStack() as stack:
                stack.callback(getattr(chunks, "close", bool))
                if headers.get("Content-Type", "").startswith(EVENT_STREAM):
                    self._send_stream(status, headers, chunks)
                else:
                    self._send_response(status, headers, b"".join(chunks))
        except ConnectionError:
            self.close_connection = True

    def log(self, type: str, message: str, *args: Any) -> None:
        """Log at debug level only, because the simulator has its own log of requests."""
        log.debug(message.rstrip(), *args)

    @property
    def _open_connections(self) -> set[socket.socket]:
        assert isinstance(self.server, LoopbackServer)
        return self.server.connections

    def _make_environ_with_body(self) -> WSGIEnvironment:
        environ = self.make_environ()
        if environ.get("wsgi.input_terminated"):
            body = DechunkedInput(cast("IO[bytes]", self.rfile)).read(MAX_BODY_BYTES)
        else:
            body = self.rfile.read(_parse_length(environ.get("CONTENT_LENGTH") or "0"))
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        environ["wsgi.input_terminated"] = True
        return environ

    def _send_stream(self, status: str, headers: Iterable[tuple[str, str]], chunks: Iterable[bytes]) -> None:
        """Send a response chunk by chunk until it ends, then close the connection."""
        self.close_connection = True
        self._send_head(status, headers)
        for chunk in chunks:
            self.wfile.write(chunk)
            self.wfile.flush()

    def _send_response(self, status: str, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        if self.command == "HEAD":
            self._send_head(status, headers)
            return
        others = [(name, value) for name, value in headers if name.lower() != "content-length"]
        self._send_head(status, [*others, ("Content-Length", str(len(body)))])
        self.wfile.write(body)

    def _send_head(self, status: str, headers: Iterable[tuple[str, str]]) -> None:
        self.send_response(HTTPStatus(int(status.split(maxsplit=1)[0])))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()


def _parse_length(text: str) -> int:
    if not text.isdecimal() or int(text) > MAX_BODY_BYTES:
        raise ValueError(f"a Content-Length of at most {MAX_BODY_BYTES} was expected")
    return int(text)


class LoopbackServer(ThreadedWSGIServer):
    """A server on 127.0.0.1 with one thread per connection. ``connections`` holds those that are open."""

    def __init__(self, app: WSGIApplication, port: int) -> None:
        self.connections: set[socket.socket] = set()
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((HOST, port))
            except OSError as error:
                raise ConfigurationError(
                    f"The simulator cannot listen on {HOST}:{port} ({error.strerror}): give it another port, or 0."
                ) from error
            listener.listen(128)
            super().__init__(HOST, port, app, handler=KeepAliveHandler, fd=listener.fileno())
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.05}, name="simulator-server", daemon=True
        )
        self._thread.start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log at debug level only, because clients disconnect at any time."""
        log.debug("lost a connection", exc_info=True)

    def stop(self) -> None:
        """Close the server and all connections, as clients would see it when a platform goes down."""
        self.shutdown()
        self._thread.join()
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                log.debug("connection was already closed")
