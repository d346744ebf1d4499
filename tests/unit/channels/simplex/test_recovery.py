"""Recovery: order after a reconnection, the watermark of stored items, and lost events."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest

from cometbot.channels.simplex import recovery
from cometbot.channels.simplex.errors import AnswerMissing, CommandRejected, ConnectionLost, NotConnected
from cometbot.channels.simplex.models import Item
from cometbot.channels.simplex.protocol import Command, Record
from cometbot.channels.simplex.recovery import RECOVERY_PERIOD, GapRecovery, LostEventDetector, Watermark

CREATED = "2026-03-01T10:00:05Z"


def item(number: int, chat: int = 4, **meta: Any) -> dict[str, Any]:
    """An ``AChatItem`` of a direct chat."""
    new_items_event = {"itemId": number, "itemTs": CREATED, "createdAt": CREATED, "updatedAt": CREATED, **meta}
    content = {"type": "rcvMsgContent", "msgContent": {"type": "text", "text": str(number)}}
    contact = {"contactId": chat, "localDisplayName": "alice", "profile": {"displayName": "alice"}}
    return {
        "chatInfo": {"type": "direct", "contact": contact},
        "chatItem": {"chatDir": {"type": "directRcv"}, "meta": new_items_event, "content": content},
    }


def new_items_event(*items: object) -> Record:
    return Record("newChatItems", {"type": "newChatItems", "chatItems": list(items)})


class FakeCLI:
    """Answers looks with the items that the CLI has; ``faults`` are raised before."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.faults: list[Exception] = []
        self.asked: list[str] = []
        self.stored: list[int] = []
        self.recovery = GapRecovery(self.send_command, self.store)

    def send_command(self, command: Command | str) -> Record:
        assert isinstance(command, Command)
        self.asked.append(command.text)
        if self.faults:
            raise self.faults.pop(0)
        chat = {"chatInfo": item(1)["chatInfo"], "chatItems": [each["chatItem"] for each in self.items]}
        return Record("apiChat", {"type": "apiChat", "chat": {**chat, "chatStats": {}}})

    def store(self, found: Item, raw: Mapping[str, Any]) -> None:
        self.stored.append(found.item_id)


@pytest.fixture
def fake_cli() -> FakeCLI:
    return FakeCLI()


def test_recovery_only_runs_after_connecting(fake_cli: FakeCLI, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fake_cli.recovery.allows(new_items_event(item(8)))
    monkeypatch.setattr(recovery, "RECOVERY_PERIOD", -1.0)
    fake_cli.recovery.reset(5)

    assert fake_cli.recovery.allows(new_items_event(item(8)))
    assert fake_cli.asked == []


def test_missed_items_are_stored_before_the_event(fake_cli: FakeCLI) -> None:
    fake_cli.recovery.reset(5)
    fake_cli.items = [item(number) for number in (4, 6, 8, 9)]

    assert fake_cli.recovery.allows(new_items_event(item(8)))
    assert fake_cli.stored == [6, 8, 9]
    assert fake_cli.recovery.allows(new_items_event(item(9)))
    assert len(fake_cli.asked) == 1
    fake_cli.items.append(item(11))
    assert fake_cli.recovery.allows(new_items_event(item(11)))
    assert fake_cli.stored == [6, 8, 9, 11]
    fake_cli.recovery.reset(8)
    assert fake_cli.recovery.allows(new_items_event(item(9)))
    assert fake_cli.stored == [6, 8, 9, 11, 9, 11], "on a new connection it begins anew"


@pytest.mark.parametrize("changed", [{"updatedAt": "2026-03-01T10:00:09Z"}, {"itemLive": True}])
def test_edited_items_are_left_to_their_events(fake_cli: FakeCLI, changed: dict[str, Any]) -> None:
    fake_cli.recovery.reset(5)
    fake_cli.items = [item(6), item(8), item(9, **changed), item(10)]

    assert fake_cli.recovery.allows(new_items_event(item(8)))
    assert fake_cli.stored == [6, 8]
    assert fake_cli.recovery.allows(new_items_event(item(9)))
    assert fake_cli.stored == [6, 8]
    assert fake_cli.recovery.allows(new_items_event(item(10)))
    assert fake_cli.stored == [6, 8, 10]


@pytest.mark.parametrize("error", [NotConnected("gone"), ConnectionLost("gone")])
def test_disconnect_during_recovery_stores_nothing(fake_cli: FakeCLI, error: Exception) -> None:
    fake_cli.recovery.reset(5)
    fake_cli.faults = [error]

    assert not fake_cli.recovery.allows(new_items_event(item(8)))
    assert fake_cli.stored == []


def test_slow_cli_is_not_asked_again(fake_cli: FakeCLI) -> None:
    fake_cli.recovery.reset(5)
    fake_cli.faults = [AnswerMissing("late")]

    assert fake_cli.recovery.allows(new_items_event(item(8)))
    assert fake_cli.recovery.allows(new_items_event(item(9)))
    assert len(fake_cli.asked) == 1


def test_a_chat_that_cannot_be_given_is_stored_as_it_comes(fake_cli: FakeCLI) -> None:
    fake_cli.recovery.reset(5)
    fake_cli.faults = [CommandRejected("no")]

    assert fake_cli.recovery.allows(new_items_event(item(8)))
    fake_cli.items = [item(8), item(9)]
    assert fake_cli.recovery.allows(new_items_event(item(9)))
    assert fake_cli.stored == [8, 9]


@pytest.mark.parametrize(
    "record",
    [
        Record("newChatItems", {}),
        new_items_event(None, {"chatInfo": 1}, {"chatItem": {"meta": {"itemId": "x"}}}),
        Record("chatItemUpdated", {"chatItem": item(8)}),
        Record("contactConnected", {}),
    ],
)
def test_other_events_need_no_recovery(fake_cli: FakeCLI, record: Record) -> None:
    fake_cli.recovery.reset(5)

    assert fake_cli.recovery.allows(record)
    assert fake_cli.asked == []


def test_the_mark_follows_the_largest_number() -> None:
    watermark = Watermark(5)
    for number in (7, 6, 9):
        watermark.advance(number)

    assert (watermark.value, watermark.newest) == (9, 9)


def test_live_message_holds_the_watermark() -> None:
    watermark = Watermark(5)
    watermark.advance(6, is_live=True)
    watermark.advance(7)
    assert (watermark.value, watermark.newest) == (5, 7)

    watermark.advance(6)
    assert watermark.value == 7


def test_hold_at_holds_the_watermark() -> None:
    watermark = Watermark(5)
    watermark.hold_at(5)
    watermark.advance(9)
    assert (watermark.value, watermark.newest) == (5, 9)

    watermark.hold_at(None)
    assert watermark.value == 9


def test_of_very_many_that_never_end_the_oldest_are_let_go() -> None:
    watermark = Watermark()
    for number in range(1, 301):
        watermark.advance(number, is_live=True)

    assert watermark.value == 200


def test_pending_item_holds_the_watermark() -> None:
    watermark = Watermark(5)
    watermark.add_pending(7)
    watermark.add_pending(8)
    watermark.advance(9)
    assert watermark.value == 6

    watermark.advance(7)
    assert watermark.value == 7
    watermark.clear_pending()
    assert watermark.value == 9


def test_it_knows_what_is_being_written() -> None:
    watermark = Watermark()
    watermark.advance(7, is_live=True)
    assert watermark.is_live(7)

    watermark.advance(7)
    assert not watermark.is_live(7)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lost(clock: Clock) -> LostEventDetector:
    lost = LostEventDetector(clock)
    lost.reset()
    clock.now += RECOVERY_PERIOD
    lost.log_lost_events()
    return lost


def test_several_lost_events_are_reported_once(lost: LostEventDetector, caplog: pytest.LogCaptureFixture) -> None:
    for number in (1, 2, 3):
        lost.add_fetched(number)
    lost.add_delivered(4)
    lost.log_lost_events()
    lost.log_lost_events()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "another client is connected to the SimpleX CLI" in record.getMessage()
    assert "3 SimpleX events" in record.getMessage()


def test_events_on_their_way_are_not_lost(lost: LostEventDetector, caplog: pytest.LogCaptureFixture) -> None:
    for number in (1, 2, 3, 5, 6, 7):
        lost.add_fetched(number)
    for number in (1, 2, 4):
        lost.add_delivered(number)
    lost.log_lost_events()
    assert caplog.records == []


def test_events_of_a_broken_connection_are_not_counted(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    lost = LostEventDetector(clock)
    lost.reset()
    for number in (1, 2, 3):
        lost.add_fetched(number)
    lost.add_delivered(4)
    lost.log_lost_events()
    clock.now += RECOVERY_PERIOD
    lost.log_lost_events()
    lost.log_lost_events()
    assert caplog.records == []


def test_a_new_connection_starts_anew(lost: LostEventDetector, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for number in (1, 2, 3):
        lost.add_fetched(number)
    lost.add_delivered(4)
    lost.reset()
    clock.now += RECOVERY_PERIOD
    lost.log_lost_events()
    lost.log_lost_events()
    assert caplog.records == []
