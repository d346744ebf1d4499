"""How far everything is stored."""

from __future__ import annotations

from cometbot.channels.simplex.seen import Seen


def test_the_mark_follows_the_largest_number() -> None:
    seen = Seen(5)
    for number in (7, 6, 9):
        seen.note(number)

    assert (seen.mark, seen.newest) == (9, 9)


def test_a_message_that_is_being_written_holds_the_mark_before_itself_until_it_ends() -> None:
    seen = Seen(5)
    seen.note(6, is_live=True)
    seen.note(7)
    assert (seen.mark, seen.newest) == (5, 7)

    seen.note(6)
    assert seen.mark == 7


def test_what_is_missing_holds_the_mark_until_it_is_there() -> None:
    seen = Seen(5)
    seen.hold(5)
    seen.note(9)
    assert (seen.mark, seen.newest) == (5, 9)

    seen.hold(None)
    assert seen.mark == 9


def test_of_very_many_that_never_end_the_oldest_are_let_go() -> None:
    seen = Seen()
    for number in range(1, 301):
        seen.note(number, is_live=True)

    assert seen.mark == 200


def test_what_was_told_of_and_is_not_stored_holds_the_mark() -> None:
    seen = Seen(5)
    seen.await_item(7)
    seen.await_item(8)
    seen.note(9)
    assert seen.mark == 6

    seen.note(7)
    assert seen.mark == 7
    seen.await_none()
    assert seen.mark == 9


def test_it_knows_what_is_being_written() -> None:
    seen = Seen()
    seen.note(7, is_live=True)
    assert seen.is_live(7)

    seen.note(7)
    assert not seen.is_live(7)
