"""The registry of running handlers: what it remembers of messages that stop one."""

from __future__ import annotations

from cometbot.delivery.running_handlers import HandlerRegistry


def test_stop_that_has_stopped_a_handler_stops_no_other() -> None:
    handlers = HandlerRegistry(300.0)
    assert handlers.use_stop(7)
    assert not handlers.use_stop(7)
    assert [handlers.take_stop(7), handlers.take_stop(7), handlers.take_stop(8)] == [True, False, False]


def test_only_the_newest_thousand_stops_are_remembered() -> None:
    handlers = HandlerRegistry(300.0)
    assert all(map(handlers.use_stop, range(1002)))
    assert [handlers.take_stop(number) for number in (0, 1, 2, 1001)] == [False, False, True, True]
