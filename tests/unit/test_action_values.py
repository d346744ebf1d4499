"""Values of buttons survive their way through a platform."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometbot.action_values import decode_value, encode_value
from cometbot.errors import MessageError

JSON = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner | st.none()) | st.dictionaries(st.text(), inner | st.none()),
    max_leaves=10,
)


class Size(enum.Enum):
    SMALL = 1


@dataclass
class Item:
    id: int
    price: Decimal


@given(JSON)
def test_json_comes_back_as_the_same_value(value: Any) -> None:
    back = decode_value(encode_value(value))
    assert back == value
    assert type(back) is type(value)


@given(st.text())
def test_text_never_stands_for_another_value(text: str) -> None:
    assert encode_value(text) == text or encode_value(text).startswith("=")
    assert decode_value(encode_value(text)) == text


@pytest.mark.parametrize(
    ("value", "text", "back"),
    [
        ("tea", "tea", "tea"),
        ("", "", ""),
        (None, "", ""),
        (17, "=17", 17),
        (False, "=false", False),
        ("=17", '="=17"', "=17"),
        ({"b": [1, None], "a": "ä"}, '={"a":"ä","b":[1,null]}', {"a": "ä", "b": [1, None]}),
        (Decimal("12.50"), "12.50", "12.50"),
        (date(2031, 5, 1), "2031-05-01", "2031-05-01"),
        (datetime(2031, 5, 1, 9), "2031-05-01T09:00:00", "2031-05-01T09:00:00"),
        (Size.SMALL, "SMALL", "SMALL"),
        (Item(7, Decimal("1.5")), '={"id":7,"price":"1.5"}', {"id": 7, "price": "1.5"}),
        ([Item(7, Decimal(1))], '=[{"id":7,"price":"1"}]', [{"id": 7, "price": "1"}]),
    ],
)
def test_value_travels_as_text(value: Any, text: str, back: Any) -> None:
    assert encode_value(value) == text
    assert decode_value(text) == back


@pytest.mark.parametrize("value", [{1, 2}, b"x", object(), float("nan"), {"a": float("inf")}, [object()], Item])
def test_value_that_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises(MessageError, match="a Button's value: expected JSON"):
        encode_value(value, "a Button's value")


def test_value_that_contains_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(MessageError, match="expected JSON"):
        encode_value(endless)


@pytest.mark.parametrize("text", ["=", "= 05", "={", "=nul", "=" + "[" * 100_000])
def test_text_of_a_user_that_is_no_value_stays_text(text: str) -> None:
    assert decode_value(text) == text
