"""The part of the contract about actions: values come back as they were given, and presses count where they may."""

from __future__ import annotations

from typing import Any

import pytest

from cometbot.bot import Bot
from cometbot.context import Context
from cometbot.errors import BotError
from cometbot.messages import Button, Capabilities, Card, Choice, Choices
from cometbot.models import User
from cometbot.presses import REFUSAL_TEXTS
from cometbot.sent import Sent
from cometbot.testing.client import BotClient
from cometbot.testing.contract.base import ContractBase
from cometbot.testing.replies import Replies

_VALUES: tuple[Any, ...] = (17, -2.5, True, False, "17", "=17", ["a", 1], {"id": 17, "size": "S", "note": None})


def add_decision(bot: Bot, **limits: Any) -> None:
    """Add the command ``refund``, which sends a card with two buttons, and the handler of these."""

    @bot.command
    def refund(ctx: Context, *uids: str) -> Card:
        buttons = [Button("Approve", "decide", {"id": 17, "ok": True}), Button("Decline", "decide", {"id": 17})]
        return Card("Refund 30 Euro?", buttons=buttons, by=uids or None, **limits)

    @bot.action("decide")
    def decide(ctx: Context, id: int, ok: bool = False) -> str:
        return f"{ctx.sender_id} decided {id}: {ok}"

    @bot.fallback
    def echo(ctx: Context) -> str:
        return f"echo {ctx.text}"


class ActionContract(ContractBase):
    """Tests of buttons and choices with values and limits."""

    @pytest.mark.parametrize("value", _VALUES, ids=map(str, _VALUES))
    def test_value_of_an_action_comes_back_as_given(self, bot: Bot, client: BotClient, value: Any) -> None:
        received: list[Any] = []

        @bot.message("card")
        def card(ctx: Context) -> Card:
            return Card("A card", buttons=[Button("Press", "pressed", value), Button("Other", "pressed", "other")])

        @bot.message("choices")
        def choices(ctx: Context) -> Choices:
            return Choices("Which?", ["Other", Choice("Press", value)], "pressed")

        @bot.action("pressed")
        def pressed(ctx: Context, given: Any) -> str:
            received.extend((ctx.value, given))
            return "received"

        client.send("card")
        assert client.press("Press").texts == ["received"]
        client.send("choices")
        assert client.choose(2).texts == ["received"]
        assert received == [value] * 4
        assert {type(item) for item in received} == {type(value)}

    def test_button_that_counts_once_is_used_up(self, bot: Bot, client: BotClient) -> None:
        add_decision(bot, once=True)
        client.send("/refund")

        assert client.press("Approve").text.endswith("decided 17: True")
        assert client.press("Approve").texts == [REFUSAL_TEXTS["used"]]
        assert client.press("Decline").texts == [REFUSAL_TEXTS["used"]]
        assert client.send("hello").texts == ["echo hello"]

    def test_button_with_an_end_counts_again_until_then(self, bot: Bot, client: BotClient) -> None:
        add_decision(bot, expires="1h")
        client.send("/refund")

        client.advance("30m")
        assert client.press("Approve").text.endswith("decided 17: True")
        assert client.send("hello").texts == ["echo hello"]
        assert client.press("Decline").text.endswith("decided 17: False")
        client.advance("31m")
        assert client.press("Approve").texts == [REFUSAL_TEXTS["expired"]]

    def test_button_of_somebody_else_does_not_count(self, bot: Bot, client: BotClient) -> None:
        add_decision(bot)
        client.send("/refund nobody-here")

        assert client.press("Approve").texts == [REFUSAL_TEXTS["forbidden"]]

    def test_button_in_a_group_is_for_its_users(self, bot: Bot, group_client: BotClient) -> None:
        add_decision(bot, once=True)
        tom = group_client.as_user("tom", group="ops-room")
        tom.send("hello")
        allowed = group_client.fake.stable_id(User("tom"), "ops-room")
        group_client.send(f"/refund {allowed}")

        assert group_client.press("Approve").texts == [REFUSAL_TEXTS["forbidden"]]
        assert tom.press("Approve").texts == [f"{allowed} decided 17: True"]
        assert tom.press("Approve").texts == [REFUSAL_TEXTS["used"]]

    def test_button_of_a_deleted_message_is_withdrawn(
        self, bot: Bot, client: BotClient, capabilities: Capabilities
    ) -> None:
        sent: list[Sent] = []

        @bot.message("offer")
        def offer(ctx: Context) -> None:
            sent.append(ctx.reply(Card("Tea?", buttons=[Button("Buy tea", "buy", 1)], once=True)))
            sent[0].delete()

        @bot.action("buy")
        def buy(ctx: Context) -> str:
            return "bought"

        if not capabilities.delete:
            with pytest.raises(BotError, match="cannot delete"):
                client.send("offer")
            return
        client.send("offer")
        assert client.send("Buy tea").texts == [REFUSAL_TEXTS["withdrawn"]]

    def test_pressed_twice_at_once_counts_once(self, bot: Bot, client: BotClient) -> None:
        add_decision(bot, once=True)
        asked = client.send("/refund")

        def press_twice() -> None:
            for _ in range(2):
                if asked[-1].offers:
                    client.fake.press(client._actor, asked[-1], asked[-1].offers[0])
                else:
                    client.fake.say(client._actor, "Approve")

        replies: Replies = client._act(press_twice)
        assert replies.texts[0].endswith("decided 17: True")
        assert replies.texts[1:] == [REFUSAL_TEXTS["used"]]
