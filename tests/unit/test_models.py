from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from cometbot import Attachment, BotError, Conversation, Group, User
from cometbot.errors import MessageError, Rejected
from cometbot.models import ConversationKey, Mention, Quote, check_recipient, file_reader


def test_conversation_key_holds_channel_account_and_bot() -> None:
    here = Conversation("cometchat", "app", "helpdesk", "group_ops", "ops", is_group=True)
    assert here.key == ConversationKey("cometchat", "app", "helpdesk", "group_ops")
    assert str(here.key) == "cometchat/app/helpdesk/group_ops"
    assert not here.is_direct


def test_key_with_slashes_is_parsed_as_it_was_written() -> None:
    key = ConversationKey("chat_api", "a/b", "helpdesk", "c/d")
    assert ConversationKey.parse(str(key)) == key


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


@pytest.fixture
def loaded() -> Iterator[dict[str, bytes]]:
    """The contents of files by their addresses, as a handler could read them."""
    files: dict[str, bytes] = {}
    token = file_reader.set(lambda file, limit: files[file.url])
    yield files
    file_reader.reset(token)


def test_attachment_is_read_in_handlers_only(loaded: dict[str, bytes]) -> None:
    loaded["a"] = b"content"
    assert Attachment("a").read() == b"content"
    token = file_reader.set(None)
    with pytest.raises(BotError, match="works while a handler runs"):
        Attachment("a").read()
    file_reader.reset(token)


def test_an_announced_size_over_the_limit_loads_nothing(loaded: dict[str, bytes]) -> None:
    with pytest.raises(Rejected, match="is larger than 5 bytes") as raised:
        Attachment("missing", "a.bin", size=6).read(limit=5)
    assert raised.value.code == "file_too_large"


def test_content_over_the_limit_is_refused_whatever_was_announced(loaded: dict[str, bytes]) -> None:
    loaded["a"] = b"123456"
    with pytest.raises(Rejected, match="larger than 5 bytes"):
        Attachment("a", size=1).read(limit=5)
    assert Attachment("a", size=1).read(limit=6) == b"123456"


def test_text_of_an_attachment_has_the_given_encoding(loaded: dict[str, bytes]) -> None:
    loaded["a"] = "Привет".encode("koi8-r")
    assert Attachment("a").text(encoding="koi8-r") == "Привет"
    loaded["a"] = "Grüße".encode()
    assert Attachment("a").text() == "Grüße"
