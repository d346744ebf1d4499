"""The error of a refused request, which each protocol renders in its own format."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from werkzeug.exceptions import HTTPException, InternalServerError

from cometbot.errors import PayloadError, StorageFull, StoreBusy, StoreUnavailable

MAX_ECHO_LENGTH = 80


class HttpError(Exception):
    """A request is refused with the HTTP ``status``.

    ``code`` is for machines, ``message`` for people; ``details`` maps paths of the body to error texts.
    ``close_connection`` must be true if the bytes that follow on the connection may not be a request.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: Mapping[str, Sequence[str]] | None = None,
        headers: Mapping[str, str] | None = None,
        close_connection: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = {path: list(texts) for path, texts in (details or {}).items()}
        self.headers = {**(headers or {}), **({"Connection": "close"} if close_connection else {})}


def to_http_error(error: Exception) -> HttpError:
    """Return the refusal for an exception that a view raised; 500 for one that is not expected of a view."""
    if isinstance(error, HttpError):
        return error
    if isinstance(error, PayloadError):
        return HttpError(400, "ERR_BAD_REQUEST", str(error), details=error.details)
    if isinstance(error, StoreUnavailable):
        text = f"The database cannot store anything until it is repaired ({error.kind}). Send the request again later."
        return HttpError(503, "ERR_UNAVAILABLE", text, headers={"Retry-After": "10"})
    if isinstance(error, StoreBusy):
        text = "The database is busy. Send the request again."
        return HttpError(503, "ERR_BUSY", text, headers={"Retry-After": "1"})
    if isinstance(error, StorageFull):
        return HttpError(507, "ERR_STORAGE_FULL", "There is no room to store this. Delete something first.")
    if not isinstance(error, HTTPException):
        error = InternalServerError()
    status = error.code or 500
    code = f"ERR_{error.name.upper().replace(' ', '_')}"
    text = "Something went wrong here; the log says what." if status >= 500 else str(error.description)
    headers = {name: value for name, value in error.get_headers() if name.lower() != "content-type"}
    return HttpError(status, code, text, headers=headers)


def too_many_requests(what: str, retry_after: float) -> HttpError:
    """Return the 429 for a request beyond a limit; the client may retry after ``retry_after`` seconds."""
    wait = max(1, math.ceil(retry_after))
    headers = {"Retry-After": str(wait)}
    return HttpError(429, "ERR_TOO_MANY_REQUESTS", f"{what}. Try again in {wait} s.", headers=headers)


def quote_value(value: object) -> str:
    """Return the first 80 characters of ``value``, quoted and escaped, safe for a response or a log."""
    text = str(value)
    return repr(text if len(text) <= MAX_ECHO_LENGTH else text[: MAX_ECHO_LENGTH - 1] + "…")
