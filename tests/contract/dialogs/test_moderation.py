"""What moderators do in handlers that run again: once each, in the order of the calls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cometbot import Bot, Context
from cometbot.errors import OutcomeUnknown
from cometbot.testing import BotClient, FakeChannel


@pytest.fixture
def maria() -> Iterator[BotClient]:
    bot = Bot("moderator")

    @bot.command("clean")
    def clean(ctx: Context) -> str:
        ctx.delete()
        ctx.kick("tom")
        if ctx.ask("Ban him, too?", choices=["yes", "no"]) == "yes":
            ctx.ban("tom")
        return f"Done, {ctx.sender_scope}."

    bot.fallback(lambda ctx: None)
    with BotClient(bot, group="ops") as client:
        client.as_user("tom", group="ops").send("hello")
        client.set_scope("moderator")
        yield client


def operations(client: BotClient) -> list[str]:
    assert isinstance(client.channel, FakeChannel)
    return [request.payload["op"] for request in client.channel.requests]


def test_later_run_repeats_nothing(maria: BotClient) -> None:
    maria.send("/clean")
    maria.restart()
    assert maria.send("yes").text == "Done, moderator."

    assert operations(maria) == ["delete", "kick", "send", "ban", "send"]
    assert not maria.is_deleted


def test_user_who_came_back_meanwhile_stays(maria: BotClient) -> None:
    maria.send("/clean")
    tom = maria.as_user("tom", group="ops")
    tom.send("I am back")
    maria.send("no")

    assert tom.scope == "participant"


@pytest.mark.parametrize("request_number", [0, 1])
def test_lost_answer_is_asked_for_again(maria: BotClient, request_number: int) -> None:
    channel = maria.channel
    assert isinstance(channel, FakeChannel)
    channel.faults = [*[None] * request_number, channel.lose_answer(OutcomeUnknown("500", status=500))]
    maria.send("/clean")
    maria.advance("1m")

    assert maria.as_user("tom", group="ops").scope == ""
    assert maria.said().text.startswith("Ban him, too?")
    assert maria.dead_letters == []
