"""The error of a refused request, which each channel renders in its platform's format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cometbot.errors import StoreUnavailable

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


def store_unavailable_error(error: StoreUnavailable) -> HttpError:
    """Return the 503 for a database that stores nothing until it is repaired."""
    text = f"The database cannot store anything until it is repaired ({error.kind}). Send the request again later."
    return HttpError(503, "ERR_UNAVAILABLE", text, headers={"Retry-After": "10"})


def quote_value(value: object) -> str:
    """Return the first 80 characters of ``value``, quoted and escaped, safe for a response or a log."""
    text = str(value)
    return repr(text if len(text) <= MAX_ECHO_LENGTH else text[: MAX_ECHO_LENGTH - 1] + "…")
