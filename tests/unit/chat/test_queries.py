"""Cursors, JSON and ids, without a database."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometbot.chat import new_id, queries
from cometbot.errors import BadCursor, ChatError


@given(st.integers(-(2**62), 2**62), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_a_cursor_holds_its_position_in_plain_characters(at: int, name: str) -> None:
    cursor = queries.encode_cursor(at, name)
    assert cursor.replace("-", "").replace("_", "").isalnum()
    assert queries.decode_cursor(cursor, int, str) == (at, name)


@given(st.text())
def test_any_text_is_a_cursor_or_refused(cursor: str) -> None:
    with contextlib.suppress(BadCursor):
        assert len(queries.decode_cursor(cursor, int)) == 1


@pytest.mark.parametrize("position", [(1,), ("a", 1), (1, 2), (1, "a", 2), (True, "a"), (1.5, "a"), (2**64, "a")])
def test_a_cursor_of_another_list_is_refused(position: tuple[int | str, ...]) -> None:
    with pytest.raises(BadCursor):
        queries.decode_cursor(queries.encode_cursor(*position), int, str)


@pytest.mark.parametrize("value", [{"a": float("nan")}, {"a": object()}, {"a": {1, 2}}])
def test_what_is_no_json_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(ChatError, match="not JSON"):
        queries.to_json(value)


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none() | st.booleans() | st.lists(st.text())))
def test_json_comes_back_as_it_was_and_fits_every_database(value: dict[str, object]) -> None:
    text = queries.to_json(value)
    assert text.isascii()
    assert "\0" not in text
    assert queries.from_json(text) == value


@given(st.text())
def test_every_text_can_be_stored(text: str) -> None:
    stored = queries.replace_unstorable(text)
    assert "\0" not in stored
    assert stored.encode().decode() == stored
    assert queries.replace_unstorable(stored) == stored


def test_ids_are_many_and_sort_by_their_time() -> None:
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert sorted(id[:10] for id in ids) == [id[:10] for id in ids]
