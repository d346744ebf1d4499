"""The part of the contract about bursts, and about users who are handed over to people."""

from __future__ import annotations

import pytest

from cometbot.bot import Bot
from cometbot.context import Context
from cometbot.errors import BotError
from cometbot.messages import Capabilities
from cometbot.testing.client import BotClient
from cometbot.testing.contract.base import ContractBase


class ConcurrencyContract(ContractBase):
    """Tests of handlers that get several messages at once, or hand their user over."""

    def test_burst_is_one_message_for_the_handler(self, bot: Bot, client: BotClient) -> None:
        @bot.fallback(concurrency="burst")
        def answer(ctx: Context) -> str:
            return " ".join(message.text for message in ctx.messages)

        for text in ("where", "is", "my order?"):
            assert client.send(text).texts == []
        assert client.advance(2).texts == ["where is my order?"]
        client.send("thanks")
        assert client.advance(2).texts == ["thanks"]

    def test_bursts_of_users_are_kept_apart(self, bot: Bot, client: BotClient) -> None:
        @bot.fallback(concurrency="burst")
        def answer(ctx: Context) -> str:
            return " ".join(message.text for message in ctx.messages)

        tom = client.as_user("tom")
        for text in ("one", "two"):
            client.send(f"{text} of Maria")
            tom.send(f"{text} of Tom")
        client.advance(2)
        assert client.said()[-1].text == "one of Maria two of Maria"
        assert tom.said()[-1].text == "one of Tom two of Tom"

    def test_user_is_handed_over_and_back(
        self, bot: Bot, client: BotClient, group_client: BotClient, capabilities: Capabilities
    ) -> None:
        @bot.command
        def human(ctx: Context) -> str:
            return f"back: {ctx.hand_off(ctx.conversation_with(group=client.fake.guid('ops-room'))).status}"

        @bot.fallback
        def echo(ctx: Context) -> str:
            return f"echo {ctx.text}"

        tom = client.as_user("tom", group="ops-room")
        tom.send("hello")
        if not capabilities.threads:
            with pytest.raises(BotError, match="has no threads"):
                client.send("/human")
            return
        count = len(tom.said())
        client.send("/human")
        first = tom.said()[count]
        client.send("My parcel is wet.")
        relayed = tom.said()[-1]
        assert relayed.text.endswith(": My parcel is wet.")
        assert relayed.thread_id == first.id
        tom.send("We send a new one.", thread=first.id)
        assert client.said()[-1].text.endswith(": We send a new one.")
        tom.send("/done", thread=first.id)
        assert client.said()[-1].text == "back: done"
        assert client.send("thanks").texts == ["echo thanks"]
