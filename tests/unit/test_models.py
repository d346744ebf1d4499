from __future__ import annotations

import dataclasses

import pytest

from cometbot import Attachment, BotError, Conversation, Group, User
from cometbot.errors import MessageError
from cometbot.models import ConversationKey, Mention, Quote, check_recipient


def test_conversation_key_holds_channel_account_and_bot() -> None:
    here = Conversation("cometchat", "app", "helpdesk", "group_ops", "ops", is_group=True)
    assert here.key == ConversationKey("cometchat", "app", "helpdesk", "group_ops")
    assert str(here.key) == "cometchat/app/helpdesk/group_ops"
    assert not here.is_direct


def test_recipient_is_either_a_user_or_a_group() -> None:
    check_recipient("maria", "")
    check_recipient("", "ops")
    with pytest.raises(BotError, match="expected either a user or a group, got both"):
        check_recipient("maria", "ops")
    with pytest.raises(MessageError, match="got neither"):
        check_recipient("", "", MessageError)


def test_user_and_group_read_as_their_names_or_else_their_ids() -> None:
    assert f"{User('maria', 'Maria')} {User('maria')}" == "Maria maria"
    assert f"{Group('ops', 'Operations')} {Group('ops')}" == "Operations ops"


def test_raw_payload_is_neither_shown_nor_compared() -> None:
    assert User("maria", raw={"authToken": "x"}) == User("maria")
    assert "authToken" not in repr(User("maria", raw={"authToken": "x"}))


@pytest.mark.parametrize(
    "value", [User("a"), Group("a"), Attachment("a"), Mention("a"), Quote("a"), Conversation("a", "b", "c", "d", "e")]
)
def test_model_is_a_value_and_cannot_be_changed(value: object) -> None:
    name = dataclasses.fields(value)[0].name  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, name, "x")
