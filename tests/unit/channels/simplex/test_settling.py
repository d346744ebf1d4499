"""Nothing is stored before what came before it in its chat, as far as the CLI can be asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from cometbot.channels.simplex import settling
from cometbot.channels.simplex.errors import AnswerMissing, CommandRejected, ConnectionLost, NotConnected
from cometbot.channels.simplex.protocol import Command, Record
from cometbot.channels.simplex.settling import Settling
from cometbot.channels.simplex.views import Item

CREATED = "2026-03-01T10:00:05Z"


def item(number: int, chat: int = 4, **meta: Any) -> dict[str, Any]:
    """An ``AChatItem`` of a direct chat."""
    told = {"itemId": number, "itemTs": CREATED, "createdAt": CREATED, "updatedAt": CREATED, **meta}
    content = {"type": "rcvMsgContent", "msgContent": {"type": "text", "text": str(number)}}
    contact = {"contactId": chat, "localDisplayName": "alice", "profile": {"displayName": "alice"}}
    return {
        "chatInfo": {"type": "direct", "contact": contact},
        "chatItem": {"chatDir": {"type": "directRcv"}, "meta": told, "content": content},
    }


def told(*items: object) -> Record:
    return Record("newChatItems", {"type": "newChatItems", "chatItems": list(items)})


class Desk:
    """Answers looks with the items that the CLI has; ``faults`` are raised before."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.faults: list[Exception] = []
        self.asked: list[str] = []
        self.stored: list[int] = []
        self.settling = Settling(self.ask, self.store)

    def ask(self, command: Command | str) -> Record:
        assert isinstance(command, Command)
        self.asked.append(command.text)
        if self.faults:
            raise self.faults.pop(0)
        chat = {"chatInfo": item(1)["chatInfo"], "chatItems": [each["chatItem"] for each in self.items]}
        return Record("apiChat", {"type": "apiChat", "chat": {**chat, "chatStats": {}}})

    def store(self, found: Item, raw: Mapping[str, Any]) -> None:
        self.stored.append(found.item_id)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_before_a_connection_and_long_after_it_nothing_is_asked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert desk.settling.admits(told(item(8)))
    monkeypatch.setattr(settling, "SETTLING", -1.0)
    desk.settling.begin(5)

    assert desk.settling.admits(told(item(8)))
    assert desk.asked == []


def test_what_was_told_to_nobody_is_stored_before_and_what_is_told_soon_as_well(desk: Desk) -> None:
    desk.settling.begin(5)
    desk.items = [item(number) for number in (4, 6, 8, 9)]

    assert desk.settling.admits(told(item(8)))
    assert desk.stored == [6, 8, 9]
    assert desk.settling.admits(told(item(9)))
    assert len(desk.asked) == 1
    desk.items.append(item(11))
    assert desk.settling.admits(told(item(11)))
    assert desk.stored == [6, 8, 9, 11]
    desk.settling.begin(8)
    assert desk.settling.admits(told(item(9)))
    assert desk.stored == [6, 8, 9, 11, 9, 11], "on a new connection it begins anew"


@pytest.mark.parametrize("changed", [{"updatedAt": "2026-03-01T10:00:09Z"}, {"itemLive": True}])
def test_what_was_changed_since_is_left_to_its_own_events_and_what_follows_too(
    desk: Desk, changed: dict[str, Any]
) -> None:
    desk.settling.begin(5)
    desk.items = [item(6), item(8), item(9, **changed), item(10)]

    assert desk.settling.admits(told(item(8)))
    assert desk.stored == [6, 8]
    assert desk.settling.admits(told(item(9)))
    assert desk.stored == [6, 8]
    assert desk.settling.admits(told(item(10)))
    assert desk.stored == [6, 8, 10]


@pytest.mark.parametrize("error", [NotConnected("gone"), ConnectionLost("gone")])
def test_when_the_connection_breaks_meanwhile_the_next_one_fetches_it(desk: Desk, error: Exception) -> None:
    desk.settling.begin(5)
    desk.faults = [error]

    assert not desk.settling.admits(told(item(8)))
    assert desk.stored == []


def test_who_is_too_slow_is_not_asked_again(desk: Desk) -> None:
    desk.settling.begin(5)
    desk.faults = [AnswerMissing("late")]

    assert desk.settling.admits(told(item(8)))
    assert desk.settling.admits(told(item(9)))
    assert len(desk.asked) == 1


def test_a_chat_that_cannot_be_given_is_stored_as_it_comes(desk: Desk) -> None:
    desk.settling.begin(5)
    desk.faults = [CommandRejected("no")]

    assert desk.settling.admits(told(item(8)))
    desk.items = [item(8), item(9)]
    assert desk.settling.admits(told(item(9)))
    assert desk.stored == [8, 9]


@pytest.mark.parametrize(
    "record",
    [
        Record("newChatItems", {}),
        told(None, {"chatInfo": 1}, {"chatItem": {"meta": {"itemId": "x"}}}),
        Record("chatItemUpdated", {"chatItem": item(8)}),
        Record("contactConnected", {}),
    ],
)
def test_what_is_no_new_item_is_nothing_to_ask_about(desk: Desk, record: Record) -> None:
    desk.settling.begin(5)

    assert desk.settling.admits(record)
    assert desk.asked == []
