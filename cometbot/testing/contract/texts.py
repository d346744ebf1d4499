"""The part of the contract about texts: long ones, lone surrogates, code blocks."""

from __future__ import annotations

import itertools
import time

import pytest

from cometbot.bot import Bot
from cometbot.context import Context
from cometbot.errors import MessageError
from cometbot.messages import (
    Button,
    Capabilities,
    Card,
    Carousel,
    Choices,
    Custom,
    Field,
    Form,
    Location,
    Media,
    Message,
    Text,
)
from cometbot.testing.client import BotClient
from cometbot.testing.contract.base import ContractBase


class TextContract(ContractBase):
    """Tests for texts that no platform accepts unchanged."""

    def test_long_text_is_cut_between_grapheme_clusters(
        self, bot: Bot, client: BotClient, capabilities: Capabilities
    ) -> None:
        flag = "🇩🇪"

        @bot.fallback
        def answer(ctx: Context) -> str:
            return flag * (capabilities.text_limit // 5)

        texts = client.send("tell me all").texts

        assert len(texts) >= 2
        assert all(text == flag * (len(text) // 2) for text in texts)

    def test_code_block_over_the_limit_is_closed_and_opened_again(
        self, bot: Bot, client: BotClient, capabilities: Capabilities
    ) -> None:
        @bot.fallback
        def answer(ctx: Context) -> str:
            return "```python\n" + "    return 1\n" * (capabilities.text_limit // 8) + "```"

        texts = client.send("tell me all").texts

        assert len(texts) >= 2
        assert all(text.startswith("```python\n    return 1\n") and text.endswith("\n```") for text in texts)

    def test_lone_surrogate_in_a_reply_is_replaced(self, bot: Bot, client: BotClient) -> None:
        half, expected = "half \ud83d end", "half \ufffd end"
        button = Button(half, value=half)
        messages = [
            Text(half, metadata={"key": half}),
            Card(half, half, buttons=[button]),
            Carousel([Card(half, half, buttons=[button])]),
            Choices(half, [half, "other"]),
            Location(1, 2, half, half),
            Media("https://example.com/a.bin", "file", name=half, caption=half),
            Form(half, [Field("name", half)], action="send"),
            Custom("note", {"text": half}, text=half),
        ]

        @bot.command("bad")
        def bad(ctx: Context, number: int) -> Message:
            ctx.state["half"] = half
            return messages[number]

        for number in range(len(messages)):
            assert expected in client.send(f"/bad {number}").text
        assert client.dead_letters == []

    def test_character_that_is_cut_within_a_stream_arrives_whole(self, bot: Bot, client: BotClient) -> None:
        @bot.fallback
        def answer(ctx: Context) -> None:
            ctx.stream(["whole \ud83d", "\ude00 half \ud83d", " end"])

        assert client.send("hi").text == "whole 😀 half \ufffd end"

    def test_reply_over_a_million_characters_is_refused_at_once(self, bot: Bot, client: BotClient) -> None:
        @bot.command("reply")
        def reply(ctx: Context) -> str:
            return "word " * 20_000_000

        @bot.command("card")
        def card(ctx: Context) -> Card:
            return Card("title", "word " * 20_000_000)

        @bot.command("stream")
        def stream(ctx: Context) -> None:
            ctx.stream(itertools.repeat("word " * 1000))

        for name in ("reply", "card", "stream"):
            begun = time.process_time()
            with pytest.raises(MessageError, match="at most 1000000 characters"):
                client.send(f"/{name}")
            assert time.process_time() - begun < 10
        assert client.send("/help").text
