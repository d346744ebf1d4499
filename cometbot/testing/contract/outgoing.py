"""The part of the contract about outgoing middleware: nothing reaches a platform that it has not passed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from cometbot.bot import Bot
from cometbot.context import Context
from cometbot.errors import BotError
from cometbot.messages import Button, Capabilities, Card, Choice, Choices, Media, Message, Text
from cometbot.outgoing import Outgoing
from cometbot.testing.client import BotClient
from cometbot.testing.contract.base import ContractBase, reply_with

_NUMBER, _MASK = "4711-0815", "(hidden)"
_TEXT_FIELDS = ("text", "title", "caption")


def hide_number(message: Message, outgoing: Outgoing) -> Message:
    """Hide a number in the texts of a message."""
    texts = {name: getattr(message, name) for name in _TEXT_FIELDS if hasattr(message, name)}
    return replace(message, **{name: text.replace(_NUMBER, _MASK) for name, text in texts.items()})


class OutgoingContract(ContractBase):
    """Tests of a bot whose outgoing middleware hides a number and drops secrets."""

    @pytest.fixture
    def hiding_bot(self, bot: Bot) -> Bot:
        """Return the bot with its outgoing middleware."""
        bot.outgoing(lambda message, outgoing: None if "secret" in message.to_text() else message)
        bot.outgoing(hide_number)
        return bot

    @pytest.fixture
    def requested(self, client: BotClient, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Return the list of everything that delivery passes to the channel, sketches included."""
        channel, seen = client.channel, list[str]()
        for name in ("send", "preview", "stream_delta"):
            monkeypatch.setattr(channel, name, _recorded(getattr(channel, name), name, seen))
        return seen

    @pytest.mark.parametrize(
        "message",
        [
            Text(f"Card {_NUMBER}"),
            Media("https://example.com/a/photo.jpg", caption=f"Card {_NUMBER}"),
            Card(f"Card {_NUMBER}", f"again {_NUMBER}", buttons=[Button("Block it", "block", "1")]),
            Choices(f"Card {_NUMBER}?", ["Block", "Keep"], "block"),
        ],
        ids=lambda message: type(message).__name__,
    )
    def test_message_arrives_as_outgoing_middleware_changed_it(
        self, hiding_bot: Bot, client: BotClient, requested: list[str], message: Message
    ) -> None:
        reply_with(hiding_bot, message)

        [reply] = client.send("/card")
        assert f"Card {_MASK}" in reply.text
        assert not any(_NUMBER in item for item in requested)

    def test_dropped_message_does_not_arrive(self, hiding_bot: Bot, client: BotClient) -> None:
        reply_with(hiding_bot, lambda ctx: ctx.reply("a secret") and ["open", "another secret", "done"])

        assert client.send("hello").texts == ["open", "done"]
        hiding_bot.send(user=client.fake.uid(client.user), text="a third secret")
        hiding_bot.send(user=client.fake.uid(client.user), text=f"Card {_NUMBER}")
        assert client.said().texts == ["open", "done", f"Card {_MASK}"]
        assert client.dead_letters == []

    def test_stream_arrives_whole_and_changed(self, hiding_bot: Bot, client: BotClient, requested: list[str]) -> None:
        parts = ["The number is ", "4711-", "0815", ", and so on. " * 100]
        reply_with(hiding_bot, lambda ctx: ctx.stream(parts) and None)

        replies = client.send("tell me")
        assert replies.text.startswith(f"The number is {_MASK}, and so on.")
        assert not any("4711" in item for item in requested)
        assert {item.partition(" ")[0] for item in requested} == {"send"}

    def test_preview_does_not_arrive(self, hiding_bot: Bot, client: BotClient, requested: list[str]) -> None:
        @hiding_bot.fallback
        def answer(ctx: Context) -> None:
            sent = ctx.reply("working")
            sent.preview(f"Card {_NUMBER}")

        assert client.send("hello").texts == ["working"]
        assert {item.partition(" ")[0] for item in requested} == {"send"}

    def test_edit_is_changed(
        self, hiding_bot: Bot, client: BotClient, capabilities: Capabilities, requested: list[str]
    ) -> None:
        @hiding_bot.fallback
        def answer(ctx: Context) -> None:
            ctx.reply("working").edit(f"Card {_NUMBER}")
            ctx.reply("a secret").edit("not shown, or shown where a platform cannot edit")

        shown = "not shown, or shown where a platform cannot edit"
        expected = [f"Card {_MASK}"] if capabilities.edit else ["working", f"Card {_MASK}", shown]
        assert client.send("hello").texts == expected
        assert not any(_NUMBER in item for item in requested)
        assert client.dead_letters == []

    def test_failing_middleware_holds_the_reply_back(self, bot: Bot, requested: list[str], client: BotClient) -> None:
        @bot.outgoing
        def check(message: Message, outgoing: Outgoing) -> Message:
            if _NUMBER in message.to_text():
                raise LookupError("no number may leave")
            return message

        reply_with(bot, ["first", f"Card {_NUMBER}"])
        with pytest.raises(LookupError, match="no number may leave"):
            client.send("hello")
        assert client.said().texts == [bot.error_text]
        assert [letter.error for letter in client.dead_letters] == ["LookupError: no number may leave"]
        assert not any("first" in item or _NUMBER in item for item in requested)

    def test_question_is_changed_and_answered(self, hiding_bot: Bot, client: BotClient, requested: list[str]) -> None:
        @hiding_bot.outgoing
        def translate(message: Message, outgoing: Outgoing) -> Message:
            if not isinstance(message, Choices):
                return message
            labels = {"Block": "Sperren", "Keep": "Behalten"}
            return replace(message, options=[Choice(labels[item.label], item.value) for item in message.offers()])

        @hiding_bot.command
        def card(ctx: Context) -> str:
            action = ctx.ask(f"Card {_NUMBER}?", choices=["Block", "Keep"])
            ctx.ask(f"Why {_NUMBER}?")
            return f"{action}: {_NUMBER}"

        asked = client.send("/card")
        assert f"Card {_MASK}?" in asked.text
        assert client.choose("Sperren").texts == [f"Why {_MASK}?"]
        assert client.send("lost").texts == [f"Block: {_MASK}"]
        assert not any(_NUMBER in item for item in requested)

    def test_question_that_is_dropped_is_an_error(self, hiding_bot: Bot, client: BotClient) -> None:
        hiding_bot.command("ask")(lambda ctx: ctx.ask("Your secret?"))

        with pytest.raises(BotError, match="outgoing middleware dropped the question"):
            client.send("/ask")
        assert client.said().texts == [hiding_bot.error_text]


def _recorded(function: Any, name: str, seen: list[str]) -> Any:
    """Return ``function``, which then also adds its name and all its arguments to ``seen``."""

    def call(*values: Any, **named: Any) -> Any:
        seen.append(" ".join([name, *_texts_in((*values, *named.values()))]))
        return function(*values, **named)

    return call


def _texts_in(values: Any) -> Iterator[str]:
    return (str(getattr(value, "payload", value)) for value in values)
