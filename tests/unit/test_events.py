from __future__ import annotations

import dataclasses
import inspect

import pytest

from cometbot import Conversation, MessageEvent, User, events

HERE = Conversation("cometchat", "app", "helpdesk", "c", "maria")
CLASSES = [item for item in vars(events).values() if inspect.isclass(item) and issubclass(item, events.Event)]


@pytest.mark.parametrize("event", CLASSES)
def test_event_is_keyword_only_frozen_and_hides_raw(event: type[events.Event]) -> None:
    required = {
        field.name: "x"
        for field in dataclasses.fields(event)
        if field.default is field.default_factory is dataclasses.MISSING
    }
    made = event(**(required | {"conversation": HERE, "sender": User("maria"), "raw": {"secret": 1}}))  # type: ignore[arg-type]
    assert "secret" not in repr(made)
    assert made == dataclasses.replace(made, raw={})
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.key = "y"  # type: ignore[misc]


def test_message_event_without_more_is_a_plain_text() -> None:
    event = MessageEvent(key="message:1", id="1", conversation=HERE, sender=User("maria"))
    assert (event.type, event.category, event.text, event.thread_id) == ("text", "message", "", "")
