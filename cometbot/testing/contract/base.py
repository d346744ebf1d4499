"""What the parts of the contract stand on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cometbot.bot import Bot
from cometbot.context import Context
from cometbot.messages import Capabilities
from cometbot.testing.client import BotClient
from cometbot.testing.double import Double


class ContractBase:
    """A bot, and a client who talks to it on the double that :meth:`make_double` makes."""

    def make_double(self, bot: Bot) -> Double:
        """A new platform without users, groups or messages, for one test. It is closed when the test ends."""
        raise NotImplementedError("say what is tested: def make_double(self, bot): return MyDouble(bot)")

    @pytest.fixture
    def bot(self) -> Bot:
        """A bot without handlers, for the test to give it some."""
        return Bot("contract", description="Does what the contract asks.")

    @pytest.fixture
    def client(self, bot: Bot) -> Iterator[BotClient]:
        """The user maria, alone with the bot."""
        with BotClient(bot, channel=self.make_double) as client:
            yield client

    @pytest.fixture
    def capabilities(self, client: BotClient) -> Capabilities:
        """What the channel can carry."""
        return client.channel.capabilities


def add_echo_handler(bot: Bot) -> None:
    """Let ``bot`` say what is said to it."""

    @bot.fallback
    def answer(ctx: Context) -> str:
        return f"echo {ctx.text}"


def require_groups(capabilities: Capabilities) -> None:
    """Skip the test on a platform whose conversations are all with one user."""
    if not capabilities.groups:
        pytest.skip("this platform has no groups")
