"""What users write in fields, and what it becomes."""

from __future__ import annotations

import json
from datetime import date, time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometbot import Choice, Field, Form
from cometbot.errors import MessageError
from cometbot.field_values import (
    InvalidValue,
    field_from_json,
    field_to_json,
    labels_of,
    normalize_value,
    normalize_values,
    parse_value,
    split_options,
)

SIZES = Field("size", "Size", "select", [Choice("Small", "s"), Choice("Large", "l"), Choice("2", "two")])
EXTRAS = Field("extras", "Extras", "multi_select", ["Milk", "Sugar, brown", "Lemon"], min=1, max=2)


def read(field: Field, text: str, *, is_numbered: bool = False) -> Any:
    return parse_value(field, normalize_value(field, text, is_numbered=is_numbered))


@pytest.mark.parametrize(
    ("kind", "written", "text", "value"),
    [
        ("text", "  two\nlines ", "two\nlines", "two\nlines"),
        ("long_text", "a" * 10_000, "a" * 10_000, "a" * 10_000),
        ("number", "3", "3", 3),
        ("number", "-3.50", "-3.5", -3.5),
        ("number", "3,5", "3.5", 3.5),
        ("number", "2.000", "2", 2),
        ("number", "0.125", "0.125", 0.125),
        ("date", "2031-1-2", "2031-01-02", date(2031, 1, 2)),
        ("date", "24.12.2031", "2031-12-24", date(2031, 12, 24)),
        ("time", "18:30", "18:30", time(18, 30)),
        ("time", "8.05", "08:05", time(8, 5)),
        ("time", "18:30:15", "18:30:15", time(18, 30, 15)),
        ("time", "12 am", "00:00", time(0, 0)),
        ("time", "6:30 PM", "18:30", time(18, 30)),
        ("checkbox", "Y", "yes", True),
        ("checkbox", "true", "yes", True),
        ("email", "maria@example.org", "maria@example.org", "maria@example.org"),
        ("phone", "+41 (0)31 123-45-67", "+41 (0)31 123-45-67", "+41 (0)31 123-45-67"),
    ],
)
def test_value_is_read_by_its_kind(kind: Any, written: str, text: str, value: Any) -> None:
    field = Field("x", kind=kind)
    assert normalize_value(field, written) == text
    assert normalize_value(field, text) == text
    assert parse_value(field, text) == value


@pytest.mark.parametrize(
    ("kind", "written", "problem"),
    [
        ("text", "a" * 1001, "please write at most 1000 characters, not 1001."),
        ("long_text", "a" * 10_001, "please write at most 10000 characters, not 10001."),
        ("number", "many", "please write a number, not “many”."),
        ("number", "1,000", "please write a number, not “1,000”."),
        ("number", "1e5", "please write a number, not “1e5”."),
        ("number", "nan", "please write a number, not “nan”."),
        ("number", "9" * 41, f"please write a number, not “{'9' * 40}…”."),
        ("date", "tomorrow", "please write a date such as 2031-12-24, not “tomorrow”."),
        ("date", "2031-02-30", "please write a date such as 2031-12-24, not “2031-02-30”."),
        ("date", "12/24/2031", "please write a date such as 2031-12-24, not “12/24/2031”."),
        ("time", "25:00", "please write a time such as 18:30, not “25:00”."),
        ("time", "13 pm", "please write a time such as 18:30, not “13 pm”."),
        ("time", "7", "please write a time such as 18:30, not “7”."),
        ("checkbox", "perhaps", "please answer yes or no, not “perhaps”."),
        ("checkbox", "no", "this needs a yes."),
        ("email", "maria@example", "please write an e-mail address, not “maria@example”."),
        ("email", "ma ria@example.org", "please write an e-mail address, not “ma ria@example.org”."),
        ("email", "a@b@example.org", "please write an e-mail address, not “a@b@example.org”."),
        ("email", "a@example..org", "please write an e-mail address, not “a@example..org”."),
        ("phone", "call me", "please write a phone number, not “call me”."),
        ("phone", "12", "please write a phone number, not “12”."),
    ],
)
def test_value_that_does_not_fit_is_explained(kind: Any, written: str, problem: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        normalize_value(Field("x", kind=kind), written)
    assert str(caught.value) == problem


@pytest.mark.parametrize(
    ("field", "written", "problem"),
    [
        (Field("x", min=3), "ab", "please write at least 3 characters."),
        (Field("x", max=3), "abcd", "please write at most 3 characters, not 4."),
        (Field("x", kind="number", min=1, max=9), "10", "please write a number from 1 to 9, not “10”."),
        (Field("x", kind="number", min=Decimal("0.5")), "0.4", "please write a number of at least 0.5, not “0.4”."),
        (Field("x", kind="number", max=9.5), "9.6", "please write a number of at most 9.5, not “9.6”."),
        (
            Field("x", kind="date", min="2031-01-01"),
            "2030-12-31",
            "please write a date from 2031-01-01 on, not “2030-12-31”.",
        ),
        (
            Field("x", kind="date", max=date(2031, 1, 1)),
            "2031-01-02",
            "please write a date up to 2031-01-01, not “2031-01-02”.",
        ),
        (
            Field("x", kind="time", min="9:00", max=time(17)),
            "8:59",
            "please write a time from 09:00 to 17:00, not “8:59”.",
        ),
        (Field("x", pattern="[A-Z]+"), "b", "“b” does not have the expected form."),
        (Field("x", pattern="[A-Z]+", hint="capitals"), "b", "please write capitals, not “b”."),
        (SIZES, "Huge", "“Huge” is not on offer. Choose one of: Small, Large, 2."),
        (EXTRAS, "a, b, c, d", "“a” and “b” and “c” is not on offer. Choose any of: Milk, Sugar, brown, Lemon."),
        (EXTRAS, "Milk, Lemon, Sugar, brown", "please choose at most 2."),
        (Field("x", kind="multi_select", options=["a", "b"], min=2), "a, a", "please choose at least 2."),
    ],
)
def test_limits_and_options_are_explained(field: Field, written: str, problem: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        normalize_value(field, written)
    assert str(caught.value) == problem


def test_limits_are_inclusive() -> None:
    assert read(Field("x", kind="number", min=1, max=9), "9") == 9
    assert read(Field("x", min=3, max=3), "abc") == "abc"
    assert read(Field("x", kind="time", min="9:00"), "9:00") == time(9)


@pytest.mark.parametrize(
    ("written", "value"), [("s", "s"), ("small", "s"), ("LARGE", "l"), ("2", "two"), ("two", "two"), ("3.", "two")]
)
def test_option_is_chosen_by_value_label_or_number(written: str, value: str) -> None:
    assert read(SIZES, written, is_numbered=True) == value


def test_number_of_an_option_counts_only_where_it_is_shown() -> None:
    with pytest.raises(InvalidValue):
        normalize_value(SIZES, "1")
    assert read(SIZES, "1", is_numbered=True) == "s"


def test_label_of_two_options_is_ambiguous() -> None:
    field = Field("x", kind="select", options=[Choice("A", "1"), Choice("a", "2")])
    with pytest.raises(InvalidValue):
        normalize_value(field, "a")


@pytest.mark.parametrize("written", ["Lemon, Milk", "lemon; MILK", "3 1", "3, 1", "Milk\nLemon", "Milk, Lemon, Milk"])
def test_options_have_the_order_of_the_field(written: str) -> None:
    assert read(EXTRAS, written, is_numbered=True) == ["Milk", "Lemon"]


def test_option_with_a_comma_is_one() -> None:
    assert read(EXTRAS, "Milk, Sugar, brown") == ["Milk", "Sugar, brown"]
    assert labels_of(SIZES, "l") == "Large"
    assert labels_of(EXTRAS, "Milk, Sugar, brown") == "Milk, Sugar, brown"


def test_empty_value_has_the_type_of_its_kind() -> None:
    kinds: list[Any] = ["text", "long_text", "email", "phone", "number", "date", "time", "checkbox"]
    assert [parse_value(Field("x", kind=kind), "") for kind in kinds] == ["", "", "", "", None, None, None, False]
    assert parse_value(SIZES, "") == ""
    assert parse_value(EXTRAS, "") == []


def test_default_counts_for_what_is_absent_and_a_cleared_field_is_empty() -> None:
    fields = [
        Field("a", default="x"),
        Field("b", optional=True, default="y"),
        Field("c", kind="checkbox", optional=True),
    ]
    assert normalize_values(fields, {}, can_clear=True).texts == {"a": "x", "b": "y", "c": "no"}
    cleared = normalize_values(fields, {"a": " ", "b": "", "c": ""}, can_clear=True)
    assert (cleared.texts, cleared.missing) == ({"b": "", "c": "no"}, ["a"])
    assert normalize_values(fields, {"a": "", "b": ""}, can_clear=False).texts == {"a": "x", "b": "y", "c": "no"}


def test_all_problems_of_a_form_are_described() -> None:
    fields = [Field("n", "Count", "number"), Field("d", "Day", "date"), Field("a", "Name"), Field("b", "Town")]
    found = normalize_values(fields, {"n": "x", "d": "y"}, can_clear=True)
    assert not found.is_complete
    assert found.describe(fields) == (
        "Count: please write a number, not “x”.\n"
        "Day: please write a date such as 2031-12-24, not “y”.\n"
        "Please fill in: Name, Town."
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "number", "min": "1"}, "the number field 'x': min: expected a number, got '1'"),
        ({"kind": "number", "max": True}, "max: expected a number, got True"),
        ({"kind": "number", "max": float("nan")}, "max: expected a number, got nan"),
        ({"kind": "number", "min": 9, "max": 1}, "expected min up to max, got 9 and 1"),
        ({"kind": "date", "min": "soon"}, "min: expected a date, got 'soon'"),
        ({"kind": "time", "max": 5}, "max: expected a time, got 5"),
        ({"min": 1.5}, "min: expected a whole number, got 1.5"),
        ({"kind": "select", "options": ["a"], "min": 1}, "the select field 'x' has no min"),
        ({"kind": "number", "pattern": "a"}, "the number field 'x' has no pattern"),
        ({"pattern": "(a+)+b"}, "the text field 'x': pattern: expected a regular expression that is fast"),
        ({"kind": "number", "default": "many"}, "default 'many': please write a number"),
        ({"kind": "select", "options": ["a"], "default": "b"}, "default 'b': “b” is not on offer"),
    ],
)
def test_field_that_contradicts_itself_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MessageError) as caught:
        Form("T", [Field("x", **options)])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "default", "text"),
    [
        ("number", 3, "3"),
        ("number", Decimal("2.5"), "2.5"),
        ("date", date(2031, 1, 2), "2031-01-02"),
        ("time", time(9, 30), "09:30"),
        ("checkbox", True, "yes"),
        ("checkbox", False, "no"),
        ("text", None, ""),
    ],
)
def test_default_may_be_a_value(kind: Any, default: Any, text: str) -> None:
    field = Field("x", kind=kind, default=default)
    assert Form("T", [field]).fields[0].default == text


def test_field_is_the_same_after_json() -> None:
    fields = [
        Field("a", "A", "date", min=date(2031, 1, 1), max="2031-02-01", default=date(2031, 1, 5)),
        Field("b", kind="number", min=Decimal("0.5"), max=2),
        Field("c", pattern="[a-z]+", hint="letters", optional=True),
        Field("d", kind="multi_select", options=["x", Choice("Why", "y")], default=["x", "y"]),
    ]
    again = [field_from_json(json.loads(json.dumps(field_to_json(field)))) for field in fields]
    assert [field_to_json(field) for field in again] == [field_to_json(field) for field in fields]
    assert normalize_values(again, {"b": "1", "c": "z"}, can_clear=True).texts == {
        "a": "2031-01-05",
        "b": "1",
        "c": "z",
        "d": "x, y",
    }


@given(st.lists(st.sampled_from(["a", "a, a", "b", "b, a", "c"]), min_size=1, max_size=6))
def test_joined_options_are_split_again(chosen: list[str]) -> None:
    found = split_options(", ".join(chosen), ["a", "a, a", "b", "b, a", "c"])
    assert found is not None
    assert ", ".join(found) == ", ".join(chosen)


@given(st.text(max_size=60), st.sampled_from(["number", "date", "time", "email", "phone", "checkbox", "text"]))
def test_any_text_is_read_or_refused(written: str, kind: Any) -> None:
    field = Field("x", kind=kind)
    try:
        text = normalize_value(field, written)
    except InvalidValue:
        return
    assert normalize_value(field, text) == text
    parse_value(field, text)
