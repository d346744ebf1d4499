"""What the context asks of groups, and what it posts for moderators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cometbot import Bot, BotError, Context, Conversation, Group, User
from cometbot.events import JobEvent
from cometbot.messages import Capabilities

OPS = Conversation("fake", "test", "helpdesk", "group_ops", "ops", is_group=True)
OTHER = replace(OPS, id="group_sales", target="sales")
TOM = User("tom", "Tom")


@pytest.fixture
def moderator(sink: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The sink of a channel that can do everything; ``asked`` has what the platform was asked for."""
    sink.capabilities = Capabilities(members=True, moderate=True, ban=True)
    sink.asked = []

    def get_scope(where: Conversation, user: User) -> str:
        sink.asked.append((where, user.uid))
        return "moderator"

    def members(where: Conversation) -> list[User]:
        sink.asked.append((where, ""))
        return [TOM]

    def conversation(bot: Bot, user: str, group: str, channel: str = "") -> Conversation:
        return replace(OTHER, channel=channel or "fake", target=group)

    for function in (get_scope, members, conversation):
        monkeypatch.setattr(sink, function.__name__, function, raising=False)
    monkeypatch.setattr(sink, "capabilities_of", lambda where: sink.capabilities, raising=False)
    return sink


@pytest.fixture
def ops(context: Callable[..., Context], moderator: Any) -> Callable[..., Context]:
    """Makes a context for a message in the group ops."""
    return lambda text="hi", **parts: context(text, **{"conversation": OPS, "group": Group("ops"), **parts})


def test_scope_that_the_event_says_is_not_asked_for(ops: Any, moderator: Any) -> None:
    assert ops(sender=User("maria", scope="admin")).sender_scope == "admin"
    assert moderator.asked == []


def test_scope_that_the_event_does_not_say_is_asked_for_once(ops: Any, moderator: Any) -> None:
    ctx = ops(sender=User("maria"))
    assert [ctx.sender_scope for _ in range(3)] == ["moderator"] * 3
    assert moderator.asked == [(OPS, "maria")]


def test_scope_is_unknown_where_nobody_can_tell(ops: Any, moderator: Any) -> None:
    moderator.capabilities = Capabilities()
    assert ops(sender=User("maria")).sender_scope == ""


def test_one_to_one_nobody_has_a_scope(context: Callable[..., Context], moderator: Any) -> None:
    assert context("hi", sender=User("maria", scope="admin")).sender_scope == ""


def test_members_are_those_of_this_group_or_another(ops: Any, moderator: Any) -> None:
    assert ops().members() == [TOM]
    ops().members(Group("sales", channel="other"))
    ops().members(OTHER)
    assert [where for where, _ in moderator.asked] == [OPS, replace(OTHER, channel="other"), OTHER]


def test_members_of_a_one_to_one_conversation_raise(ops: Any) -> None:
    with pytest.raises(BotError, match="one-to-one"):
        ops().members(Conversation("fake", "test", "helpdesk", "tom", "tom"))


@pytest.mark.parametrize("call", ["kick", "ban", "unban"])
@pytest.mark.parametrize("user", [TOM, "tom"])
def test_call_of_a_moderator_is_one_operation(ops: Any, moderator: Any, call: str, user: Any) -> None:
    ctx = ops()
    getattr(ctx, call)(user)

    [operation] = moderator.posted
    assert (operation.kind, operation.user, operation.conversation) == (call, "tom", OPS)
    assert ctx.said == []


def test_deletion_names_a_message_of_the_group(ops: Any, moderator: Any, make_message: Any) -> None:
    for message in (None, make_message("old", id="5", conversation=OPS), "6"):
        ops().delete(message)
    assert [(item.kind, item.message_id, item.target) for item in moderator.posted] == [
        ("delete", "712", None),
        ("delete", "5", None),
        ("delete", "6", None),
    ]


def test_message_of_another_conversation_is_not_deleted(ops: Any, moderator: Any, make_message: Any) -> None:
    with pytest.raises(BotError, match="another conversation"):
        ops().delete(make_message("old", id="5", conversation=OTHER))
    assert moderator.posted == []


@pytest.mark.parametrize("user", ["", None, 5, User("")])
def test_what_is_no_user_raises(ops: Any, user: Any) -> None:
    with pytest.raises(BotError, match="expected a User or a uid"):
        ops().kick(user)


@pytest.mark.parametrize("message", ["", 5])
def test_what_is_no_message_raises(ops: Any, message: Any) -> None:
    with pytest.raises(BotError, match="expected a message or its id"):
        ops().delete(message)


@pytest.mark.parametrize(
    ("call", "arguments", "missing"),
    [
        ("kick", ("tom",), "moderate"),
        ("delete", (), "moderate"),
        ("ban", ("tom",), "ban"),
        ("unban", ("tom",), "ban"),
        ("members", (), "members"),
    ],
)
def test_what_the_channel_cannot_do_raises(
    ops: Any, moderator: Any, call: str, arguments: tuple[Any, ...], missing: str
) -> None:
    moderator.capabilities = replace(moderator.capabilities, **{missing: False})
    with pytest.raises(BotError, match=rf"ctx\.capabilities\.{missing}"):
        getattr(ops(), call)(*arguments)


def test_job_moderates_the_group_that_scheduled_it(bot: Bot, moderator: Any) -> None:
    inner = Conversation("jobs", "jobs", "helpdesk", "x", "x")
    event = JobEvent(
        key="job:1", conversation=inner, sender=User("maria"), handler="f", name="f", due_at=1.0, origin=OPS
    )
    ctx = Context(bot, event, moderator)
    ctx.unban("tom")

    assert ctx.sender_scope == "moderator"
    assert [item.conversation for item in moderator.posted] == [OPS]


def test_job_of_the_code_has_no_group(bot: Bot, moderator: Any) -> None:
    inner = Conversation("jobs", "jobs", "helpdesk", "x", "x")
    event = JobEvent(key="job:1", conversation=inner, sender=User(""), handler="f", name="f", due_at=1.0)
    with pytest.raises(BotError, match="expected a group"):
        Context(bot, event, moderator).kick("tom")
