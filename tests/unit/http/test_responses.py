from __future__ import annotations

from email.utils import formatdate

import pytest

from cometbot.http.responses import DEFAULT_RETRY_AFTER, MAX_RETRY_AFTER, parse_retry_after

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
