"""A refusal and what it may repeat of its cause."""

from __future__ import annotations

from cometbot.http.errors import HttpError, quote_value


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
