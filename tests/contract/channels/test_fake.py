"""The platform of tests keeps the contract of channels, whatever it is told that it can show."""

from __future__ import annotations

from cometbot.bot import Bot
from cometbot.testing import TEXT_ONLY, Double, FakeDouble
from cometbot.testing.contract import ChannelContract


class TestFake(ChannelContract):
    def make_double(self, bot: Bot) -> Double:
        return FakeDouble(bot)


class TestFakeWithTextOnly(ChannelContract):
    def make_double(self, bot: Bot) -> Double:
        return FakeDouble(bot, TEXT_ONLY)
