"""gunicorn's threaded worker, with limits to what clients can hold up before there is a request; errors are JSON."""

from __future__ import annotations

import logging
import re
import threading
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from gunicorn.http import errors
from gunicorn.workers.gthread import _DEFER, ThreadWorker
from orjson import dumps

from cometbot.http.limits import WATCHDOG

HEAD_TIMEOUT = 10.0
"""Seconds from the moment that a thread takes a connection until the request's headers are whole."""

FIRST_BYTE_TIMEOUT = 0.02
"""Seconds that a thread waits for a new connection to say something; then the connection waits without a thread."""

_TOO_LARGE = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
_REFUSALS: dict[type[Exception], tuple[HTTPStatus, str]] = {
    errors.LimitRequestLine: (HTTPStatus.REQUEST_URI_TOO_LONG, "the request line is too long"),
    errors.LimitRequestHeaders: (_TOO_LARGE, "there are too many headers, or one of them is too long"),
    errors.ExpectationFailed: (HTTPStatus.EXPECTATION_FAILED, "the only Expect that is understood is 100-continue"),
    errors.UnsupportedTransferCoding: (HTTPStatus.BAD_REQUEST, "the only Transfer-Encoding understood is chunked"),
    errors.InvalidHeader: (HTTPStatus.BAD_REQUEST, "a header cannot be read"),
    errors.InvalidHeaderName: (HTTPStatus.BAD_REQUEST, "a header has a name that cannot be read"),
    errors.ObsoleteFolding: (HTTPStatus.BAD_REQUEST, "a header goes on in the next line"),
}
_NO_HTTP = (HTTPStatus.BAD_REQUEST, "this cannot be read as an HTTP request")
_NAME = re.compile(r"[A-Za-z0-9-]{1,40}")
_log = logging.getLogger(__name__)


class Worker(ThreadWorker):  # type: ignore[misc]
    """A worker whose threads cannot be held by clients that begin a request and go on slowly, or not at all.

    gunicorn waits five seconds in a thread for a new connection's first byte, reads headers from a blocking socket, and
    its worker time-out does not see threads, so that as many such clients as there are threads would silence a bot for
    good. What follows the headers has its own limits.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._of_thread = threading.local()

    def handle(self, conn: Any) -> Any:
        """Whether the connection stays open, after at most one request on it."""
        if not conn.initialized and not conn.wait_for_data(FIRST_BYTE_TIMEOUT):
            return _DEFER
        with WATCHDOG.within(HEAD_TIMEOUT) as head:
            WATCHDOG.guard(head, conn.sock)
            self._of_thread.head = head
            return super().handle(conn)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """The answer to a request whose headers are here."""
        self._of_thread.head.end()
        return super().handle_request(req, conn)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer what is no request with the error that all other refusals have.

        Neither the answer nor the log repeats what was sent: a broken head may hold credentials in any place.
        """
        of_application = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName)
        if not isinstance(exc, errors.ParseException) or isinstance(exc, of_application):
            super().handle_error(req, client, addr, exc)
            return
        status, sentence = next((said for kind, said in _REFUSALS.items() if isinstance(exc, kind)), _NO_HTTP)
        name = str(getattr(exc, "hdr", ""))
        if isinstance(exc, errors.InvalidHeader) and _NAME.fullmatch(name):
            sentence = f"the header {name} cannot be read"
        _log.info("refused a request that cannot be read: %s", sentence)
        with suppress(OSError):
            client.sendall(_to_http(status, sentence))


def _to_http(status: HTTPStatus, sentence: str) -> bytes:
    code = f"ERR_{status.name}"
    body = dumps({"error": {"code": code, "message": sentence}})
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Connection: close",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
