"""What the bot does as a moderator of a group, and who its members are."""

from __future__ import annotations

from typing import Any

import pytest

from cometbot import Bot, Conversation, User
from cometbot.channels.simplex.channel import SimplexChannel
from cometbot.channels.simplex.errors import CommandRejected
from cometbot.errors import BotError
from tests.unit.channels.simplex.event_factory import EventFactory
from tests.unit.channels.simplex.test_channel import FakeConnection, do
from tests.unit.channels.simplex.test_channel import channel as channel
from tests.unit.channels.simplex.test_channel import event_factory as event_factory
from tests.unit.channels.simplex.test_channel import fake_connection as fake_connection


@pytest.fixture
def team(channel: SimplexChannel) -> Conversation:
    return channel.conversation(Bot("shop"), group="31")


@pytest.fixture
def bob(channel: SimplexChannel, team: Conversation) -> User:
    return next(user for user in channel.members(team) if user.name == "Bob B")


def role_of(event_factory: EventFactory, name: str) -> str:
    role: str = event_factory.perform("role_of", chat="#31", name=name)
    return role


def test_members_have_scopes(channel: SimplexChannel, team: Conversation, event_factory: EventFactory) -> None:
    event_factory.perform("join", chat="#31", name="Eve", role="observer")
    event_factory.perform("join", chat="#31", name="Mia", role="moderator")
    members = {user.name: user for user in channel.members(team)}

    assert {name: user.scope for name, user in members.items()} == {
        "alice": "owner",
        "Bob B": "participant",
        "Eve": "participant",
        "Mia": "moderator",
    }
    assert members["alice"].uid == "4"
    assert channel.get_scope(team, members["Mia"]) == "moderator"
    assert channel.get_scope(team, User("member-nobody")) == ""


def test_former_members_are_left_out(
    channel: SimplexChannel, team: Conversation, event_factory: EventFactory, bob: User
) -> None:
    for member in event_factory.state.group(31)["members"].values():
        if member["localDisplayName"] == "Bob B":
            member["memberStatus"] = "left"

    assert [user.name for user in channel.members(team)] == ["alice"]
    assert do(channel, team, op="kick", user=bob.uid) == ""


@pytest.mark.parametrize(
    ("op", "command"),
    [("kick", "/_remove #31 {}"), ("ban", "/_block #31 {} blocked=on")],
)
def test_member_is_removed_or_blocked_once(
    channel: SimplexChannel,
    team: Conversation,
    fake_connection: FakeConnection,
    bob: User,
    op: str,
    command: str,
) -> None:
    for _ in range(2):
        assert do(channel, team, op=op, user=bob.uid) == ""

    written = [text for text in fake_connection.asked if not text.startswith("/_members")]
    assert written == [command.format(bob.metadata["group_member_id"])]


def test_blocked_member_is_shown_again(
    channel: SimplexChannel, team: Conversation, event_factory: EventFactory, bob: User
) -> None:
    for op, is_shown in (("ban", False), ("unban", True), ("unban", True)):
        do(channel, team, op=op, user=bob.uid)
        item = event_factory.perform("say", chat="#31", name="Bob B", text="hi")
        assert any(message.id == str(item) for message in channel.history(team, 20)) == is_shown


def test_member_who_leaves_meanwhile_is_gone(
    channel: SimplexChannel, team: Conversation, fake_connection: FakeConnection, bob: User, monkeypatch: Any
) -> None:
    plain = fake_connection.command

    def leave_first(command: Any, **options: Any) -> Any:
        if command.text.startswith("/_remove"):
            plain(command, **options)
        return plain(command, **options)

    monkeypatch.setattr(fake_connection, "command", leave_first)
    assert do(channel, team, op="kick", user=bob.uid) == ""


@pytest.mark.parametrize("op", ["kick", "ban"])
def test_owner_and_low_roles_are_refused(
    channel: SimplexChannel, team: Conversation, event_factory: EventFactory, bob: User, op: str
) -> None:
    with pytest.raises(CommandRejected, match="role in the group is too low"):
        do(channel, team, op=op, user="4")
    event_factory.perform("give_role", chat="#31", name="", role="member")
    with pytest.raises(CommandRejected, match="role in the group is too low"):
        do(channel, team, op=op, user=bob.uid)
    assert role_of(event_factory, "Bob B") == "member"


def test_message_of_a_member_is_deleted_once(
    channel: SimplexChannel, team: Conversation, event_factory: EventFactory
) -> None:
    item = event_factory.perform("say", chat="#31", name="Bob B", text="casino")
    for _ in range(2):
        assert do(channel, team, op="moderate", item=str(item)) == str(item)
    assert channel.history(team, 20) == []
    assert do(channel, team, op="moderate", item="9999") == "9999"


def test_without_connection_nothing_is_asked(team: Conversation) -> None:
    with pytest.raises(BotError, match="no connection"):
        SimplexChannel(bots={"shop": Bot("shop")}).members(team)


def test_blocking_by_another_member_is_an_event(event_factory: EventFactory) -> None:
    for blocked in (True, False):
        record = event_factory.emit("block", chat="#31", name="Bob B", by="alice", blocked=blocked)
        assert (record.type, record.raw["blocked"]) == ("memberBlockedForAll", blocked)
