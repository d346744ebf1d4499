"""The base class and helpers of the contract's parts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cometbot.bot import Bot
from cometbot.context import Context
from cometbot.messages import MAX_MESSAGE_LENGTH, Capabilities
from cometbot.testing.client import BotClient
from cometbot.testing.fakes.base import Fake

_MAX_MESSAGE_SIZE = 4 * MAX_MESSAGE_LENGTH
"""UTF-8 bytes of the longest message."""


class ContractBase:
    """A bot, and a client that uses the fake of :meth:`make_fake`."""

    def make_fake(self, bot: Bot) -> Fake:
        """Return a new platform without users, groups or messages. It is closed at the end of the test."""
        raise NotImplementedError("define what is tested: def make_fake(self, bot): return MyFake(bot)")

    @pytest.fixture
    def bot(self) -> Bot:
        """Return a bot without handlers, to which a test adds its own."""
        return Bot("contract", description="Does what the contract asks.")

    @pytest.fixture
    def client(self, bot: Bot) -> Iterator[BotClient]:
        """Yield a client for the user maria, alone with the bot."""
        with BotClient(bot, channel=self.make_fake) as client:
            yield client

    @pytest.fixture
    def capabilities(self, client: BotClient) -> Capabilities:
        """Return the channel's capabilities."""
        return client.channel.capabilities

    @pytest.fixture
    def text_limit(self, capabilities: Capabilities) -> int:
        """Return the channel's limit of a text in bytes. Skip the test if no message can be longer."""
        if capabilities.text_limit >= _MAX_MESSAGE_SIZE:
            pytest.skip("no message is longer than a text of this channel may be")
        return capabilities.text_limit

    @pytest.fixture
    def group_client(self, client: BotClient, capabilities: Capabilities) -> BotClient:
        """Return a client for maria in the group ops-room. Skip the test on a platform without groups."""
        if not capabilities.groups:
            pytest.skip("this platform has no groups")
        return client.in_group("ops-room")


def add_echo_handler(bot: Bot) -> None:
    """Add a fallback handler to ``bot`` that repeats the user's text."""
    reply_with(bot, lambda ctx: f"echo {ctx.text}")


def reply_with(bot: Bot, result: Any) -> None:
    """Add a fallback handler to ``bot`` that returns ``result``, or what it returns for the context."""

    @bot.fallback
    def answer(ctx: Context) -> Any:
        return result(ctx) if callable(result) else result


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Return as soon as ``condition`` is true. Fail if it is not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition was not met in time"
        time.sleep(0.01)
