"""Where things stand in a JSON text."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cometbot.channels.platform.config.json_lines import JsonPath, find_lines

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def paths(value: Any, before: JsonPath = ()) -> set[JsonPath]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {before}.union(*(paths(item, (*before, name)) for name, item in inner))


def test_every_member_has_the_line_of_its_name() -> None:
    text = '{\n  "a": {"b": [1,\n 2], "c: {": "}\\"\\n"},\n\n  "d"\n: null}'

    assert find_lines(text) == {
        (): 1,
        ("a",): 2,
        ("a", "b"): 2,
        ("a", "b", 0): 2,
        ("a", "b", 1): 3,
        ("a", "c: {"): 3,
        ("d",): 5,
    }


@given(JSON)
def test_everything_in_any_json_has_a_place(value: Any) -> None:
    assert set(find_lines(json.dumps(value, indent=1))) == paths(value)


def test_nothing_is_nowhere() -> None:
    assert find_lines("") == {}
