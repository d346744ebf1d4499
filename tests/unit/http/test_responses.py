"""What a response of another server means: its error, its JSON, and how long to wait."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from cometbot.errors import AuthenticationFailed, NotFound, OutcomeUnknown, RateLimited, Rejected
from cometbot.http.responses import (
    DEFAULT_RETRY_AFTER,
    MAX_RETRY_AFTER,
    HttpResponse,
    describe_refusal,
    error_for_status,
    parse_retry_after,
)

NOW = 1_767_225_600.0
AHEAD = {"Date": formatdate(NOW - 60, usegmt=True)}
"""An answer of a server whose clock is a minute behind ours."""


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"Retry-After": formatdate(NOW + 30, usegmt=True)}, 30.0),
        ({"X-Rate-Limit-Reset": f"{NOW + 12:.0f}"}, 12.0),
        ({"x-ratelimit-reset": f"{NOW + 12:.0f}"}, 12.0),
        ({"RateLimit-Reset": "12"}, 12.0),
        ({"X-Rate-Limit-Reset": "30"}, 30.0),
        ({"X-Rate-Limit-Reset": f"{(NOW + 2) * 1000:.0f}"}, 2.0),
        ({"X-Rate-Limit-Reset": f"{(NOW + 2) * 1e6:.0f}"}, 2.0),
        ({"Retry-After": f"{(NOW + 2) * 1000:.0f}"}, 2.0),
        ({"Retry-After": f"{NOW + 2:.0f}"}, 2.0),
        ({"X-Rate-Limit-Reset": formatdate(NOW + 30, usegmt=True)}, 30.0),
        ({"Retry-After": "7", "X-Rate-Limit-Reset": f"{NOW + 12:.0f}"}, 7.0),
    ],
)
def test_wait_is_read_from_each_form_of_header(headers: dict[str, str], wait: float) -> None:
    assert parse_retry_after(headers, NOW) == pytest.approx(wait)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": formatdate(NOW - 60, usegmt=True)}, 0.0),
        ({"X-Rate-Limit-Reset": f"{NOW - 60:.0f}"}, 0.0),
        ({"X-Rate-Limit-Reset": f"{(NOW - 60) * 1000:.0f}"}, 0.0),
        ({"Retry-After": "0", "X-Rate-Limit-Reset": f"{NOW + 12:.0f}"}, 12.0),
    ],
)
def test_past_time_is_zero_unless_another_header_is_later(headers: dict[str, str], wait: float) -> None:
    assert parse_retry_after(headers, NOW) == wait


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": formatdate(NOW - 30, usegmt=True)}, 30.0),
        ({"X-Rate-Limit-Reset": f"{NOW - 30:.0f}"}, 30.0),
        ({"X-Rate-Limit-Reset": "30"}, 30.0),
    ],
)
def test_time_is_compared_with_the_clock_of_the_server(headers: dict[str, str], wait: float) -> None:
    assert parse_retry_after({**AHEAD, **headers}, NOW) == wait


@pytest.mark.parametrize("value", ["", "soon", "-5", "nan", "inf", "1e400", "20991399999999999999", "1000000000"])
def test_implausible_value_counts_as_absent(value: str) -> None:
    assert parse_retry_after({"Retry-After": value}, NOW) == DEFAULT_RETRY_AFTER
    assert parse_retry_after({"X-Rate-Limit-Reset": value}, NOW) == DEFAULT_RETRY_AFTER
    assert parse_retry_after({"Retry-After": value, "X-Rate-Limit-Reset": f"{NOW + 12:.0f}"}, NOW) == 12.0


def test_long_wait_is_cut_to_an_hour() -> None:
    assert parse_retry_after({"Retry-After": "99999"}, NOW) == MAX_RETRY_AFTER
    assert parse_retry_after({"X-Rate-Limit-Reset": f"{NOW + 7200:.0f}"}, NOW) == MAX_RETRY_AFTER


def test_answer_without_headers_gives_the_default() -> None:
    assert parse_retry_after({}, NOW) == DEFAULT_RETRY_AFTER


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Rejected),
        (401, AuthenticationFailed),
        (403, AuthenticationFailed),
        (404, NotFound),
        (410, NotFound),
        (408, OutcomeUnknown),
        (500, OutcomeUnknown),
    ],
)
def test_each_status_has_its_error(status: int, kind: type[Exception]) -> None:
    assert type(error_for_status(HttpResponse(status, {}, b""), "GET /x")) is kind


def test_429_has_the_wait_of_its_headers() -> None:
    error = error_for_status(HttpResponse(429, {"Retry-After": "7"}, b""), "GET /x")
    assert isinstance(error, RateLimited)
    assert error.retry_after == 7


@pytest.mark.parametrize(("status", "is_down"), [(500, False), (502, True), (503, True), (504, True)])
def test_only_a_proxy_says_that_a_platform_is_down(status: int, is_down: bool) -> None:
    error = error_for_status(HttpResponse(status, {}, b""), "GET /x")
    assert isinstance(error, OutcomeUnknown)
    assert error.down is is_down


def test_refusal_is_described_without_secrets_and_in_short() -> None:
    assert describe_refusal("GET /x", 404, "", "") == "GET /x: 404"
    assert describe_refusal("GET /x", 400, "ERR", "wrong key abc", ["abc", ""]) == "GET /x: 400 ERR: wrong key ***"
    assert len(describe_refusal("GET /x", 400, "ERR", "x" * 10_000)) == 500


@pytest.mark.parametrize(
    ("body", "expected"),
    [(b'{"a": 1}', {"a": 1}), (b'{"a": "\\ud83d"}', {"a": "\ufffd"}), (b"[1]", {}), (b"", {}), (b"<html>", {})],
)
def test_json_is_an_object_or_empty(body: bytes, expected: dict[str, object]) -> None:
    assert HttpResponse(200, {}, body).json() == expected


@pytest.mark.parametrize(
    ("status", "headers", "is_empty"), [(204, {}, True), (200, {"content-length": "0"}, True), (200, {}, False)]
)
def test_response_without_body_says_so(status: int, headers: dict[str, str], is_empty: bool) -> None:
    assert HttpResponse(status, headers, b"").is_empty is is_empty
