"""Who is a member of a conversation, as the fake channel and the default of all channels say."""

from __future__ import annotations

import pytest

from cometbot import Bot, User
from cometbot.testing.fake_channel import FakeChannel

BOT = Bot("shop")


@pytest.mark.parametrize(("uid", "is_member"), [("maria", True), ("MARIA", True), ("tom", False)])
def test_one_to_one_has_one_member(uid: str, is_member: bool) -> None:
    channel = FakeChannel()
    assert channel.has_member(channel.conversation(BOT, user="maria"), User(uid)) is is_member


def test_whoever_writes_in_a_group_is_a_member_by_default() -> None:
    channel = FakeChannel()
    assert channel.has_member(channel.conversation(BOT, group="ops"), User("tom"))


def test_former_member_is_none_of_that_group_only() -> None:
    channel = FakeChannel()
    channel.former_members.add(("ops", "tom"))

    assert not channel.has_member(channel.conversation(BOT, group="ops"), User("tom"))
    assert channel.has_member(channel.conversation(BOT, group="ops"), User("maria"))
    assert channel.has_member(channel.conversation(BOT, group="sales"), User("tom"))
