"""The part of the contract about turns: what a language model gets to see of a conversation."""

from __future__ import annotations

import pytest

from cometbot.bot import Bot
from cometbot.context import Context
from cometbot.matchers import direct, mentioned
from cometbot.messages import Button, Capabilities, Card
from cometbot.testing.client import BotClient
from cometbot.testing.contract.base import ContractBase
from cometbot.testing.fakes.base import Actor
from cometbot.turns import Turn, to_anthropic, to_openai


class TurnContract(ContractBase):
    """Tests of ``ctx.turns``."""

    @pytest.fixture
    def seen(self, bot: Bot) -> list[list[Turn]]:
        """Return the turns of each message that the bot answers with an echo."""
        seen: list[list[Turn]] = []

        @bot.command("card")
        def card(ctx: Context) -> Card:
            return Card("Tea", "Green", buttons=[Button("Buy tea", "buy", "tea")])

        @bot.action("buy")
        def buy(ctx: Context) -> str:
            seen.append(ctx.turns())
            return "Bought."

        @bot.message(direct | mentioned)
        def echo(ctx: Context) -> str:
            seen.append(ctx.turns())
            return f"echo {ctx.text}"

        return seen

    def test_turns_are_both_sides_and_end_with_the_message(
        self, client: BotClient, capabilities: Capabilities, seen: list[list[Turn]]
    ) -> None:
        for text in ("hello", "two\nlines", "Grüße 👩🏽‍💻"):
            client.send(text)

        turns = [
            Turn("user", "hello"),
            Turn("assistant", "echo hello"),
            Turn("user", "two\nlines"),
            Turn("assistant", "echo two\nlines"),
            Turn("user", "Grüße 👩🏽‍💻"),
        ]
        assert seen[-1] == (turns if capabilities.history else turns[-1:])
        if capabilities.history:
            assert seen[1][: len(seen[0])] == seen[0]
            assert to_openai(seen[-1])[:3] == to_openai(seen[1])
            assert to_anthropic(seen[-1])[:3] == to_anthropic(seen[1])

    def test_answers_stand_behind_what_they_answer(
        self, client: BotClient, capabilities: Capabilities, seen: list[list[Turn]]
    ) -> None:
        for text in ("one", "two", "three"):
            client.fake.say(Actor(client.user), text)
        client.said()

        turns = [[turn.text for turn in turns] for turns in seen]
        whole = ["one", "echo one", "two", "echo two", "three"]
        assert turns == ([whole[:1], whole[:3], whole] if capabilities.history else [["one"], ["two"], ["three"]])

    def test_cards_and_presses_are_plain_texts(
        self, client: BotClient, capabilities: Capabilities, seen: list[list[Turn]]
    ) -> None:
        client.send("/card")
        client.press("Buy tea")
        client.send("thanks")

        assert seen[0][-1].role == "user"
        if capabilities.history:
            card = "Tea\n\nGreen\n\n1. Buy tea"
            assert [turn.text for turn in seen[1]] == ["/card", card, "Buy tea", "Bought.", "thanks"]
            assert seen[1][:3] == seen[0]

    def test_pictures_are_images(self, client: BotClient, seen: list[list[Turn]]) -> None:
        client.send_image(b"\x89PNG\r\n\x1a\n", caption="look", name="cat.png")

        [turn] = seen[0]
        assert (turn.text, [image.name for image in turn.images]) == ("look", ["cat.png"])

    def test_turns_in_groups_have_names(
        self, group_client: BotClient, capabilities: Capabilities, seen: list[list[Turn]]
    ) -> None:
        group_client.send("to all")
        group_client.as_user("tom", group="ops-room").send("what about me?", mention=True)

        named = [(turn.role, turn.name) for turn in seen[0]]
        assert named == ([("user", "Maria"), ("user", "Tom")] if capabilities.history else [("user", "Tom")])
        assert seen[0][-1].text.endswith("what about me?")
        assert "<@" not in seen[0][-1].text

    def test_all_runs_of_a_handler_have_the_same_turns(
        self, bot: Bot, client: BotClient, capabilities: Capabilities
    ) -> None:
        seen: list[list[Turn]] = []

        @bot.command("order")
        def order(ctx: Context) -> str:
            ctx.reply("One moment.")
            seen.append(ctx.turns())
            size = ctx.ask("Which size?")
            return f"Size {size}, for {ctx.ask('Which name?')}."

        client.send("/order")
        client.send("M")

        assert client.send("Maria").texts == ["Size M, for Maria."]
        assert len(seen) >= 3
        assert {tuple(turn.text for turn in turns) for turns in seen} == {("/order",)}

    def test_redaction_sees_everything_before_a_model(
        self, bot: Bot, client: BotClient, seen: list[list[Turn]]
    ) -> None:
        bot.redact(lambda text: text.replace("4711", "(number)"))
        client.send("It is 4711.")
        client.send("4711, I said.")

        assert seen[-1][-1] == Turn("user", "(number), I said.")
        assert "4711" not in repr(seen)
