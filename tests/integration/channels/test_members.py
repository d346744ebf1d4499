"""Who is a member of a conversation, as far as channels can tell."""

from __future__ import annotations

import pytest

from cometbot import Bot, User
from cometbot.errors import AuthenticationFailed, NotFound, Rejected, Unreachable
from cometbot.testing import BotClient

BOT = Bot("shop")


@pytest.mark.parametrize("error", [NotFound("no such group"), Rejected("not shown", code="ERR_GROUP_NOT_JOINED")])
def test_cometchat_group_that_is_not_shown_has_no_such_member(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert has_member_after(error, monkeypatch) is False


@pytest.mark.parametrize("error", [AuthenticationFailed("wrong key"), Unreachable("gone")])
def test_cometchat_that_cannot_be_asked_raises(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(type(error)):
        has_member_after(error, monkeypatch)


def has_member_after(error: Exception, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Return what the channel says of a user whose request for the group ends with ``error``."""

    def raise_error(*values: object, **options: object) -> None:
        raise error

    with BotClient(BOT, channel="cometchat") as client:
        channel = client.channel
        monkeypatch.setattr(channel.client("shop"), "get_group", raise_error)
        return channel.has_member(channel.conversation(BOT, group="ops"), User("tom"))


def test_chat_api_member_who_was_removed_is_none() -> None:
    with BotClient(BOT, channel="chat_api") as client:
        tom = client.as_user("tom", group="ops")
        tom.send("hello")
        conversation, uid = tom.conversation, client.fake.uid(tom.user, "ops")
        assert client.channel.has_member(conversation, User(uid))
        assert not client.channel.has_member(conversation, User("stranger"))

        client.fake.remove_member(tom._actor)

        assert not client.channel.has_member(conversation, User(uid))


@pytest.mark.parametrize("act", ["join", "send"])
def test_fake_member_who_left_is_one_again_after(act: str) -> None:
    with BotClient(BOT) as client:
        tom = client.as_user("tom", group="ops")
        tom.send("hello")
        tom.leave()
        assert not client.channel.has_member(tom.conversation, tom.user)

        if act == "join":
            tom.join()
        else:
            tom.send("hello")

        assert client.channel.has_member(tom.conversation, tom.user)
