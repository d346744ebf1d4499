"""A refusal and what it may repeat of its cause."""

from __future__ import annotations

import pytest
from werkzeug.exceptions import BadRequest, MethodNotAllowed, ServiceUnavailable

from cometbot.errors import PayloadError, StorageFull, StoreBusy, StoreUnavailable
from cometbot.http.errors import HttpError, quote_value, to_http_error, too_many_requests


def test_an_error_that_closes_says_so_in_its_headers() -> None:
    error = HttpError(413, "ERR_BODY_TOO_LARGE", "too long", headers={"Retry-After": "1"}, close_connection=True)
    assert error.headers == {"Retry-After": "1", "Connection": "close"}
    assert HttpError(400, "ERR", "wrong").headers == {}


def test_details_become_lists_of_texts() -> None:
    assert HttpError(400, "ERR", "wrong", details={"data.id": ("Missing.",)}).details == {"data.id": ["Missing."]}


def test_echo_quotes_and_shortens_what_it_repeats() -> None:
    assert quote_value("a\nb") == r"'a\nb'"
    assert len(quote_value("x" * 10_000)) < 90
    assert quote_value(712) == "'712'"


@pytest.mark.parametrize(
    ("error", "status", "code", "retry_after"),
    [
        (HttpError(418, "ERR_TEA", "no"), 418, "ERR_TEA", None),
        (PayloadError("wrong", details={"a": ["b"]}), 400, "ERR_BAD_REQUEST", None),
        (StoreBusy("locked"), 503, "ERR_BUSY", "1"),
        (StoreUnavailable("no", "full"), 503, "ERR_UNAVAILABLE", "10"),
        (StorageFull(), 507, "ERR_STORAGE_FULL", None),
        (BadRequest(), 400, "ERR_BAD_REQUEST", None),
        (ServiceUnavailable("secret"), 503, "ERR_SERVICE_UNAVAILABLE", None),
        (RuntimeError("secret"), 500, "ERR_INTERNAL_SERVER_ERROR", None),
    ],
)
def test_each_exception_has_its_status(error: Exception, status: int, code: str, retry_after: str | None) -> None:
    refusal = to_http_error(error)
    assert (refusal.status, refusal.code, refusal.headers.get("Retry-After")) == (status, code, retry_after)
    assert "secret" not in refusal.message
    assert "Content-Type" not in refusal.headers


def test_details_and_headers_of_an_exception_are_kept() -> None:
    assert to_http_error(PayloadError("wrong", details={"a": ["b"]})).details == {"a": ["b"]}
    assert to_http_error(MethodNotAllowed(valid_methods=["POST"])).headers == {"Allow": "POST"}


@pytest.mark.parametrize(("retry_after", "seconds"), [(0.2, "1"), (2.1, "3")])
def test_too_many_requests_tells_whole_seconds(retry_after: float, seconds: str) -> None:
    error = too_many_requests("Too many messages", retry_after)
    assert (error.status, error.headers) == (429, {"Retry-After": seconds})
    assert error.message == f"Too many messages. Try again in {seconds} s."
