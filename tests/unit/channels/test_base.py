"""Keys of every channel fit into every database."""

from __future__ import annotations

import re

import pytest

from cometbot.channels.base import MAX_KEY_BYTES, IncomingEvent
from cometbot.models import Conversation

HERE = Conversation("cometchat", "app", "helpdesk", "group_ops", "ops", is_group=True)


def key_of(key: str) -> str:
    return IncomingEvent(HERE, key, b"{}").key


@pytest.mark.parametrize(
    "key",
    [
        "message:90430",
        "edit:90430:1767225690",
        "reaction:712:maria:👨‍👩‍👧:added:5",
        "member:büro:scope_changed:jürgen,müller:0a1b",
        "message:" + "\U0002a6df" * 255,
        "",
    ],
)
def test_a_usual_key_stays_as_it_is(key: str) -> None:
    assert key_of(key) == key


@pytest.mark.parametrize(
    "key",
    [
        "call:a\0b:ended",
        "call:a\nb:ended",
        "call:\x7f:ended",
        "call:\ud800:ended",
        "call:" + "x" * MAX_KEY_BYTES,
        "call:" + "\U0002a6df" * (MAX_KEY_BYTES // 4),
    ],
)
def test_a_key_that_no_index_takes_is_told_by_its_hash(key: str) -> None:
    made = key_of(key)
    assert re.fullmatch("call:[0-9a-f]{64}", made)
    assert key_of(key) == made
    assert key_of(made) == made
    assert key_of(key + "!") != made


def test_the_kind_of_a_key_is_not_kept_where_it_is_odd_itself() -> None:
    for kind in ("a\0b", "x" * 5000, "\U0002a6df" * 5000):
        assert re.fullmatch("[0-9a-f]{64}", key_of(f"{kind}:1"))
