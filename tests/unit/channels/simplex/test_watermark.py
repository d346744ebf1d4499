"""How far everything is stored."""

from __future__ import annotations

from cometbot.channels.simplex.watermark import Watermark


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
