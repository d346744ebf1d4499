"""A refused request, before a channel gives it the shape that its platform's clients understand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cometbot.errors import StoreUnavailable

MAX_ECHO_LENGTH = 80


class HttpError(Exception):
    """A request is answered with ``status`` and an error that says what is wrong.

    ``code`` is for machines, the text for people, ``details`` maps paths of the body to what is wrong there.
    ``close_connection`` is true where the rest of the connection cannot be trusted.
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
    """Return the answer where the database stores nothing until it is repaired: asking again soon does not help."""
    text = f"The database cannot store anything until it is repaired ({error.kind}). Send the request again later."
    return HttpError(503, "ERR_UNAVAILABLE", text, headers={"Retry-After": "10"})


def quote_value(value: object) -> str:
    """``value`` as it may be repeated in an answer or a log: quoted, printable, at most 80 characters."""
    text = str(value)
    return repr(text if len(text) <= MAX_ECHO_LENGTH else text[: MAX_ECHO_LENGTH - 1] + "…")
