"""Arguments of tools: their JSON schemas, and what becomes of what models send."""

from __future__ import annotations

import enum
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Literal, Optional

import pytest
from hypothesis import given, settings, strategies

from cometbot.tool_schemas import (
    InvalidArgument,
    ObjectType,
    describe_function,
    describe_parameters,
    make_member,
    make_value_type,
)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Place(enum.Enum):
    HERE = object()


@dataclass
class Item:
    """An item of an order.

    Attributes:
        sku: Its number.
    """

    sku: str
    count: int = 1
    note: str | None = None
    tags: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.count > 99:
            raise ValueError("at most 99 are in stock")


@dataclass
class Tree:
    parent: Tree | None = None


TEXT = {"type": "string"}


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (str, TEXT),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (Any, {}),
        (Decimal, {"type": "number"}),
        (date, {"type": "string", "format": "date"}),
        (time, {"type": "string", "format": "time"}),
        (datetime, {"type": "string", "format": "date-time"}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (Color, {"type": "string", "enum": ["red", "blue"]}),
        (Level, {"type": "integer", "enum": [1, 2]}),
        (Place, {"type": "string", "enum": ["HERE"]}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (list, {"type": "array", "items": {}}),
        (Sequence[str], {"type": "array", "items": TEXT}),
        (tuple[str, ...], {"type": "array", "items": TEXT}),
        (set[str], {"type": "array", "items": TEXT, "uniqueItems": True}),
        (dict, {"type": "object"}),
        (dict[str, bool], {"type": "object", "additionalProperties": {"type": "boolean"}}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (Optional[str], {"anyOf": [TEXT, {"type": "null"}]}),  # noqa: UP045
        (Annotated[str, "A name"], {"type": "string", "description": "A name"}),
    ],
)
def test_schema_of_annotation(annotation: Any, schema: dict[str, Any]) -> None:
    assert make_value_type(annotation).schema == schema


def test_schema_of_dataclass_has_its_fields_and_their_descriptions() -> None:
    schema = make_value_type(Item).schema
    assert schema["required"] == ["sku"]
    assert schema["properties"]["sku"] == {"type": "string", "description": "Its number."}
    assert schema["properties"]["count"] == {"type": "integer", "default": 1}
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("annotation", [Tree, tuple[int, str], dict[int, str], object(), bytes, Literal[b"a"]])
def test_annotation_without_schema_is_a_type_error(annotation: Any) -> None:
    with pytest.raises(TypeError):
        make_value_type(annotation)


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (str, 4711, "4711"),
        (int, "12", 12),
        (int, 3.0, 3),
        (float, "2.5", 2.5),
        (float, 2, 2.0),
        (bool, "true", True),
        (Decimal, 2.5, Decimal("2.5")),
        (Decimal, "2.50", Decimal("2.50")),
        (date, "2031-12-24", date(2031, 12, 24)),
        (datetime, "2031-12-24T18:30:00Z", datetime.fromisoformat("2031-12-24T18:30:00+00:00")),
        (Color, "red", Color.RED),
        (Color, "Red", Color.RED),
        (Level, 2, Level.HIGH),
        (Place, "HERE", Place.HERE),
        (Literal["a", 1], 1, 1),
        (tuple[int, ...], [1, "2"], (1, 2)),
        (set[str], ["a", "a"], {"a"}),
        (dict[str, int], {"a": "1"}, {"a": 1}),
        (int | None, None, None),
        (int | str, "12", "12"),
        (date | int, "2031-12-24", date(2031, 12, 24)),
        (Item, {"sku": "a", "note": None, "count": None}, Item("a")),
        (list[Item], [{"sku": "a", "count": 2}], [Item("a", 2)]),
    ],
)
def test_value_is_converted(annotation: Any, value: Any, expected: Any) -> None:
    converted = make_value_type(annotation).convert(value)
    assert converted == expected
    assert type(converted) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "value", "text"),
    [
        (str, 1.5, "expected a text, got 1.5"),
        (str, None, "expected a text, got null"),
        (int, True, "expected a whole number, got true"),
        (int, "many", 'expected a whole number, got "many"'),
        (int, "9" * 5000, f'expected a whole number, got "{"9" * 59}…'),
        (float, "nan", 'expected a number, got "nan"'),
        (float, 10**400, f"expected a number, got 1{'0' * 59}…"),
        (bool, 1, "expected true or false, got 1"),
        (Decimal, True, "expected a number, got true"),
        (date, "tomorrow", 'expected a date such as 2031-12-24, got "tomorrow"'),
        (Color, "green", 'expected one of red, blue, got "green"'),
        (Level, True, "expected one of 1, 2, got true"),
        (list[int], "1, 2", 'expected a list, got "1, 2"'),
        (list[int], [1, "x"], '[1]: expected a whole number, got "x"'),
        (set[Any], [{}], "expected texts or numbers, got [{}]"),
        (dict[str, int], [], "expected an object, got []"),
        (dict[str, int], {"a": {}}, "a: expected a whole number, got {}"),
        (Item, "a", 'expected an object, got "a"'),
        (Item, {"count": 1, "size": 2}, "size: unexpected; expected sku, count, note, tags; sku: missing"),
        (Item, {"sku": "a", "count": 100}, "at most 99 are in stock"),
        (list[Item], [{"sku": "a", "count": "x"}], '[0].count: expected a whole number, got "x"'),
    ],
)
def test_value_that_does_not_fit_is_explained(annotation: Any, value: Any, text: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        make_value_type(annotation).convert(value)
    assert str(raised.value) == text


def test_any_error_of_a_dataclass_is_explained() -> None:
    @dataclass
    class Picky:
        count: int

        def __post_init__(self) -> None:
            raise KeyError(self.count)

    with pytest.raises(InvalidArgument, match=r"^\[0\]: KeyError: 1$"):
        make_value_type(list[Picky]).convert([{"count": 1}])


JSON = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | strategies.floats() | strategies.text(),
    lambda inner: strategies.lists(inner) | strategies.dictionaries(strategies.text(), inner),
)
ANNOTATIONS = [str, int, float, bool, Decimal, date, time, datetime, Color, Level, Place, Literal["a", 1], Item, Any]


@settings(max_examples=300, deadline=None)
@given(annotation=strategies.sampled_from(ANNOTATIONS), value=JSON)
def test_any_json_is_converted_or_explained(annotation: Any, value: Any) -> None:
    for wanted in (annotation, list[annotation], set[annotation], dict[str, annotation], annotation | None):
        for given_value in (value, [value], {"sku": value}):
            with suppress(InvalidArgument):
                make_value_type(wanted).convert(given_value)


def test_deep_json_is_no_error_of_its_own() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidArgument, match="expected a text, got list"):
        make_value_type(str).convert(deep)


def test_optional_member_without_a_default_becomes_none() -> None:
    arguments = ObjectType((make_member("when", date | None), make_member("count", int, 3)))
    assert arguments.convert({}) == {"when": None}
    assert arguments.schema["required"] == []


def test_null_stands_for_a_member_that_is_left_out() -> None:
    assert ObjectType((make_member("count", int, 3),)).convert({"count": None}) == {}


def test_default_stands_in_the_schema_if_it_is_json() -> None:
    defaults = {"a": Color.RED, "b": 2, "c": None, "d": date(2031, 12, 24)}
    members = [make_member(name, Any, default) for name, default in defaults.items()]
    assert [member.schema for member in members] == [{"default": "red"}, {"default": 2}, {}, {}]
    json.dumps(ObjectType(tuple(members)).schema)


GOOGLE = """Find an order.

Only those of this year.

Args:
    number (int): The number
        of the order.
    year: Its year.

Returns:
    The order.
"""
NUMPY = """Find an order.

Only those of this year.

Parameters
----------
number : int
    The number
    of the order.
year
    Its year.
"""
SPHINX = """Find an order.

Only those of this year.

:param int number: The number
    of the order.
:param year: Its year.
:returns: The order.
"""


@pytest.mark.parametrize("docstring", [GOOGLE, NUMPY, SPHINX], ids=["google", "numpy", "sphinx"])
def test_docstring_describes_function_and_parameters(docstring: str) -> None:
    assert describe_function(docstring) == "Find an order.\n\nOnly those of this year."
    assert describe_parameters(docstring) == {"number": "The number of the order.", "year": "Its year."}


def test_function_without_a_docstring_has_no_description() -> None:
    assert describe_function(None) == ""
    assert describe_parameters(None) == {}


def test_docstring_that_cannot_be_parsed_is_taken_as_it_is() -> None:
    docstring = "Find it.\n\n:param a"
    assert "Find it." in describe_function(docstring)
